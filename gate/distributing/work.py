"""A batch on another machine: it waits for what it reads, and tells what it wrote."""

import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from pydantic import Field

from gate.errors import StageError
from gate.jobs import Batch, Done, Event, Line, RunBatch, Served, failed
from gate.terms import Noun

PATIENCE_SECONDS = 60.0
"""How long a network file system may take to show one machine what another one wrote."""

_POLL_SECONDS = 0.2


class Told(Noun):
    """What a machine tells of a batch.

    Attributes:
        node: which machine; its first word of a batch has no event.
        files: {path: bytes} below the workspace of a job that is done.
        tree: the id of that workspace in the storage, where there is one.
    """

    node: str
    event: Event | None = None
    files: dict[str, int] = Field(default_factory=dict)
    tree: str | None = None


def work(
    batch: Batch,
    log: Path,
    *,
    node: str,
    run_batch: RunBatch,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Iterator[Told]:
    """Run a batch on this machine, and give what it tells as it comes.

    Args:
        batch: what to do.
        log: where what libraries print goes.
        node: the name of this machine.
        run_batch: runs it.
        patience_seconds: how long what it reads may take to appear.
    """
    yield Told(node=node)
    unseen = _unseen(batch, patience_seconds)
    if unseen:
        error = StageError(
            f"node {node} does not see {unseen[0]}",
            hint="models, tasks and the store must lie where every node finds them",
        )
        yield from (Told(node=node, event=failed(job, error)) for job in batch.jobs)
        return
    outs = {job.stage.key: Path(job.out).parent for job in batch.jobs}
    for event in _events(batch, log, run_batch):
        is_done = isinstance(event, Done)
        yield Told(node=node, event=event, files=sizes(outs[event.key]) if is_done else {})


def sizes(folder: Path) -> dict[str, int]:
    """{path below a folder: bytes} of every file in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def await_files(folder: Path, files: dict[str, int], *, patience_seconds: float) -> bool:
    """Wait until a folder holds these files in these sizes; whether it does in the end."""
    end = time.monotonic() + patience_seconds
    while not files.items() <= sizes(folder).items():
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _unseen(batch: Batch, patience_seconds: float) -> list[str]:
    """What of the paths that a batch reads is not there, after some waiting."""
    end = time.monotonic() + patience_seconds
    while unseen := [path for path in _paths(batch) if not Path(path).exists()]:
        if time.monotonic() >= end:
            break
        time.sleep(_POLL_SECONDS)
    return unseen


def _paths(batch: Batch) -> Iterator[str]:
    for job in batch.jobs:
        yield from filter(
            None, (job.model, job.out, job.base, job.merged, job.converted, job.partial)
        )
        yield from (str(adapter.path) for adapter in job.adapters)
        if isinstance(job.reference, str):
            yield job.reference
        if isinstance(job.reference, Served):
            yield job.reference.model
        yield from (one.path for one in (job.task, job.text) if one is not None and one.path)


def _events(batch: Batch, log: Path, run_batch: RunBatch) -> Iterator[Event]:
    """The events of a batch that runs in a thread of its own; who stops listening stops it.

    Raises:
        BaseException: whatever it raised.
    """
    told: SimpleQueue[Event | BaseException | None] = SimpleQueue()
    line = Line(told.put)

    def run() -> None:
        try:
            run_batch(batch, log, line)
        except BaseException as error:  # noqa: BLE001 (a thread's edge: raised on below)
            told.put(error)
        told.put(None)

    Thread(target=run, daemon=True).start()
    try:
        while (event := told.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        line.cut()
