"""One run, as a line: locate, plan, fill the store, read scores, judge, record, report."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gate.children import run_in_child
from gate.config import GateConfig
from gate.environments import find_python
from gate.errors import ConfigError
from gate.executors.local import execute
from gate.fallbacks import fit_backends
from gate.jobs import Batch, Done, Event, Failed, Job, RunBatch
from gate.plan import make_plan
from gate.recording import Sources, Todo, make_record
from gate.records import Record
from gate.report_files import write_run
from gate.sources import SourceKind, check_fit, locate
from gate.stages import PlannedStage
from gate.store import OUTPUT, StageCost, Store
from gate.terms import LocalAdapter, Source


class FinishedRun(NamedTuple):
    """A record and the directory its reports were written to."""

    record: Record
    directory: Path


class Watcher:
    """What a run tells while it goes; this one stays silent."""

    def planned(self, todo: Todo) -> None:
        """The plan is made; nothing has run yet."""

    def event(self, planned: PlannedStage, event: Event) -> None:
        """A stage began, moved on, ended or failed."""

    def say(self, sentence: str) -> None:
        """Something a person should know now."""


def locate_sources(config: GateConfig, store: Store) -> Sources:
    """Find and fingerprint the base and adapters of a config, and see that they fit.

    Raises:
        SourceError: missing, unreadable, refused, or made for another base.
    """

    def find(given: str, kind: SourceKind) -> Source:
        return locate(
            given,
            root=config.path.parent,
            kind=kind,
            allow_pickle=config.allow_pickle,
            trust_remote_code=config.trust_remote_code,
            file_digest=store.file_digest,
        )

    base = find(config.candidate.base, "base")
    adapters = {one.name: find(one.source, "adapter") for one in config.candidate.adapters}
    for adapter in adapters.values():
        check_fit(base, adapter)
    store.file_digest.save()
    return Sources(base, adapters)


def look_up(config: GateConfig, sources: Sources, store: Store) -> Todo:
    """The plan of a config, and which of its stages the store already has.

    Raises:
        ConfigError: a check that cannot be resolved, or an engine that is not installed.
    """
    fitted = fit_backends(config, sources.adapters)
    used = (use for one in fitted.variants for use in (one.merge, one.quantize, one.backend))
    names = {use.name for use in used if use is not None}
    found = {name: find_python(name, store=store.root, given=config.interpreters) for name in names}
    plan = make_plan(
        config.model_copy(update={"variants": fitted.variants}),
        sources.base,
        sources.adapters,
        interpreters={name: python for name, python in found.items() if python is not None},
    )
    cached = tuple(
        one for one in plan.stages if not one.is_live and store.find(one.stage) is not None
    )
    to_run = tuple(planned for planned in plan.stages if planned not in cached)
    return Todo(plan, cached, to_run, fitted.notes)


def run_gate(
    config: GateConfig,
    *,
    store: Store,
    reports: Path,
    watcher: Watcher | None = None,
    run_batch: RunBatch = run_in_child,
) -> FinishedRun:
    """Run whatever the store does not have, judge every check, and write the reports.

    Args:
        config: what `load_config` gave.
        store: where stage outputs are kept.
        reports: the folder in which <release>/<run>/ is made.
        watcher: is told what happens.
        run_batch: how a batch is run; a child process unless a test says otherwise.

    Raises:
        ConfigError: the input is wrong; nothing was judged.
        StoreError: the store cannot be used.
        KeyboardInterrupt: the user stopped it; finished stages are kept.
    """
    watcher = watcher or Watcher()
    with store.lock(on_wait=watcher.say):
        sources = locate_sources(config, store)
        for source in (sources.base, *sources.adapters.values()):
            store.remember(source)
        todo = look_up(config, sources, store)
        for planned in todo.to_run:
            if planned.is_live:  # what a server said in an earlier run must not stand for this one
                store.forget(planned.stage)
        watcher.planned(todo)
        filling = _Filling(
            config, sources, store=store, todo=todo, watcher=watcher, run_batch=run_batch
        )
        execute(filling.batches(), run=filling.run)
        filling.clear_journals()
        record = make_record(config, sources, todo, store, failures=filling.failures)
        return FinishedRun(record, write_run(record, reports))


class _Filling:
    """Fills the store with the stages of a plan, batch by batch, and remembers what failed."""

    def __init__(
        self,
        config: GateConfig,
        sources: Sources,
        *,
        store: Store,
        todo: Todo,
        watcher: Watcher,
        run_batch: RunBatch,
    ) -> None:
        self.failures: dict[str, str] = {}
        self._config = config
        self._sources = sources
        self._store = store
        self._todo = todo
        self._watcher = watcher
        self._run_batch = run_batch
        self._planned = {planned.stage.key: planned for planned in todo.plan.stages}

    def batches(self) -> Iterator[tuple[PlannedStage, ...]]:
        """The stages to run, those that share a loaded model together."""
        groups: dict[str, list[PlannedStage]] = {}
        for planned in self._todo.to_run:
            groups.setdefault(_shared_key(planned), []).append(planned)
        yield from (tuple(group) for group in groups.values())

    def run(self, group: tuple[PlannedStage, ...]) -> None:
        """Run one batch, unless what it needs has failed."""
        for key in group[0].needs.values():
            if key in self.failures:
                for planned in group:
                    self.failures[planned.stage.key] = (
                        f"it needs '{self._planned[key].label}', which failed"
                    )
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
        )
        log = self._store.root / "logs" / f"{group[0].stage.key}.log"
        self._run_batch(batch, log, self._follow)

    def _job(self, planned: PlannedStage) -> Job:
        made = {
            role: self._store.path(self._planned[key].stage) for role, key in planned.needs.items()
        }
        model = made.get("model") or made.get("weights") or Path(self._sources.base.path)
        weights = {one.name: one.weight for one in self._config.candidate.adapters}
        return Job(
            stage=planned.stage,
            label=planned.label,
            model=str(model),
            adapters=tuple(
                LocalAdapter(
                    name=name, path=Path(self._sources.adapters[name].path), weight=weights[name]
                )
                for name in planned.adapters
            ),
            task=planned.task,
            out=str(self._store.workspace(planned.stage) / OUTPUT),
            base=self._sources.base.path,
            merged=str(made["merged"]) if "merged" in made else None,
            is_repeat=planned.is_repeat,
            speed=self._config.suite.speed if planned.stage.kind == "speed" else None,
            repeat=planned.repeat,
        )

    def clear_journals(self) -> None:
        """Forget the answers of servers, unless a stage that asked one has to be resumed."""
        for planned in self._todo.to_run:
            if planned.is_live and planned.stage.key not in self.failures:
                shutil.rmtree(self._journal(planned), ignore_errors=True)

    def _journal(self, planned: PlannedStage) -> Path:
        """Where the answers of a server are kept until its stages are done."""
        return self._store.root / "journals" / _shared_key(planned)

    def _follow(self, event: Event) -> None:
        planned = self._planned[event.key]
        if isinstance(event, Done):
            cost = StageCost(
                seconds=event.seconds,
                peak_memory_bytes=event.peak_memory_bytes,
                interpreter=event.interpreter,
            )
            self._store.commit(planned.stage, label=planned.label, cost=cost)
        if isinstance(event, Failed):
            if event.exit_status == ConfigError.exit_status:
                raise ConfigError(f"{planned.label}: {event.problem}", hint=event.hint)
            hint = f" ({event.hint})" if event.hint else ""
            self.failures[event.key] = f"{event.problem}{hint}"
        self._watcher.event(planned, event)


def _shared_key(planned: PlannedStage) -> str:
    """What the stages that share a loaded model have in common."""
    stage = planned.stage
    if stage.kind != "evaluate":
        return stage.key
    inputs = {role: one for role, one in stage.inputs.items() if role != "task"}
    return stage.model_copy(update={"inputs": inputs, "task": None}).key
