"""The index.html of a folder of reports, written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from gate.errors import StageError
from gate.history.page import render
from gate.history.releases import collect
from gate.history.runs import History

INDEX_FILE = "index.html"


def write_index(reports: Path) -> History:
    """Write <reports>/index.html from the records of the folder; what it tells.

    Raises:
        RecordError: the folder cannot be read, or there is no record in it.
        StageError: the page cannot be written; one that was there before is still there.
    """
    history = collect(reports)
    file = reports / INDEX_FILE
    fresh = reports / f".{INDEX_FILE}.{os.getpid()}"
    try:
        fresh.write_text(render(history), encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise StageError(f"cannot write {file}: {error.strerror or error}") from error
    return history
