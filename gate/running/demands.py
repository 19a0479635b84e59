"""What a batch needs of the machine: as gate.yaml declares it, as it took before, or estimated."""

from gate.configuring.capacity import spread_of
from gate.configuring.config import GateConfig
from gate.distributions.memory import needed_bytes
from gate.planning.soonest import Stages, is_alone
from gate.planning.stages import PlannedStage
from gate.running.batching import BatchMaker
from gate.running.slots import Demand
from gate.store import Store


class Demands:
    """What the batches of a run need."""

    def __init__(self, config: GateConfig, store: Store, maker: BatchMaker) -> None:
        """Ask the store once for what stages took before, when the first batch is asked for."""
        self._declared = config.memory_bytes
        self._store = store
        self._maker = maker
        self._peaks: dict[tuple[str, str], int] | None = None

    def of(self, batch: Stages) -> Demand:
        """What a batch needs, when what it reads is there."""
        declared = [self._declared_bytes(one) for one in batch]
        known = [one for one in declared if one is not None]
        is_declared = len(known) == len(declared)
        return Demand(
            memory_bytes=max(known) if is_declared else max(map(self._expected_bytes, batch)),
            is_declared=is_declared,
            gpus=spread_of(batch[0].stage.use),
            is_alone=is_alone(batch),
        )

    def _declared_bytes(self, planned: PlannedStage) -> int | None:
        """What gate.yaml says that a stage's models take together; None where it does not."""
        names = [planned.variant, *([planned.reference.name] if planned.reference else [])]
        sizes = [self._declared.get(name) for name in names]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def _expected_bytes(self, planned: PlannedStage) -> int:
        """What its files take, or what it took the last time if that was more."""
        if self._peaks is None:
            past = sorted(self._store.finished(), key=lambda one: one.finished_at)
            self._peaks = {
                (one.stage.kind, one.label): one.cost.peak_memory_bytes or 0 for one in past
            }
        before = self._peaks.get((planned.stage.kind, planned.label), 0)
        return max(before, needed_bytes(self._maker.loaded(planned)))
