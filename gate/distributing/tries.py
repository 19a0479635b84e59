"""A batch sent to a Ray cluster: tried on one node, and on another where that one died."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gate.distributing.attempts import adopt, clear, own_folders
from gate.distributing.cluster import Demand, last_line, machines
from gate.distributing.work import Told, work
from gate.errors import GateError, StageError
from gate.jobs import Batch, Done, Event, Failed, Job, RunBatch, failed

_MOST_TRIES = 3


class Trial:
    """One batch, from its first try to its end.

    Attributes:
        answers: what Ray gives of the try that runs.
        is_begun: whether a node has said that it has begun.
        is_over: whether nothing more will come.
    """

    def __init__(self, batch: Batch, log: Path, demand: Demand, run_batch: RunBatch) -> None:
        """Send the batch to some node.

        Args:
            batch: what to do; relative paths are from the folder that this process is in.
            log: where what libraries print goes.
            demand: what it asks of a node.
            run_batch: what runs it there.
        """
        self.is_over = False
        self._wanted = batch
        self._pending = {job.stage.key: job for job in batch.jobs}
        self._log = log.resolve()
        self.demand = demand
        self._run_batch = run_batch
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
            StoreError: what a job wrote cannot be put in its place.
        """
        import ray

        try:
            told = Told.model_validate_json(ray.get(next(self.answers)))
        except StopIteration:
            self.is_over = True
            clear(self._tried)
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
                yield self._taken(told.event, told.files)

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
        self._tried = own_folders(self._wanted.model_copy(update={"jobs": jobs}), name)
        self._node, self.is_begun = "of the cluster", False
        begin: Any = ray.remote(max_retries=0)(_work)
        asked: dict[str, Any] = {"num_cpus": self.demand.cpus, "num_gpus": self.demand.gpus or 0}
        if self.demand.memory_bytes:
            asked["memory"] = self.demand.memory_bytes
        self.answers: Any = begin.options(**asked, **_elsewhere(self._lost, self.demand)).remote(
            self._tried.model_dump_json(), str(self._log), str(Path.cwd()), self._run_batch
        )

    def _again(self, why: str) -> Iterator[Event]:
        """Try what is not done on another node, unless enough have died of it."""
        clear(self._tried)
        self._lost.append(self._node)
        if len(self._lost) < _MOST_TRIES:
            self._send()
            return
        self.is_over = True
        where = ", then ".join(self._lost)
        problem = f"its worker died {len(self._lost)} times, on node {where}: {why}"
        hint = "most likely out of memory: see the log of the node, or ask for more with memory_gib"
        yield from self._all_failed(StageError(problem, hint=hint))

    def _taken(self, event: Event, files: dict[str, int]) -> Event:
        """An event, with what a job has written put in its place."""
        if isinstance(event, Done | Failed):
            job = self._pending.pop(event.key)
            if isinstance(event, Done) and self._wanted.share is None:
                adopt(job, self._as_tried(event.key), files)
        return event

    def _as_tried(self, key: str) -> Job:
        return next(job for job in self._tried.jobs if job.stage.key == key)

    def _all_failed(self, error: GateError) -> Iterator[Event]:
        for job in self._pending.values():
            yield failed(job, error)
        self._pending.clear()


def _work(batch: str, log: str, folder: str, run_batch: RunBatch) -> Iterator[str]:
    """What runs on a node: what it tells, each as JSON."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    node = next((one.name for one in machines() if one.id == here), here)
    with suppress(OSError):  # what is relative is from there, and else not seen
        os.chdir(folder)
    given = Batch.model_validate_json(batch)
    for told in work(given, Path(log), node=node, run_batch=run_batch):
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
