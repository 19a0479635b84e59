"""Whether a machine can use a storage, tried out before any work."""

import uuid

from gate.distributing.mirrors import Mirror, mirror_folder
from gate.distributing.storages import Storage
from gate.errors import StoreError

_CONTENT = b"one machine writes this, and another one reads it"


def leave_mark(url: str) -> str:
    """The name of a file that is put into a storage, after all else was tried there.

    Raises:
        ConfigError: the URL is of no known kind, or the package that speaks it is missing.
        StoreError: it cannot be written, read, listed or deleted from here.
    """
    storage = Storage(url)
    _try_out(storage)
    mark = f"seen-{uuid.uuid4().hex}"
    storage.write(mark, _CONTENT)
    return mark


def remove_mark(url: str, mark: str) -> None:
    """Take a mark away again.

    Raises:
        StoreError: it cannot be deleted.
    """
    Storage(url).remove(mark)


def probe_storage(url: str, mark: str) -> None:
    """Find out whether this machine can use a storage, and its own copy of it.

    Args:
        url: of the storage.
        mark: what another machine has put there.

    Raises:
        ConfigError: as `leave_mark`.
        StoreError: as `leave_mark`; or the mark is not there; or no copy can be kept here.
    """
    storage = Storage(url)
    if storage.read(mark) != _CONTENT:
        raise StoreError(
            f"storage {url}: what the caller has written is not there",
            hint="give a URL that is the same place on every machine",
        )
    _try_out(storage)
    with Mirror(storage, mirror_folder()).try_folder():
        pass


def _try_out(storage: Storage) -> None:
    """Write, read back, list and delete.

    Raises:
        StoreError: one of them cannot be done, or gives something else.
    """
    name = f"tried-{uuid.uuid4().hex}"
    storage.write(name, _CONTENT)
    is_read = storage.read(name) == _CONTENT
    is_listed = storage.sizes("").get(name) == len(_CONTENT)
    storage.remove(name)
    if not is_read or not is_listed:
        raise StoreError(
            f"storage {storage.url}: what was written is not there at once",
            hint="a storage must show what was written to whoever reads or lists it afterwards",
        )
