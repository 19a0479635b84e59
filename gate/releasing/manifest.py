"""The manifest of a release: the SHA-256 and size of every file, the artifact's by themselves."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from gate.digest import digest_file, digest_manifest
from gate.errors import RecordError, SourceError
from gate.presentation import count
from gate.releasing.leftovers import added_faults
from gate.releasing.release import ENVELOPE_FILE, EVIDENCE_FOLDER, MANIFEST_FILE
from gate.releasing.tree import path_fault, read_tree, shown
from gate.storing import write_durably
from gate.terms import Noun

SCHEMA_VERSION = 1

_OUTSIDE = (MANIFEST_FILE, ENVELOPE_FILE)
"""What a manifest does not list: itself, and the statement that has the manifest's own digest."""


class FileEntry(Noun):
    """The bytes of a file: their SHA-256, in lowercase hex, and how many they are."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]


class Manifest(Noun):
    """Every file of a release but the manifest itself and the signed statement about it.

    Attributes:
        artifact: {relative posix path: file} of what was judged.
        evidence: {relative posix path: file} of what was added to it.
    """

    schema_version: int = SCHEMA_VERSION
    artifact: dict[str, FileEntry]
    evidence: dict[str, FileEntry]

    @property
    def artifact_digest(self) -> str:
        """The content id of the artifact's files, which is what a record knows it by."""
        return digest_manifest({path: entry.sha256 for path, entry in self.artifact.items()})

    @property
    def files(self) -> dict[str, FileEntry]:
        """All files, the artifact's first."""
        return {**self.artifact, **self.evidence}


def write_manifest(folder: Path, artifact_files: Collection[str]) -> Manifest:
    """Write the manifest of a folder that is whole but for it and for the signed statement.

    Args:
        folder: of the release.
        artifact_files: relative posix paths of the files that were judged; all others are
            evidence.

    Returns:
        What was written.

    Raises:
        SourceError: the folder has no files of the artifact, has something that is no plain file
            or has no name for a release, or an artifact's file is missing or among the evidence.
        OSError: a file cannot be read, or the manifest not be written.
    """
    tree = read_tree(folder)
    _require_fit(folder, tree.faults, missing=set(artifact_files) - set(tree.files))
    _require_apart(folder, artifact_files)
    entries = {path: _entry(folder / path) for path in tree.files if path not in _OUTSIDE}
    manifest = Manifest(
        artifact={path: entry for path, entry in entries.items() if path in artifact_files},
        evidence={path: entry for path, entry in entries.items() if path not in artifact_files},
    )
    file = folder / MANIFEST_FILE
    file.parent.mkdir(exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    write_durably(fresh, manifest.model_dump_json(indent=1) + "\n")
    fresh.replace(file)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a release.

    Raises:
        RecordError: missing, not a manifest, of another version, or it names a path that leads out
            of the release or that it cannot hold.
    """
    file = folder / MANIFEST_FILE
    if file.is_symlink() or not file.is_file():
        raise RecordError(f"{MANIFEST_FILE} is missing", hint="is this the folder of a release?")
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = shown(".".join(str(part) for part in first["loc"]))
        raise RecordError(f"{MANIFEST_FILE} is no manifest: {where}: {first['msg']}") from error
    except OSError as error:
        raise RecordError(f"cannot read {MANIFEST_FILE}: {error.strerror or error}") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise RecordError(
            f"{MANIFEST_FILE} is of version {manifest.schema_version}, "
            f"and this gate reads version {SCHEMA_VERSION}",
            hint="install the mergegate that published this release",
        )
    _require_paths(manifest)
    return manifest


def manifest_faults(folder: Path) -> tuple[str, ...]:
    """How a release differs from its manifest: a sentence for each file; empty where it does not.

    Every byte of every file is read.

    Raises:
        OSError: a file or folder cannot be read.
    """
    try:
        manifest = read_manifest(folder)
    except RecordError as error:
        return (error.problem, *read_tree(folder).faults)
    return tuple(_faults(folder, manifest.files))


def is_evidence_path(path: str) -> bool:
    """Whether a path is, or lies in, the folder of the evidence, however it is capitalised."""
    return path.partition("/")[0].casefold() == EVIDENCE_FOLDER


def _faults(folder: Path, listed: Mapping[str, FileEntry]) -> Iterator[str]:
    tree = read_tree(folder)
    found = set(tree.files).difference(_OUTSIDE)
    yield from tree.faults
    yield from added_faults(found.difference(listed))
    for path in sorted(listed.keys() - tree.refused.keys()):
        if path not in found:
            yield f"{shown(path)} is missing"
        else:
            yield from _changes(folder, path, listed[path])


def _changes(folder: Path, path: str, listed: FileEntry) -> Iterator[str]:
    size_bytes = (folder / path).stat().st_size
    if size_bytes != listed.size_bytes:
        yield (
            f"{shown(path)} was changed: it has {count(size_bytes, 'byte')}, "
            f"not {count(listed.size_bytes)}"
        )
    elif digest_file(folder / path) != listed.sha256:
        yield f"{shown(path)} was changed: its SHA-256 is not the one in {MANIFEST_FILE}"


def _entry(file: Path) -> FileEntry:
    return FileEntry(sha256=digest_file(file), size_bytes=file.stat().st_size)


def _require_fit(folder: Path, faults: tuple[str, ...], *, missing: set[str]) -> None:
    """Only plain files with portable names, and all of the artifact's.

    Raises:
        SourceError: otherwise.
    """
    problems = (*faults, *(f"{shown(path)} is missing" for path in sorted(missing)))
    if problems:
        raise SourceError(
            f"{folder} cannot be released: {'; '.join(problems)}",
            hint="a release has plain files only, with names that every system can hold",
        )


def _require_apart(folder: Path, artifact_files: Collection[str]) -> None:
    """An artifact that has files, none of them where the evidence lies.

    Raises:
        SourceError: otherwise.
    """
    if not artifact_files:
        raise SourceError(f"{folder} cannot be released: it has no file of an artifact")
    inside = sorted(path for path in artifact_files if is_evidence_path(path))
    if inside:
        raise SourceError(
            f"{folder} cannot be released: its artifact has {shown(inside[0])}, "
            f"and {EVIDENCE_FOLDER}/ is where the evidence of a release lies",
            hint="take that folder out of what is merged or quantized, and run the gate again",
        )


def _require_paths(manifest: Manifest) -> None:
    """Paths that stay inside the release, each listed once and where it belongs.

    Raises:
        RecordError: otherwise.
    """
    faults = [
        f"{shown(path)} {fault}"
        for path in (*manifest.artifact, *manifest.evidence)
        if (fault := path_fault(path))
    ]
    faults += [
        f"{shown(path)} is not the artifact's"
        for path in manifest.artifact
        if is_evidence_path(path) or path in manifest.evidence
    ]
    faults += [f"{path} cannot list itself" for path in _OUTSIDE if path in manifest.evidence]
    if not manifest.artifact:
        faults.append("it lists no file of an artifact")
    if faults:
        raise RecordError(f"{MANIFEST_FILE} is no manifest: {'; '.join(faults)}")
