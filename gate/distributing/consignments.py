"""How a batch gets to another machine and back: through a storage that both reach."""

import shutil
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gate.digest import digest_file
from gate.distributing.documents import fetch_documents, put_missing
from gate.distributing.parcels import InTree, Parcel, strings_in
from gate.distributing.storages import Storage
from gate.distributing.trees import FileDigest, fetch_tree, list_files, put_tree
from gate.distributing.work import Told
from gate.errors import StoreError
from gate.jobs import Batch, Job
from gate.storing import storing

_STAGE_FILE = "stage.json"
_DEPTH = 2  # store/<kind>/<key>


class Input(NamedTuple):
    """Files that stages read, and which do not come from other stages.

    Attributes:
        path: as batches name it: one of the files, or the folder that holds them.
        root: a folder above them all.
        inside: the same file or folder, as a path below it.
        names: the files, as paths below it.
    """

    path: str
    root: Path
    inside: str
    names: tuple[str, ...]


class Consignment:
    """A storage holds what batches read and write: no machine sees a folder of another.

    Attributes:
        url: of the storage.
    """

    def __init__(
        self,
        storage: Storage,
        store: Path,
        inputs: Iterable[Input],
        *,
        file_digest: FileDigest = digest_file,
    ) -> None:
        """Take what may be sent.

        Args:
            storage: that all machines reach.
            store: the root of this machine's store.
            inputs: what stages read that is not in the store.
            file_digest: the sha256 of a file; it may remember.
        """
        self.url = storage.url
        self._storage = storage
        self._store = store
        self._inputs = {one.path: one for one in inputs}
        self._file_digest = file_digest
        self._sent: dict[Path | str, str] = {}
        self._locks: dict[Path | str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def send(self, batch: Batch, log: Path, *, name: str) -> Parcel:
        """The batch, with what it reads put into the storage."""
        del name  # a try writes on its machine alone
        try:
            trees = dict(self._placed(set(strings_in(batch))))
            for folder in _partials(batch):
                put_missing(self._storage, folder)
        except OSError as error:
            raise StoreError(
                f"{batch.jobs[0].label}: what it reads cannot be sent: {error}",
                hint="do not move or delete models, tasks or the store while a gate runs",
            ) from error
        return Parcel(batch=batch, log=str(log), folder="", storage=self._storage.url, trees=trees)

    def adopt(self, job: Job, parcel: Parcel, told: Told) -> None:
        """Put what a try wrote where the job wanted it."""
        del parcel
        if told.tree is None:
            raise StoreError(f"{job.label}: its node told nothing of what it wrote")
        wanted = Path(job.out).parent
        fresh = wanted.with_name(f"{wanted.name}.fetched")
        with storing(wanted):
            fetch_tree(self._storage, told.tree, fresh)
            shutil.rmtree(wanted, ignore_errors=True)
            fresh.rename(wanted)
            Path(job.out).mkdir(exist_ok=True)
        self._sent[self._store / job.stage.kind / job.stage.key] = told.tree

    def end(self, parcel: Parcel, *, is_lost: bool) -> None:
        """Bring the documents that were kept, and the log."""
        if is_lost:
            return
        for folder in _partials(parcel.batch):
            fetch_documents(self._storage, folder)
        log = Path(parcel.log)
        with suppress(OSError, StoreError):  # a log is no result
            log.parent.mkdir(parents=True, exist_ok=True)
            self._storage.fetch(f"logs/{log.name}", log)

    def _placed(self, strings: Iterable[str]) -> Iterator[tuple[str, InTree]]:
        """Where the storage has each path of an input, or of an entry of the store."""
        for one in strings:
            given = self._inputs.get(one)
            if given is not None:
                tree = self._put(one, given.root, given.names)
                yield one, InTree(tree=tree, inside=given.inside)
                continue
            entry = self._entry(one)
            if entry is not None:
                names = tuple(name for name in list_files(entry) if name != _STAGE_FILE)
                inside = Path(one).relative_to(entry).as_posix()
                yield one, InTree(tree=self._put(entry, entry, names), inside=inside)

    def _entry(self, path: str) -> Path | None:
        """The finished stage that a path is in."""
        if not path.startswith(str(self._store)):
            return None
        with suppress(ValueError):
            parts = Path(path).relative_to(self._store).parts
            entry = self._store.joinpath(*parts[:_DEPTH])
            is_entry = len(parts) > _DEPTH and (entry / _STAGE_FILE).is_file()
            return entry if is_entry else None
        return None

    def _put(self, key: Path | str, root: Path, names: Iterable[str]) -> str:
        """The id of a folder in the storage, sent once for all who ask at the same time."""
        with self._lock:
            lock = self._locks[key]
        with lock:
            if key not in self._sent:
                self._sent[key] = put_tree(
                    self._storage, root, names, file_digest=self._file_digest
                )
            return self._sent[key]


def _partials(batch: Batch) -> Iterator[Path]:
    """The folders of scored documents; those of a batch may have one in common."""
    yield from dict.fromkeys(Path(job.partial) for job in batch.jobs if job.partial)
