"""Finished stage outputs by key: whole or absent, locked, prunable."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import ValidationError

from gate.digest import DigestMemo, digest_manifest, digest_tree
from gate.errors import StoreError
from gate.stage_changes import differences
from gate.storing import flush, storing, write_durably
from gate.terms import Noun, Source, Stage

OUTPUT = "output"
"""The folder inside a finished stage that holds what it gave."""

_STAGE_FILE = "stage.json"


class StageCost(Noun):
    """What a stage took, and the interpreter that ran it.

    Attributes:
        seconds: wall clock; of an evaluation in several looks, of all of them so far.
        peak_memory_bytes: the largest resident set of its child.
        interpreter: version and path of the Python that ran it.
        threads: that it computed with beside others; None where its engine chose.
    """

    seconds: float
    peak_memory_bytes: int | None
    interpreter: str | None = None
    threads: int | None = None


class Finished(Noun):
    """A stage in the store.

    Attributes:
        stage: what it was made from.
        label: what people called it when it ran.
        cost: what it took.
        digest: content id of its output.
        size_bytes: bytes of its output.
        finished_at: when it was committed, in UTC.
    """

    stage: Stage
    label: str
    cost: StageCost
    digest: str
    size_bytes: int
    finished_at: datetime


class Pruned(NamedTuple):
    """What a prune removed, and the bytes that are free again.

    Attributes:
        labels: of the stages.
        partials: evaluations whose scored documents were kept for a longer one.
    """

    labels: tuple[str, ...]
    partials: int
    size_bytes: int


def unlimited_key(stage: Stage) -> str:
    """The key of a stage whatever the limit of its task: its own where it has no task."""
    if stage.task is None:
        return stage.key
    task = stage.task.model_copy(update={"limit": None})
    return stage.model_copy(update={"task": task}).key


class Store:
    """A directory of finished stages: store/<kind>/<key>/{stage.json, output/}.

    A stage's directory appears by one rename, after its output and stage.json are on disk: what
    is found under a key is whole. Beside them, store/partial/<key> has the documents of an
    evaluation that are scored already, whatever its limit.
    """

    def __init__(self, root: Path) -> None:
        """Use the directory `root`, which is made when something is first written."""
        self.root = root
        self.file_digest = DigestMemo(root / "files.json")

    @contextmanager
    def lock(self, *, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Hold the store for this run; wait for another run that holds it, saying so once.

        Raises:
            StoreError: the store's folder cannot be made or written.
        """
        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "lock")
        with storing(self.root):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                on_wait(f"waiting for the store {self.root}: another run is using it")
                lock.acquire()
        try:
            shutil.rmtree(self.root / "tmp", ignore_errors=True)
            yield
        finally:
            lock.release()

    def path(self, stage: Stage) -> Path:
        """Where a stage's output lies once it is finished."""
        return self._directory(stage) / OUTPUT

    def find(self, stage: Stage) -> Finished | None:
        """The finished stage of this key, or None.

        Raises:
            StoreError: the entry is there but cannot be read: someone changed it by hand.
        """
        file = self._directory(stage) / _STAGE_FILE
        if not file.is_file():
            return None
        try:
            finished = Finished.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(
                f"{file} is damaged: {error}", hint=f"delete {file.parent} and run again"
            ) from error
        with suppress(OSError):
            os.utime(file)
        return finished

    def partial(self, stage: Stage) -> Path:
        """The folder of an evaluation's scored documents, the same for every limit of its task.

        Raises:
            StoreError: the folder cannot be made.
        """
        folder = self._partials / unlimited_key(stage)
        with storing(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)
        return folder

    def workspace(self, stage: Stage) -> Path:
        """A fresh folder for a stage to write into; nothing there counts until `commit`.

        Raises:
            StoreError: the folder cannot be made.
        """
        folder = self.root / "tmp" / stage.key
        with storing(self.root):
            shutil.rmtree(folder, ignore_errors=True)
            (folder / OUTPUT).mkdir(parents=True)
        return folder

    def commit(self, stage: Stage, *, label: str, cost: StageCost) -> Finished:
        """Move a stage's finished workspace to its place, whole.

        Raises:
            StoreError: disk full or not writable; the place stays empty.
        """
        folder = self.root / "tmp" / stage.key
        with storing(self.root):
            for file in folder.rglob("*"):
                flush(file)
            manifest = digest_tree(folder / OUTPUT)
            finished = Finished(
                stage=stage,
                label=label,
                cost=cost,
                digest=digest_manifest(manifest),
                size_bytes=sum((folder / OUTPUT / name).stat().st_size for name in manifest),
                finished_at=datetime.now(UTC).replace(microsecond=0),
            )
            write_durably(folder / _STAGE_FILE, finished.model_dump_json(indent=1))
            place = self._directory(stage)
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
        return finished

    def forget(self, stage: Stage) -> None:
        """Remove what a stage gave in an earlier run, if anything.

        Raises:
            StoreError: it cannot be removed.
        """
        place = self._directory(stage)
        if place.exists():
            self._remove(place)

    def remember(self, source: Source) -> None:
        """Keep a source's manifest, so that a later change can be told file by file.

        Raises:
            StoreError: disk full or not writable.
        """
        file = self._manifest_file(source.digest)
        if not file.exists():
            with storing(self.root):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_durably(file, json.dumps(source.manifest, indent=1))

    def reason(self, stage: Stage, *, label: str, sources: Iterable[Source] = ()) -> str:
        """Why a stage that is not in the store has to run, from the last one of the same label.

        Args:
            stage: the stage to run.
            label: what people call it.
            sources: what it would be made from now, to tell which of their files changed.
        """
        earlier = [
            finished
            for finished in self.finished()
            if finished.label == label and finished.stage.kind == stage.kind
        ]
        if not earlier:
            return "never run"
        last = max(earlier, key=lambda finished: finished.finished_at)
        now = {source.digest: source.manifest for source in sources}
        told = differences(last.stage, stage, lambda one: now.get(one) or self._manifest(one))
        return "; ".join(told) or "its name in the store changed"

    def prune(self, *, unused_for: timedelta, is_dry_run: bool = False) -> Pruned:
        """Remove what no run has used for a while, and what crashes left behind."""
        horizon = datetime.now(UTC) - unused_for
        stages = {
            self._directory(finished.stage): finished.label
            for finished in self.finished()
            if _used_at(self._directory(finished.stage) / _STAGE_FILE) <= horizon
        }
        partials = [folder for folder in self._partials.glob("*") if _used_at(folder) <= horizon]
        leftovers = self.root / "tmp"
        size = sum(map(_size, (*stages, *partials, leftovers)))
        if not is_dry_run:
            for folder in (*stages, *partials):
                self._remove(folder)
            shutil.rmtree(leftovers, ignore_errors=True)
        return Pruned(tuple(sorted(stages.values())), len(partials), size)

    @property
    def _partials(self) -> Path:
        return self.root / "partial"

    def _remove(self, directory: Path) -> None:
        """Delete a folder so that a crash halfway leaves none that looks whole."""
        doomed = self.root / "tmp" / f"pruned-{directory.name}"
        with storing(self.root):
            doomed.parent.mkdir(parents=True, exist_ok=True)
            directory.rename(doomed)
            shutil.rmtree(doomed)

    def finished(self) -> Iterator[Finished]:
        """Every finished stage that can be read, in the order of its kind and key."""
        for file in sorted(self.root.glob(f"*/*/{_STAGE_FILE}")):
            if file.parent.parent.name != "tmp":
                with suppress(OSError, ValidationError):
                    yield Finished.model_validate_json(file.read_bytes())

    def _directory(self, stage: Stage) -> Path:
        return self.root / stage.kind / stage.key

    def _manifest_file(self, digest: str) -> Path:
        return self.root / "manifests" / f"{digest}.json"

    def _manifest(self, digest: str) -> dict[str, str]:
        """The files of a source that an earlier run saw; empty where none did."""
        try:
            known = json.loads(self._manifest_file(digest).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _used_at(path: Path) -> datetime:
    """When a run last looked at it, in UTC."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())
