"""A batch sent to a Ray cluster: tried on one node, and on another where that one died."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gate.distributing.cluster import Demand, last_line, machines
from gate.distributing.mirrored import work_mirrored
from gate.distributing.parcels import Parcel
from gate.distributing.routes import Route
from gate.distributing.work import Told, work
from gate.errors import GateError, StageError
from gate.jobs import Batch, Done, Event, Failed, RunBatch, failed

_MOST_TRIES = 3


class Trial:
    """One batch, from its first try to its end.

    Attributes:
        answers: what Ray gives of the try that runs.
        is_begun: whether a node has said that it has begun.
        is_over: whether nothing more will come.
    """

    def __init__(
        self, batch: Batch, log: Path, demand: Demand, run_batch: RunBatch, *, route: Route
    ) -> None:
        """Send the batch to some node.

        Args:
            batch: what to do; relative paths are from the folder that this process is in.
            log: where what libraries print goes.
            demand: what it asks of a node.
            run_batch: what runs it there.
            route: how it gets there, and what it gives here.

        Raises:
            StoreError: it cannot be sent.
        """
        self.is_over = False
        self._wanted = batch
        self._pending = {job.stage.key: job for job in batch.jobs}
        self._log = log.resolve()
        self.demand = demand
        self._run_batch = run_batch
        self._route = route
        self._lost: list[str] = []
        self._node = ""
        self._send()

    @property
    def label(self) -> str:
        """What people call it: its first job that is not done."""
        return next(iter(self._pending.values())).label

    def step(self) -> Iterator[Event]:
        """What the next answer tells, once Ray says that there is one.

        Raises:
            StoreError: what a job wrote cannot be put in its place, or another try not be sent.
        """
        import ray

        try:
            told = Told.model_validate_json(ray.get(next(self.answers)))
        except StopIteration:
            self.is_over = True
            self._route.end(self._parcel, is_lost=False)
            yield from self._all_failed(StageError("it ended without a word for its stages"))
        except ray.exceptions.RayTaskError as error:
            self.is_over = True
            why = f"it could not be run on node {self._node}: {last_line(error)}"
            yield from self._all_failed(StageError(why))
        except ray.exceptions.RayError as error:
            yield from self._again(last_line(error))
        else:
            self._node, self.is_begun = told.node, True
            if told.event is not None:
                yield self._taken(told.event, told)

    def give_up(self, error: GateError) -> Iterator[Event]:
        """End it; what is not done has failed by this error."""
        self.cancel()
        yield from self._all_failed(error)

    def cancel(self) -> None:
        """Stop what runs of it; its node kills the worker, and that the engine."""
        import ray

        self.is_over = True
        ray.cancel(self.answers, force=True)

    def _send(self) -> None:
        import ray

        name = uuid.uuid4().hex[:12]
        jobs = tuple(self._pending.values())
        batch = self._wanted.model_copy(update={"jobs": jobs})
        self._parcel = self._route.send(batch, self._log, name=name)
        self._node, self.is_begun = "of the cluster", False
        begin: Any = ray.remote(max_retries=0)(_work)
        asked: dict[str, Any] = {"num_cpus": self.demand.cpus, "num_gpus": self.demand.gpus or 0}
        if self.demand.memory_bytes:
            asked["memory"] = self.demand.memory_bytes
        self.answers: Any = begin.options(**asked, **_elsewhere(self._lost, self.demand)).remote(
            self._parcel.model_dump_json(), self._run_batch
        )

    def _again(self, why: str) -> Iterator[Event]:
        """Try what is not done on another node, unless enough have died of it."""
        self._route.end(self._parcel, is_lost=True)
        if not self._pending:  # its worker died after its last word
            self.is_over = True
            return
        self._lost.append(self._node)
        if len(self._lost) < _MOST_TRIES:
            self._send()
            return
        self.is_over = True
        where = ", then ".join(self._lost)
        problem = f"its worker died {len(self._lost)} times, on node {where}: {why}"
        hint = "most likely out of memory: see the log of the node, or ask for more with memory_gib"
        yield from self._all_failed(StageError(problem, hint=hint))

    def _taken(self, event: Event, told: Told) -> Event:
        """An event, with what a job has written put in its place."""
        if isinstance(event, Done | Failed):
            job = self._pending.pop(event.key)
            if isinstance(event, Done) and self._wanted.share is None:
                self._route.adopt(job, self._parcel, told)
        return event

    def _all_failed(self, error: GateError) -> Iterator[Event]:
        for job in self._pending.values():
            yield failed(job, error)
        self._pending.clear()


def _work(sent: str, run_batch: RunBatch) -> Iterator[str]:
    """What runs on a node: what it tells, each as JSON."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    node = next((one.name for one in machines() if one.id == here), here)
    parcel = Parcel.model_validate_json(sent)
    if parcel.storage is None:
        with suppress(OSError):  # what is relative is from there, and else not seen
            os.chdir(parcel.folder)
        answers = work(parcel.batch, Path(parcel.log), node=node, run_batch=run_batch)
    else:
        answers = work_mirrored(parcel, node=node, run_batch=run_batch)
    for told in answers:
        yield told.model_dump_json()


def _elsewhere(lost: Sequence[str], demand: Demand) -> dict[str, Any]:
    """Not on a node where it died, as long as there is another one that it fits on."""
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    living = machines()
    shunned = [node.id for node in living if node.name in lost]
    if not shunned or not any(demand.fits(node) for node in living if node.id not in shunned):
        return {}
    not_there = {"ray.io/node-id": NotIn(*shunned)}
    return {"scheduling_strategy": NodeLabelSchedulingStrategy(hard=not_there)}
