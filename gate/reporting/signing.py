"""A signature in a record's file: added under a lock, whole or not at all, and shown at once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gate.errors import StageError
from gate.records import Record
from gate.reporting.report_files import RECORD_FILE, read_record, write_reports
from gate.storing import write_durably

_WAIT_SECONDS = 60.0


def sign_file(
    path: Path, sign: Callable[[Record], Record], *, wait_seconds: float = _WAIT_SECONDS
) -> Record:
    """Replace the record in a file, or in a run's directory, by what `sign` makes of it.

    The reports beside it are rendered again. Whoever signs at the same time waits, and signs what
    is there then.

    Raises:
        RecordError: as of read_record.
        StageError: the file cannot be written, is being signed all the time, or the reports
            cannot be rendered.
    """
    file = path / RECORD_FILE if path.is_dir() else path
    if not file.exists():
        return read_record(path)  # which says what is missing
    file = file.resolve()
    with _locked(file, wait_seconds):
        record = sign(read_record(file))
        with _writing(f"cannot write {file}, nothing was signed"):
            _replace(file, record)
        with _writing(
            f"{file} is signed, but its reports are not rendered", hint=f"gate report {file}"
        ):
            write_reports(record, file.parent)
    return record


@contextmanager
def _locked(file: Path, wait_seconds: float) -> Iterator[None]:
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    with _writing(f"cannot write beside {file}, nothing was signed"):
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout as error:
            raise StageError(
                f"{file} is being signed by another process, nothing was signed",
                hint="try again when that one has finished",
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(problem: str, *, hint: str | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StageError(f"{problem}: {error.strerror or error}", hint=hint) from error


def _replace(file: Path, record: Record) -> None:
    """Write a record in the place of another, readable by the same people.

    Only what was set is written, so that a record of an earlier gate changes nowhere else.
    """
    fresh = file.with_name(f".{file.name}.fresh")
    try:
        write_durably(fresh, record.model_dump_json(indent=1, exclude_unset=True))
        shutil.copymode(file, fresh)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
