"""Fills the store with the stages of a plan, batch by batch, and remembers what failed."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gate.configuring.config import GateConfig
from gate.errors import ConfigError
from gate.executors.local import execute
from gate.jobs import Batch, Done, Event, Failed, Job, NotRun, RunBatch, Served
from gate.planning.soonest import Stages
from gate.planning.stages import PlannedStage
from gate.planning.todo import Sources, Todo
from gate.running.budget import Pacing, Settled
from gate.store import OUTPUT, Finished, StageCost, Store, unlimited_key
from gate.terms import LocalAdapter, Stage


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
    ) -> None:
        """Take what every batch is made from.

        Args:
            config: what was asked.
            sources: the base and adapters it was asked of.
            store: where outputs go.
            watcher: is told what happens.
            run_batch: how a batch is run.
            pacing: keeps to a budget of time; None where there is none.
        """
        self.failures: dict[str, str] = {}
        self.is_cut = False
        self._config = config
        self._sources = sources
        self._store = store
        self._watcher = watcher
        self._run_batch = run_batch
        self._pacing = pacing
        self._settled: Settled = _never
        self._planned: dict[str, PlannedStage] = {}
        self._tried: set[str] = set()
        self._spent: dict[str, StageCost] = {}

    def untried(self, todo: Todo) -> Todo:
        """What is left to do of a plan: what this run has tried in an earlier round is not."""
        to_run = tuple(one for one in todo.to_run if one.stage.key not in self._tried)
        return todo._replace(to_run=to_run)

    def fill(self, todo: Todo, *, settled: Settled = _never) -> None:
        """Run the stages that are to run, those that share a loaded model together.

        With a budget, those first that can settle the verdict soonest, none after it is settled,
        and none for which there is no time left.

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
        batches = tuple(_batches(todo.to_run))
        self._settled = settled
        execute(self._pacing.order(batches, todo.plan) if self._pacing else batches, run=self._run)

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
        kept = {self._journal(one) for one in live if one.stage.key in self.failures}
        for journal in {self._journal(one) for one in live} - kept:
            shutil.rmtree(journal, ignore_errors=True)

    def _run(self, group: Stages) -> None:
        """Run one batch, without the stages of which something they need has failed."""
        group = tuple(planned for planned in group if not self._is_lost(planned))
        if not group or self._is_cut_off(group):
            return
        batch = Batch(
            jobs=tuple(self._job(planned) for planned in group),
            options={
                "trust_remote_code": self._config.trust_remote_code,
                "allow_pickle": self._config.allow_pickle,
                "texts": [text.path for text in self._config.suite.texts],
                "calibration": [one.path for one in self._config.suite.calibration],
                "journal": str(self._journal(group[0])),
            },
            python=group[0].python,
            timeout_seconds=60 * self._config.timeout_minutes,
            limit_seconds=self._pacing.budget.left if self._pacing else None,
        )
        log = self._store.root / "logs" / f"{group[0].stage.key}.log"
        self._run_batch(batch, log, self._follow)

    def _is_cut_off(self, group: Stages) -> bool:
        """Whether a batch is not begun, for want of time or need."""
        refusal = self._pacing.refusal(group, self._settled) if self._pacing else None
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

    def _job(self, planned: PlannedStage) -> Job:
        made = {
            role: self._store.path(self._planned[key].stage) for role, key in planned.needs.items()
        }
        base = Path(self._sources.base.path)
        return Job(
            stage=planned.stage,
            label=planned.label,
            model=str(made.get("model") or made.get("weights") or base),
            adapters=self._adapters(planned.adapters),
            task=planned.task,
            out=str(self._store.workspace(planned.stage) / OUTPUT),
            base=str(base),
            merged=str(made["merged"]) if "merged" in made else None,
            is_repeat=planned.is_repeat,
            speed=self._config.suite.speed if planned.stage.kind == "speed" else None,
            repeat=planned.repeat,
            partial=str(self._store.partial(planned.stage)) if _keeps(planned) else None,
            text=planned.text,
            reading=self._config.suite.distributions if planned.text else None,
            reference=self._reference(planned, made),
        )

    def _reference(self, planned: PlannedStage, made: Mapping[str, Path]) -> Served | str | None:
        """What a candidate's reading is compared with."""
        if planned.reference is None:
            return str(made["reference"]) if "reference" in made else None
        live = planned.reference.adapters if planned.reference.merge is None else ()
        return Served(
            use=planned.reference.backend,
            model=str(made.get("reference_weights") or self._sources.base.path),
            adapters=self._adapters(live),
        )

    def _adapters(self, names: Iterable[str]) -> tuple[LocalAdapter, ...]:
        weights = {one.name: one.weight for one in self._config.candidate.adapters}
        return tuple(
            LocalAdapter(
                name=name, path=Path(self._sources.adapters[name].path), weight=weights[name]
            )
            for name in names
        )

    def _journal(self, planned: PlannedStage) -> Path:
        """Where the answers of a server are kept until its stages are done."""
        return self._store.root / "journals" / _shared_key(planned)

    def _follow(self, event: Event) -> None:
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
        return StageCost(seconds=seconds, peak_memory_bytes=peak, interpreter=event.interpreter)


def _batches(to_run: Iterable[PlannedStage]) -> Iterator[Stages]:
    """The stages to run, those that share a loaded model together."""
    groups: dict[str, list[PlannedStage]] = {}
    for planned in to_run:
        groups.setdefault(_shared_key(planned), []).append(planned)
    yield from (tuple(group) for group in groups.values())


def _keeps(planned: PlannedStage) -> bool:
    """Whether what is scored may stand for a later run: a server may be another one by then."""
    return planned.stage.kind == "evaluate" and not planned.is_live


def _shared_key(planned: PlannedStage) -> str:
    """What the stages that share a loaded model have in common."""
    stage = planned.stage
    if stage.kind not in ("evaluate", "read"):
        return stage.key
    # a role stays even where its content is shared: what is compared waits for its reference
    beside = "" if planned.reference is None else planned.reference.name
    shared = {"task": "", "text": "", "reading": "", "reference": beside}
    inputs = {role: shared.get(role, one) for role, one in stage.inputs.items()}
    return stage.model_copy(update={"inputs": inputs, "task": None}).key
