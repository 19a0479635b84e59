"""A record's files: record.json, the reports rendered from it, links to the artifacts."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from gate import extensions
from gate.errors import RecordError, StageError
from gate.records import Artifact, Record
from gate.reporting.record_text import record_pieces
from gate.reporting.unreadable import check_version, why_unreadable

RECORD_FILE = "record.json"
REPORT_FILE = "report.html"
_REPORTS = {
    REPORT_FILE: "html",
    "summary.md": "markdown",
    "junit.xml": "junit",
    "code-quality.json": "gitlab",
    "checks.png": "png",
    "checks.svg": "svg",
}


def read_record(path: Path) -> Record:
    """The record in a file, or in the record.json of a run's directory.

    Raises:
        RecordError: missing, empty, cut off, not a record, or of another schema version.
    """
    file = path / RECORD_FILE if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise RecordError(
            f"{path} has no {RECORD_FILE}",
            hint="a run's directory has one: reports/<release>/<run>/",
        )
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read {file}: {error.strerror or error}") from error
    try:
        check_version(file, content)
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise why_unreadable(file, content, error) from error


def render(record: Record, name: str) -> str:
    """A record as text, by the name of a renderer that makes text."""
    rendered: str = extensions.find("renderers", name).function(record)
    return rendered


def write_reports(record: Record, directory: Path) -> None:
    """Write every report of a record into a directory, each file whole or not at all."""
    for file, renderer in _REPORTS.items():
        rendered: str | bytes = extensions.find("renderers", renderer).function(record)
        content = rendered.encode() if isinstance(rendered, str) else rendered
        _write_whole(directory / file, content)


def write_run(record: Record, reports: Path) -> Path:
    """Make <reports>/<release>/<run>/ whole, by one rename.

    Raises:
        StageError: the folder cannot be written.
    """
    try:
        release = reports / record.release
        release.mkdir(parents=True, exist_ok=True)
        directory = _unused(release, run_name(record))
        fresh = directory.with_name(f".{directory.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        with (fresh / RECORD_FILE).open("wb") as stream:
            stream.writelines(record_pieces(record))
        write_reports(record, fresh)
        _link_artifacts(record.artifacts, fresh / "artifacts")
        fresh.rename(directory)
    except OSError as error:
        raise StageError(f"cannot write the reports: {error}") from error
    return directory


def run_name(record: Record) -> str:
    """What the directory of a run is called, in the folder of its release: when it was judged.

    A second run of the same second has another one, which the record does not know.
    """
    return record.provenance.created_at.strftime("%Y%m%dT%H%M%SZ")


def _unused(release: Path, moment: str) -> Path:
    numbered: Iterable[str] = (f"{moment}-{count}" for count in range(2, 1000))
    for name in (moment, *numbered):
        if not (release / name).exists():
            return release / name
    raise StageError(f"{release} has a thousand runs of one second")


def _link_artifacts(artifacts: Sequence[Artifact], folder: Path) -> None:
    """Give each artifact its traceable name, as a link to its place in the store."""
    folder.mkdir()
    for artifact in artifacts:
        (folder / artifact.name).symlink_to(Path(artifact.path).resolve())


def _write_whole(file: Path, content: bytes) -> None:
    fresh = file.with_name(f".{file.name}")
    fresh.write_bytes(content)
    fresh.replace(file)
