"""A batch on a machine that shares no folder with who asked: fetched, run, and given back."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gate.distributing.documents import Documents, fetch_documents
from gate.distributing.mirrors import Mirror, copying, mirror_folder
from gate.distributing.parcels import Parcel, moved
from gate.distributing.storages import Storage
from gate.distributing.work import Told, work
from gate.errors import GateError, StageError
from gate.jobs import Batch, Done, Failed, RunBatch, failed


class _Unpacked(NamedTuple):
    """A batch with the paths of this machine."""

    batch: Batch
    documents: Documents
    log: Path


def work_mirrored(parcel: Parcel, *, node: str, run_batch: RunBatch) -> Iterator[Told]:
    """Run a batch here on what its storage has, store what it gives, and tell of it.

    Args:
        parcel: what to do.
        node: the name of this machine.
        run_batch: runs it.
    """
    yield Told(node=node)
    pending = {job.stage.key: job for job in parcel.batch.jobs}
    try:
        storage = Storage(parcel.storage or "")
        mirror = Mirror(storage, mirror_folder())
        with mirror.try_folder() as folder:
            unpacked = _unpack(parcel, storage, mirror, folder)
            for told in _run(unpacked, mirror, node=node, run_batch=run_batch):
                if isinstance(told.event, Done | Failed):
                    pending.pop(told.event.key, None)
                yield told
            with suppress(GateError):  # a log is no result
                storage.put(unpacked.log, f"logs/{unpacked.log.name}")
    except GateError as error:
        for job in pending.values():
            problem = f"node {node}: {error.problem}"
            yield Told(node=node, event=failed(job, StageError(problem, hint=error.hint)))


def _run(unpacked: _Unpacked, mirror: Mirror, *, node: str, run_batch: RunBatch) -> Iterator[Told]:
    """What the batch tells, when the storage has what it tells of.

    Raises:
        StoreError: the storage does not take it.
    """
    batch = unpacked.batch
    outs = {job.stage.key: Path(job.out).parent for job in batch.jobs}
    for told in work(batch, unpacked.log, node=node, run_batch=run_batch, patience_seconds=0):
        unpacked.documents.put_new()
        if isinstance(told.event, Done) and batch.share is None:
            tree = mirror.give(outs[told.event.key])
            yield told.model_copy(update={"files": {}, "tree": tree})
        elif told.event is not None:
            yield told.model_copy(update={"files": {}})


def _unpack(parcel: Parcel, storage: Storage, mirror: Mirror, folder: Path) -> _Unpacked:
    """A batch with the paths of this machine, where all that it reads is.

    Raises:
        StoreError: the storage lacks something, or it cannot be written here.
    """
    places = {path: str(mirror.tree(one.tree) / one.inside) for path, one in parcel.trees.items()}
    outs = {job.out: folder / job.stage.key / Path(job.out).name for job in parcel.batch.jobs}
    kept = {
        job.partial: folder / "partial" / Path(job.partial).name
        for job in parcel.batch.jobs
        if job.partial
    }
    with copying(folder):
        for one in (*outs.values(), *kept.values()):
            one.mkdir(parents=True)
    for one in kept.values():
        fetch_documents(storage, one)
    here = {path: str(place) for path, place in {**outs, **kept}.items()}
    return _Unpacked(
        moved(parcel.batch, {**places, **here}),
        Documents(storage, kept.values()),
        folder / Path(parcel.log).name,
    )
