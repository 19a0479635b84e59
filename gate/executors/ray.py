"""Runs batches on the nodes of a Ray cluster: threads here wait for workers there."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from gate import extensions
from gate.distributing.cluster import Demand, Machine, ask_nodes, check_room, joined, machines
from gate.distributing.consignments import Consignment
from gate.distributing.nodes import asking, check_nodes, describe_node
from gate.distributing.routes import Route, SharedFolder
from gate.distributing.shares import Sharing, share_out
from gate.distributing.tries import Trial
from gate.errors import StageError
from gate.executors.local import execute
from gate.jobs import Batch, Event, Line, OnEvent, RunBatch

__all__ = ["Cluster", "execute", "join_cluster"]

_POLL_SECONDS = 0.5
_ROOM_SECONDS = 10.0
_GPU_KINDS = ("evaluate", "read", "quantize")
"""Kinds of stage that use a variant's GPUs."""

_TOO_LATE = "it was stopped when the time for its stages was over"

Hear = Callable[[int, Event], None]
"""Hears an event of the batch of this number."""


class Cluster:
    """A cluster that was found fit, and how batches run on it.

    Attributes:
        nodes: those that it had at the beginning.
    """

    def __init__(
        self,
        nodes: Sequence[Machine],
        demands: Mapping[str, Demand],
        *,
        run_batch: RunBatch,
        route: Route,
        shards: int,
    ) -> None:
        """Take what every batch is run by.

        Args:
            nodes: of the cluster.
            demands: {variant: what a stage of it asks of a node}.
            run_batch: runs a batch on a node, or here what asks a server or measures this machine.
            route: how a batch gets to a node.
            shards: the most workers that the documents of one evaluation are shared out among.
        """
        self.nodes = nodes
        self._demands = demands
        self._run_here = run_batch
        self._route = route
        self._shards = shards

    @property
    def places(self) -> int:
        """How many of the batches that ask least there is room for at once."""
        least = min((demand.cpus for demand in self._demands.values()), default=1)
        return max(1, sum(int(node.cpus // least) for node in self.nodes))

    def run_batch(self, batch: Batch, log: Path, on_event: OnEvent) -> None:
        """Run a batch on the cluster, its documents shared out; as `run_in_child` otherwise.

        A node or worker that dies has what it did not finish tried on others. Where `on_event`
        is a Line, cutting it cancels what runs.

        Raises:
            StoreError: what a node wrote cannot be put into the store.
            KeyboardInterrupt: the user stopped the run; the nodes have been told to stop too.
        """
        if _is_of_here(batch):
            self._run_here(batch, log, on_event)
            return
        stop = threading.Event()
        with _stopping(on_event, stop):
            parts = share_out(batch, shards=self._shards)
            if len(parts) == 1:
                self._run(parts, log, lambda _, event: on_event(event), stop)
                return
            sharing = Sharing(batch.jobs, on_event, shards=len(parts))
            self._run(parts, log, sharing.hear, stop)
            whole = () if stop.is_set() else sharing.whole()
            if whole:
                rest = batch.model_copy(update={"jobs": whole, "is_answered": True})
                self._run((rest,), log, lambda _, event: sharing.assembled(event), stop)

    def _run(self, batches: Sequence[Batch], log: Path, hear: Hear, stop: threading.Event) -> None:
        """Run batches at once, until all have ended or are stopped."""
        import ray

        trials = [self._sent(batch, _log_of(log, batch)) for batch in batches]
        limit, begun = batches[0].limit_seconds, time.monotonic()
        looked = begun
        try:
            while not stop.is_set() and (running := [one for one in trials if not one.is_over]):
                ready, _ = ray.wait([one.answers for one in running], timeout=_POLL_SECONDS)
                for trial in (one for one in running if one.answers in ready):
                    _tell(trials.index(trial), trial.step(), hear)
                if limit is not None and time.monotonic() - begun > limit:
                    for trial in running:
                        _tell(trials.index(trial), trial.give_up(StageError(_TOO_LATE)), hear)
                if not ready and time.monotonic() - looked > _ROOM_SECONDS:
                    looked = time.monotonic()
                    _give_up_the_homeless(trials, hear)
        finally:
            for trial in trials:
                if not trial.is_over:
                    trial.cancel()

    def _sent(self, batch: Batch, log: Path) -> Trial:
        return Trial(batch, log, self._demand(batch), self._run_here, route=self._route)

    def _demand(self, batch: Batch) -> Demand:
        """What a batch asks of a node; where it loads no model, no GPU and no more memory."""
        first = batch.jobs[0]
        asked = demand_of(first.variant, self._demands)
        if batch.is_answered or first.stage.kind not in _GPU_KINDS:
            return Demand(cpus=asked.cpus)
        return asked


def demand_of(variant: str, demands: Mapping[str, Demand]) -> Demand:
    """What a stage of a variant asks: one that the plan added, as that in whose runtime it is.

    Args:
        variant: as the plan names it; merged@w8a8 is merged in the runtime of w8a8.
        demands: {variant: what it asks}; what a variant asks that is not there is under ''.
    """
    known = (demands.get(name) for name in (variant, variant.rpartition("@")[2], ""))
    return next((one for one in known if one is not None), Demand())


@contextmanager
def join_cluster(
    demands: Mapping[str, Demand],
    *,
    store: Path,
    packages: Mapping[str, Iterable[str]],
    paths: Iterable[str],
    run_batch: RunBatch,
    address: str = "auto",
    shards: int = 1,
    consignment: Consignment | None = None,
) -> Iterator[Cluster]:
    """A cluster whose every node sees the store and the models, and has the versions of here.

    Args:
        demands: {variant: what a stage of it asks of a node}; '' is any that is not named.
        store: the root of the store, a folder that all nodes see.
        packages: {interpreter: distributions whose versions decide what a stage gives}.
        paths: files and folders that stages read.
        run_batch: what runs a batch on a node.
        address: auto for the cluster that this machine belongs to, or HOST:PORT of its head.
        shards: the most workers that the documents of one evaluation are shared out among.
        consignment: brings to the nodes what they read; None where they see store and paths.

    Raises:
        ConfigError: Ray is not installed, there is no cluster, no node has what a variant asks
            for, or a node lacks a file or has other versions.
        StageError: a node does not answer.
        StoreError: a node does not see the store, or cannot use the storage.
    """
    with joined(address):
        nodes = machines()
        usual = int(any(node.gpus for node in nodes))
        asked = {
            name: demand._replace(gpus=usual) if demand.gpus is None else demand
            for name, demand in demands.items()
        }
        check_room(((f"variant {name}".strip(), one) for name, one in asked.items()), nodes)
        storage = None if consignment is None else consignment.url
        with asking(store, packages, paths, storage=storage) as question:
            here = describe_node("here", question)
            check_nodes(ask_nodes(question, nodes), here, question)
        route = consignment or SharedFolder()
        yield Cluster(nodes, asked, run_batch=run_batch, route=route, shards=shards)


def _is_of_here(batch: Batch) -> bool:
    """Whether a batch asks a server, whose key is known here, or measures this machine."""
    stage = batch.jobs[0].stage
    if stage.kind == "speed":
        return True
    if stage.kind not in ("evaluate", "read"):
        return False
    backend = extensions.find("backends", stage.use.name)
    return bool(getattr(backend.module, "IS_LIVE", False))


def _log_of(log: Path, batch: Batch) -> Path:
    """A log of its own for each share."""
    if batch.share is None:
        return log
    return log.with_name(f"{log.stem}.part-{batch.share.part + 1}{log.suffix}")


def _stopping(on_event: OnEvent, stop: threading.Event) -> AbstractContextManager[None]:
    """While this lasts, who listens can stop what runs."""
    if isinstance(on_event, Line):
        return on_event.stopped_by(stop.set)
    return nullcontext()


def _tell(index: int, events: Iterable[Event], hear: Hear) -> None:
    for event in events:
        hear(index, event)


def _give_up_the_homeless(trials: Sequence[Trial], hear: Hear) -> None:
    """End what waits for a node that the cluster has no more."""
    nodes = machines()
    for index, trial in enumerate(trials):
        is_waiting = not trial.is_over and not trial.is_begun
        if is_waiting and not any(trial.demand.fits(node) for node in nodes):
            lost = StageError(
                f"the cluster has no node left with {trial.demand}",
                hint="bring it back and run again: what was finished is kept",
            )
            _tell(index, trial.give_up(lost), hear)
