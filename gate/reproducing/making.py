"""The merges and quantizations of a config, made in a new store; audits only where asked for."""

from collections.abc import Iterable
from pathlib import Path

from gate.audit_records import Audit
from gate.configuring.config import GateConfig
from gate.digest import digest_tree
from gate.jobs import RunBatch
from gate.planning.stages import PlannedStage
from gate.planning.todo import Sources, look_up
from gate.running.filling import Filling, Watcher
from gate.running.worker import AUDIT_FILE
from gate.store import Finished, Store
from gate.terms import Variant


class Making:
    """What the stages of a config gave, in a store that had none of them."""

    def __init__(
        self,
        config: GateConfig,
        sources: Sources,
        store: Store,
        watcher: Watcher,
        run_batch: RunBatch,
    ) -> None:
        """Make everything that the config asks for.

        Args:
            config: what is asked; it has no tasks.
            sources: the base and adapters that it is made from.
            store: a new one, which has nothing in it.
            watcher: is told what happens.
            run_batch: how a batch is run.

        Raises:
            ConfigError: an engine that is not installed, or a stage found that its input is wrong.
            StoreError: the store cannot be written.
        """
        self._store = store
        self._todo = look_up(config, sources, store)
        self._filling = Filling(config, sources, store=store, watcher=watcher, run_batch=run_batch)
        self._stages = {one.stage.key: one for one in self._todo.plan.stages}
        self._audits = {one.needs["model"]: one for one in self._of("audit")}
        built = self._of("merge", "convert", "quantize")
        watcher.planned(self._todo._replace(to_run=tuple(built)))
        self._fill(built)

    def stage(self, variant: str) -> PlannedStage:
        """The stage that makes a variant's files."""
        return self._stages[self._todo.plan.artifacts[variant]]

    def finished(self, planned: PlannedStage) -> Finished | None:
        """What a stage gave; None where it failed."""
        return self._store.find(planned.stage)

    def files(self, planned: PlannedStage) -> dict[str, str]:
        """{path: SHA-256} of what a stage gave."""
        return digest_tree(self._store.path(planned.stage))

    def failure(self, planned: PlannedStage) -> str:
        """Why a stage gave nothing."""
        return self._filling.failures.get(planned.stage.key, "it was not made")

    def audit(self, planned: PlannedStage) -> Audit | None:
        """The audit of what a stage gave, made now; None where that fails."""
        audit = self._audits[planned.stage.key]
        self._fill([audit])
        if self.finished(audit) is None:
            return None
        return Audit.model_validate_json((self._store.path(audit.stage) / AUDIT_FILE).read_bytes())

    def audit_failure(self, planned: PlannedStage) -> str:
        """Why an audit gave nothing."""
        return self.failure(self._audits[planned.stage.key])

    def keep(self, variants: Iterable[Variant], out: Path) -> None:
        """Move what was made to <out>/<variant>; what two variants share goes to the first.

        Raises:
            OSError: it cannot be moved.
        """
        for variant in variants:
            made = self._store.path(self.stage(variant.name).stage)
            if made.is_dir():
                made.rename(out / variant.name)

    def _fill(self, stages: Iterable[PlannedStage]) -> None:
        to_run = tuple(one for one in stages if self._store.find(one.stage) is None)
        self._filling.fill(self._todo._replace(to_run=to_run, cached=()))

    def _of(self, *kinds: str) -> list[PlannedStage]:
        return [one for one in self._todo.plan.stages if one.stage.kind in kinds]
