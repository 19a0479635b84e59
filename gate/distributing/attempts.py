"""One try of a batch on another machine, which writes where no other try does.

A machine that was given up for dead may still be writing: what it writes is never looked at.
"""

import shutil
from pathlib import Path

from gate.distributing.work import PATIENCE_SECONDS, await_files
from gate.errors import StoreError
from gate.jobs import Batch, Job
from gate.storing import storing


def own_folders(batch: Batch, name: str) -> Batch:
    """The batch with output folders of its own, which are made.

    Args:
        batch: jobs whose outputs go to <workspace>/<folder>.
        name: of the try; no other one of these jobs has it.

    Raises:
        StoreError: a folder cannot be made.
    """
    return batch.model_copy(update={"jobs": tuple(_moved(job, name) for job in batch.jobs)})


def adopt(job: Job, tried: Job, files: dict[str, int]) -> None:
    """Put what a try wrote, and what it left beside that, where the job wanted it.

    Args:
        job: as it was wanted.
        tried: as it was done.
        files: {path below the workspace: bytes}, as the other machine has written them.

    Raises:
        StoreError: they cannot be seen from here, or not be moved.
    """
    wanted, written = Path(job.out).parent, Path(tried.out).parent
    with storing(wanted):
        if not await_files(written, files, patience_seconds=PATIENCE_SECONDS):
            raise StoreError(
                f"{job.label}: what it wrote into {written} cannot be seen from here",
                hint="does the store's file system show every machine what others write?",
            )
        shutil.rmtree(wanted)
        written.rename(wanted)


def clear(batch: Batch) -> None:
    """Remove what a try that came to nothing has written, as far as it can be."""
    for job in batch.jobs:
        shutil.rmtree(Path(job.out).parent, ignore_errors=True)


def _moved(job: Job, name: str) -> Job:
    wanted = Path(job.out)
    workspace = wanted.parent.with_name(f"{wanted.parent.name}.{name}")
    out = workspace / wanted.name
    with storing(workspace):
        shutil.rmtree(workspace, ignore_errors=True)
        out.mkdir(parents=True)
    return job.model_copy(update={"out": str(out)})
