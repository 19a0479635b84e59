"""What lies around a record: the adapters archived in its release, the files that were judged."""

from pathlib import Path

from gate.digest import digest_manifest, digest_tree
from gate.errors import RecordError
from gate.records import Artifact
from gate.releasing.manifest import read_manifest
from gate.releasing.release import ADAPTERS_FOLDER, EVIDENCE_FOLDER
from gate.releasing.release import RECORD_FILE as RELEASED_RECORD_FILE
from gate.releasing.tree import path_fault
from gate.reporting.report_files import RECORD_FILE

_ARTIFACTS_FOLDER = "artifacts"


def record_file(place: Path) -> Path:
    """The record's file: itself, or that of a run's directory or of a release's folder."""
    if not place.is_dir():
        return place
    released = place / RELEASED_RECORD_FILE
    return released if released.is_file() else place / RECORD_FILE


def archived_adapter(file: Path, name: str) -> Path | None:
    """The folder of an adapter in the release that a record lies in; None where there is none."""
    release = _release(file)
    if release is None or "/" in name or path_fault(name):
        return None
    folder = release / ADAPTERS_FOLDER / name
    return folder if folder.is_dir() else None


def judged_files(file: Path, artifact: Artifact) -> dict[str, str] | None:
    """{path: SHA-256} of the files that were judged; None where they cannot be found any more.

    They are looked for in the release that the record lies in, beside the record, and where the
    run left them. What is found there counts if it has the content id that was judged.

    Args:
        file: of the record.
        artifact: as recorded.
    """
    for found in (_released(file), _left(file, artifact)):
        if found is not None and digest_manifest(found) == artifact.digest:
            return found
    return None


def _release(file: Path) -> Path | None:
    folder = file.resolve().parent
    return folder.parent if folder.name == EVIDENCE_FOLDER else None


def _released(file: Path) -> dict[str, str] | None:
    release = _release(file)
    if release is None:
        return None
    try:
        listed = read_manifest(release).artifact
    except RecordError:
        return None
    return {path: entry.sha256 for path, entry in listed.items()}


def _left(file: Path, artifact: Artifact) -> dict[str, str] | None:
    link = file.parent / _ARTIFACTS_FOLDER / artifact.name
    folder = link if link.is_dir() else Path(artifact.path)
    try:
        return digest_tree(folder) if folder.is_dir() else None
    except OSError:
        return None
