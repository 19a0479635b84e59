"""Fills the store with the stages of a plan, batch by batch, and remembers what failed."""

import shutil
from pathlib import Path
from typing import NamedTuple

from gate.configuring.config import GateConfig
from gate.errors import ConfigError
from gate.executors.local import execute
from gate.jobs import Batch, Done, Event, Failed, Line, NotRun, RunBatch
from gate.planning.plan import Plan
from gate.planning.soonest import Stages, expected_seconds, longest_first
from gate.planning.stages import PlannedStage
from gate.planning.todo import Sources, Todo
from gate.running.batching import BatchMaker, batches_of, join_adapters
from gate.running.budget import Pacing, Settled
from gate.running.demands import Demands
from gate.running.schedule import Placed, Schedule
from gate.running.slots import Slots
from gate.store import Finished, StageCost, Store, unlimited_key
from gate.terms import Stage


def _never() -> str | None:
    """Nothing settles the verdict before all stages have run."""
    return None


class Watcher:
    """What a run tells while it goes; this one stays silent."""

    def planned(self, todo: Todo) -> None:
        """The plan is made; nothing has run yet."""

    def look(self, sentence: str, todo: Todo) -> None:
        """A sequential run asks more documents of what is not decided."""

    def event(self, planned: PlannedStage, event: Event) -> None:
        """A stage began, moved on, ended or failed."""

    def say(self, sentence: str) -> None:
        """Something a person should know now."""


