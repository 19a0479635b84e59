"""A worker whose fate on each node is written in files: it waits, dies, or answers at once."""

import json
import os
import signal
import time
from pathlib import Path

from gates import FakeWorker

from gate.distributing.parcels import strings_in
from gate.errors import StageError
from gate.jobs import Batch, Done, OnEvent, Progress, Started, failed

_PATIENCE_SECONDS = 60


class FatefulWorker:
    """Answers for every model, as FakeWorker does, also for a share of the documents.

    A batch is called after its first job, as evaluate-base-colors, with its share, as .0, or
    .gathered where shares are put together. It notes its process and node in FOLDER/ran/<name>,
    waits while FOLDER/hold/<name> is there, and dies by SIGKILL where FOLDER/die/<name> is.
    """

    def __init__(self, folder: Path, right: dict[str, int]):
        self.folder = folder
        self.right = right
        for name in ("ran", "hold", "die"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def __call__(self, batch: Batch, log: Path, on_event: OnEvent) -> None:
        name = name_of(batch)
        with (self.folder / "ran" / name).open("a") as file:
            file.write(f"{os.getpid()} {node_id()}\n")
        end = time.monotonic() + _PATIENCE_SECONDS
        while (self.folder / "hold" / name).exists() and time.monotonic() < end:
            time.sleep(0.05)
        if (self.folder / "die" / name).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if batch.share is not None:
            self._answer_share(batch, on_event)
        elif self._is_whole(batch):
            FakeWorker(self.right)(batch, log, on_event)
        else:
            lost = StageError("documents that were shared out are not there")
            on_event(failed(batch.jobs[0], lost))

    def times(self, name: str) -> list[tuple[int, str]]:
        """(process, node) of each time that a batch ran."""
        file = self.folder / "ran" / name
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def _answer_share(self, batch: Batch, on_event: OnEvent) -> None:
        for job in batch.jobs:
            on_event(Started(key=job.stage.key))
            on_event(Progress(key=job.stage.key, done=100, total=300))
            kept = Path(job.partial, f"share-{batch.share.part}.json")
            kept.write_text(json.dumps({"of": batch.share.of}))
            cost = {"seconds": 1.0, "peak_memory_bytes": 1, "interpreter": "3.11 (here)"}
            on_event(Done(key=job.stage.key, **cost))

    def _is_whole(self, batch: Batch) -> bool:
        if not batch.is_answered:
            return True
        kept = list(Path(batch.jobs[0].partial).glob("share-*.json"))
        return len(kept) == json.loads(kept[0].read_text())["of"]


def name_of(batch: Batch) -> str:
    share = "" if batch.share is None else f".{batch.share.part}"
    return batch.jobs[0].label.replace(" ", "-") + share + ".gathered" * batch.is_answered


def node_id() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()


class KeepingWorker:
    """Keeps the first documents of a share, waits while FOLDER/hold is there, and answers.

    It notes what it found kept in FOLDER/found, a line each time; whatever a job names by a path
    has to lie in the folders of its own node.
    """

    def __init__(self, folder: Path, right: dict[str, int], *, held: str = ""):
        self.answering = FatefulWorker(folder, right)
        self.folder = folder
        self.held = held

    def __call__(self, batch: Batch, log: Path, on_event: OnEvent) -> None:
        refuse_what_is_elsewhere(batch)
        if name_of(batch) == self.held:
            self._keep(batch, on_event)
        self.answering(batch, log, on_event)

    def found(self) -> list[list[str]]:
        """The names of what was kept, of each time that the held batch ran."""
        file = self.folder / "found"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _keep(self, batch: Batch, on_event: OnEvent) -> None:
        (job,) = batch.jobs
        partial = Path(job.partial)
        names = sorted(file.name for file in partial.iterdir())
        (partial / "00000000.json").write_text("[]")
        on_event(Progress(key=job.stage.key, done=50, total=300))
        on_event(Progress(key=job.stage.key, done=60, total=300))
        with (self.folder / "found").open("a") as file:
            file.write(json.dumps(names) + "\n")


class Secluded:
    """A worker that refuses batches that name anything outside of its node's own folders."""

    def __init__(self, run_batch):
        self.run_batch = run_batch

    def __call__(self, batch: Batch, log: Path, on_event: OnEvent) -> None:
        refuse_what_is_elsewhere(batch)
        self.run_batch(batch, log, on_event)


def refuse_what_is_elsewhere(batch: Batch) -> None:
    """Raise where a job names a path that is not in the node's own folder."""
    own = os.environ["XDG_CACHE_HOME"]
    jobs = batch.model_copy(update={"options": {}})
    others = [one for one in strings_in(jobs) if one.startswith("/") and not one.startswith(own)]
    if others:
        raise AssertionError(f"a node was told of {others}, which it does not have")
