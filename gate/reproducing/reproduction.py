"""Each artifact of a record made again, in a store of its own, and what came of it."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gate.errors import ConfigError, StageError
from gate.jobs import RunBatch
from gate.releasing.tree import path_fault
from gate.reporting.report_files import read_record
from gate.reproducing.comparing import Remade, compare
from gate.reproducing.kept_evidence import record_file
from gate.reproducing.making import Making
from gate.reproducing.origins import Places, find_origins
from gate.reproducing.remaking import config_of, made_variants
from gate.running.children import run_in_child
from gate.running.filling import Watcher
from gate.store import Store
from gate.storing import cache_folder
from gate.terms import Variant

_WORK_FOLDER = ".making"


class Reproduction(NamedTuple):
    """What came of each artifact, in the record's order, and what to know of it."""

    remade: tuple[Remade, ...]
    notes: tuple[str, ...] = ()


def reproduce(
    place: Path,
    *,
    places: Places,
    variant: str | None = None,
    out: Path | None = None,
    environments: Path,
    watcher: Watcher | None = None,
    run_batch: RunBatch = run_in_child,
) -> Reproduction:
    """Make each merged and quantized artifact of a record again, and compare it byte for byte.

    Nothing is taken from the store of the run: everything is made in a new one.

    Args:
        place: a record.json, the directory of a run, or the folder of a release.
        places: where base and adapters are.
        variant: only this one, and the merge it is made from; None for all.
        out: a folder that is made, for what was made again: <variant>/; None to keep nothing.
        environments: the store in which `gate env create` made environments.
        watcher: is told what happens.
        run_batch: how a batch is run; a child process unless a test says otherwise.

    Raises:
        RecordError: the record cannot be read.
        ConfigError: no such variant or adapter, or `out` is not empty.
        SourceError: the base or an adapter is not there, or not what was merged.
        StageError: the record does not tell all that is needed, or `out` cannot be written.
    """
    file = record_file(place)
    record = read_record(file)
    variants = made_variants(record, variant)
    _check_names(variants)
    with _workplace(out) as work:
        store = Store(work)
        names = {name: None for one in variants for name in one.adapters}
        origins = find_origins(record, names, file=file, places=places, store=store)
        config = config_of(record, variants, file=file, places=places, store=environments)
        making = Making(config, origins.sources, store, watcher or Watcher(), run_batch)
        remade = tuple(compare(record, one, making, file=file) for one in variants)
        if out is not None:
            making.keep(variants, out)
    return Reproduction(remade, origins.notes)


def _check_names(variants: Iterable[Variant]) -> None:
    """Refuse names of which no folder could be made: the record was not written by a run.

    Raises:
        ConfigError: there is one.
    """
    for one in variants:
        if "/" in one.name or path_fault(one.name):
            raise ConfigError(f"the record was edited: {one.name!r} is no name of a variant")


@contextmanager
def _workplace(out: Path | None) -> Iterator[Path]:
    """An empty folder to work in, on the disk of what is to be kept, and gone afterwards.

    Raises:
        ConfigError: what is to be kept would lie among other files.
        StageError: it cannot be written.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: exists and is not an empty directory", hint="give another one, or remove it"
        )
    parent = out or cache_folder() / "reproductions"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=_WORK_FOLDER, dir=parent))
    except OSError as error:
        raise StageError(f"{parent}: cannot be written: {error.strerror or error}") from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
