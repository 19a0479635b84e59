"""Whether a variant may be promoted: the reasons against it, from its record and its files."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

from gate.digest import digest_file, digest_manifest
from gate.presentation import one_line
from gate.records import Artifact, Record
from gate.releasing.archived_adapters import adapter_faults
from gate.releasing.manifest import is_evidence_path
from gate.releasing.standing import standing_faults
from gate.releasing.tree import Tree, path_fault, read_tree, shown
from gate.reporting.views import artifact_of

_MOST_CHARACTERS = 300
_SHOWN_DIGITS = 16


def refusals(
    record: Record,
    variant: str,
    *,
    artifact: Path,
    adapters: Mapping[str, Path],
    today: date,
) -> tuple[str, ...]:
    """Why a variant may not be promoted, a sentence each; empty where it may.

    Every byte of the artifact and of its adapters is read, unless the record alone already says
    no.

    Args:
        record: the run that judged it.
        variant: its name.
        artifact: the folder that is said to hold what was judged.
        adapters: {name: folder} of the adapters behind the variant, which travel with it.
        today: the day, in UTC, on which sign-offs have to be in force.
    """
    if reasons := standing_faults(record, variant, today=today):
        return reasons
    judged = artifact_of(record, variant)
    if judged is None:
        return (f"the run made no files of {one_line(variant, _MOST_CHARACTERS)}",)
    return (
        *_artifact_refusals(judged, artifact),
        *_adapter_refusals(record, variant, adapters),
    )


def _artifact_refusals(judged: Artifact, folder: Path) -> Iterator[str]:
    """What keeps the files in a folder from being published as what was judged."""
    if not folder.is_dir():
        yield f"its files are not there: no directory {folder}; --artifact says where they are"
        return
    try:
        tree = read_tree(folder)
        faults = (*tree.faults, *_evidence_paths(tree))
        yield from (f"the artifact cannot be released: {fault}" for fault in faults)
        if not faults and (found := _content_id(folder, tree)) != judged.digest:
            yield (
                f"its files are not what was judged: the content id of {folder} is "
                f"{found[:_SHOWN_DIGITS]}…, and that of what was judged "
                f"{judged.digest[:_SHOWN_DIGITS]}…"
            )
    except OSError as error:
        yield f"its files cannot be read: {error.filename or folder}: {error.strerror or error}"


def _evidence_paths(tree: Tree) -> Iterator[str]:
    inside = [path for path in tree.files if is_evidence_path(path)]
    yield from (f"{shown(path)} is where the evidence of a release lies" for path in inside[:1])


def _content_id(folder: Path, tree: Tree) -> str:
    return digest_manifest({path: digest_file(folder / path) for path in tree.files})


def _adapter_refusals(record: Record, variant: str, adapters: Mapping[str, Path]) -> Iterator[str]:
    names = next((one.adapters for one in record.variants if one.name == variant), ())
    for name in names:
        named = f"adapter {one_line(name, _MOST_CHARACTERS)}"
        source, folder = record.adapters.get(name), adapters.get(name)
        if source is None or folder is None:
            yield f"{named}: the record does not say where it came from"
            continue
        if "/" in name or path_fault(name):
            yield f"{named}: no name for a folder of a release"
            continue
        try:
            yield from (f"{named}: {fault}" for fault in adapter_faults(source, folder))
        except OSError as error:
            yield f"{named}: {error.filename or folder}: {error.strerror or error}"