class Filling:
    """One run's filling of the store, in one round or in several.

    Attributes:
        failures: {stage key: why it failed, or was not run}, of all rounds.
        is_cut: whether stages were left out, for want of time or need.
    """

    def __init__(
        self,
        config: GateConfig,
        sources: Sources,
        *,
        store: Store,
        watcher: Watcher,
        run_batch: RunBatch,
        pacing: Pacing | None = None,
        slots: Slots | None = None,
    ) -> None:
        """Take what every batch is made from.

        Args:
            config: what was asked.
            sources: the base and adapters it was asked of.
            store: where outputs go.
            watcher: is told what happens.
            run_batch: how a batch is run.
            pacing: keeps to a budget of time; None where there is none.
            slots: where batches run; None for one after the other.
        """
        self.failures: dict[str, str] = {}
        self.is_cut = False
        self._store = store
        self._watcher = watcher
        self._run_batch = run_batch
        self._pacing = pacing
        self._slots = slots or Slots()
        self._maker = BatchMaker(config, sources, store=store, slots=self._slots)
        self._demands = Demands(config, store, self._maker)
        self._planned = self._maker.planned
        self._tried: set[str] = set()
        self._spent: dict[str, StageCost] = {}

    def untried(self, todo: Todo) -> Todo:
        """What is left to do of a plan: what this run has tried in an earlier round is not."""
        to_run = tuple(one for one in todo.to_run if one.stage.key not in self._tried)
        return todo._replace(to_run=to_run)

    def fill(self, todo: Todo, *, settled: Settled = _never) -> None:
        """Run the stages that are to run, those that share a loaded model together.

        Each begins when what it needs is there. With a budget, those first that can settle the
        verdict soonest, none after it is settled, and none for which there is no time left.

        Args:
            todo: the plan, and what is to run of it.
            settled: says why the verdict cannot change any more, or None.

        Raises:
            ConfigError: a stage found that the input is wrong.
            StoreError: the store cannot be used.
            KeyboardInterrupt: the user stopped it; finished stages are kept.
        """
        for planned in todo.plan.stages:
            self._planned[planned.stage.key] = planned
        for planned in todo.cached:
            self._note_cost(self._store.find(planned.stage))
        for planned in todo.to_run:
            self._tried.add(planned.stage.key)
            if planned.is_live:  # what a server said in an earlier run must not stand for this one
                self._store.forget(planned.stage)
        batches = self._in_order(tuple(batches_of(todo.to_run)), todo.plan)
        schedule = Schedule(batches, self._slots, self._demands.of)
        execute(_Round(self, schedule, settled), workers=self._slots.workers)

    def whole(self, todo: Todo) -> Todo:
        """A plan split into what the store had before this run, and what this run tried."""
        tried = tuple(one for one in todo.plan.stages if one.stage.key in self._tried)
        return todo._replace(
            cached=tuple(one for one in todo.plan.stages if one not in tried), to_run=tried
        )

    def left_out(self) -> dict[str, list[str]]:
        """{why: labels of the stages that were not run for it}."""
        found: dict[str, list[str]] = {}
        for key, why in self.failures.items():
            if isinstance(why, NotRun):
                found.setdefault(why, []).append(self._planned[key].label)
        return found

    def clear_journals(self) -> None:
        """Forget the answers of servers, unless a stage that asked one has to be resumed."""
        live = [self._planned[key] for key in self._tried if self._planned[key].is_live]
        kept = {self._maker.journal(one) for one in live if one.stage.key in self.failures}
        for journal in {self._maker.journal(one) for one in live} - kept:
            shutil.rmtree(journal, ignore_errors=True)

    def begin(self, placed: Placed, settled: Settled) -> "_Work | None":
        """A batch without the stages of which something they need has failed; None if not begun."""
        group = tuple(planned for planned in placed.batch if not self._is_lost(planned))
        if not group or self._is_cut_off(group, settled):
            return None
        left = self._pacing.budget.left if self._pacing else None
        batch = self._maker.batch(group, placed.slot, limit_seconds=left)
        return _Work(placed, batch, self._maker.log(group))

    def run(self, work: "_Work", line: Line) -> None:
        """Run a batch, wherever that is."""
        self._run_batch(work.batch, work.log, line)

    def _in_order(self, batches: tuple[Stages, ...], plan: Plan) -> tuple[Stages, ...]:
        """The batches, the one to prefer first."""
        if self._pacing is not None:
            return self._pacing.order(batches, plan)
        if self._slots.workers == 1:
            return join_adapters(batches, self._maker.base)
        stages = [one for batch in batches for one in batch]
        return longest_first(batches, expected_seconds(stages, self._store.finished()))

    def _is_cut_off(self, group: Stages, settled: Settled) -> bool:
        """Whether a batch is not begun, for want of time or need."""
        refusal = self._pacing.refusal(group, settled) if self._pacing else None
        if refusal is not None:
            self.is_cut = True
            self.failures |= {one.stage.key: NotRun(refusal) for one in group}
        return refusal is not None

    def _is_lost(self, planned: PlannedStage) -> bool:
        """Whether what a stage needs is not there, which is then why it is not there either."""
        for key in planned.needs.values():
            why = self.failures.get(key)
            if why is not None:
                failed = f"it needs '{self._planned[key].label}', which failed"
                self.failures[planned.stage.key] = why if isinstance(why, NotRun) else failed
                return True
        return False

    def follow(self, event: Event) -> None:
        """Take what a stage tells, and commit it when it is done.

        Raises:
            ConfigError: the stage found that the input is wrong.
            StoreError: its output cannot be kept.
        """
        planned = self._planned[event.key]
        if isinstance(event, Done):
            cost = self._cost(planned.stage, event)
            self._note_cost(self._store.commit(planned.stage, label=planned.label, cost=cost))
        if isinstance(event, Failed):
            if event.exit_status == ConfigError.exit_status:
                raise ConfigError(f"{planned.label}: {event.problem}", hint=event.hint)
            self.failures[event.key] = why = self._reason(event)
            if isinstance(why, NotRun):
                event = event.model_copy(update={"problem": why, "hint": None})
        self._watcher.event(planned, event)

    def _reason(self, event: Failed) -> str:
        """Why a stage ended without an output: it failed, or the budget ended before it did."""
        if self._pacing is not None and not self._pacing.budget.left:
            self.is_cut = True
            return NotRun(f"it was stopped when {self._pacing.budget.spent}")
        hint = f" ({event.hint})" if event.hint else ""
        return f"{event.problem}{hint}"

    def _note_cost(self, finished: Finished | None) -> None:
        if finished is not None:
            self._spent[unlimited_key(finished.stage)] = finished.cost

    def _cost(self, stage: Stage, event: Done) -> StageCost:
        """What a stage took, with what the earlier looks of an evaluation did."""
        seconds, peak = event.seconds, event.peak_memory_bytes
        before = self._spent.get(unlimited_key(stage))
        if before is not None:
            seconds += before.seconds
            peak = max(peak, before.peak_memory_bytes or 0)
        return StageCost(
            seconds=seconds,
            peak_memory_bytes=peak,
            interpreter=event.interpreter,
            threads=self._maker.threads(stage),
        )


class _Work(NamedTuple):
    """A batch that runs."""

    placed: Placed
    batch: Batch
    log: Path


class _Round(NamedTuple):
    """The batches of one round, as an executor asks for them."""

    filling: Filling
    schedule: Schedule
    settled: Settled

    def begin(self) -> _Work | None:
        """The next batch that may start and is worth it."""
        while (placed := self.schedule.take()) is not None:
            work = self.filling.begin(placed, self.settled)
            if work is not None:
                return work
            self.schedule.end(placed)
        return None

    def run(self, work: _Work, line: Line) -> None:
        """Run a batch, wherever that is."""
        self.filling.run(work, line)

    def follow(self, event: Event) -> None:
        """Take what a stage tells."""
        self.filling.follow(event)

    def end(self, work: _Work) -> None:
        """Take that a batch has ended."""
        self.schedule.end(work.placed)
