"""A release put together in a folder of its own: the artifact, its adapters and the evidence."""

import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from gate.errors import PublishError
from gate.records import Record
from gate.releasing.archived_adapters import archive, archive_faults
from gate.releasing.cards import model_card
from gate.releasing.keys import PrivateKey
from gate.releasing.manifest import Manifest, write_manifest
from gate.releasing.release import (
    ADAPTERS_FOLDER,
    CARD_FILE,
    EVIDENCE_FOLDER,
    RECORD_FILE,
    Release,
)
from gate.releasing.signing import sign_release
from gate.releasing.tags import tags_of
from gate.releasing.tree import read_tree
from gate.renderers import html, markdown
from gate.reporting.report_files import read_record
from gate.reporting.views import artifact_of

OWN_CARD_FILE = f"{EVIDENCE_FOLDER}/model_card.md"
"""Where the model card lies in a release whose artifact brings one of its own."""

_FRONT_MATTER = re.compile(r"---\r?\n(.*?)\n---", re.DOTALL)
_LICENCE_KEYS = ("license", "license_name", "license_link")


def stage(
    record: Record,
    variant: str,
    folder: Path,
    *,
    record_file: Path,
    artifact: Path,
    adapters: Mapping[str, Path],
    key: PrivateKey | None,
) -> Release:
    """Put a release together, byte for byte what was judged, and sign it where there is a key.

    Args:
        record: the run that judged it, as read from `record_file`.
        variant: one that may be promoted: `refusals` has nothing against it.
        folder: an empty folder, which nothing else writes to.
        record_file: the record's file, copied as it is.
        artifact: the folder of the variant's files.
        adapters: {name: folder} of the adapters behind it.
        key: what it is signed with; None for a release without a signature.

    Raises:
        PublishError: what was copied is not what was judged: it was changed in the meantime.
        SourceError: the artifact has something that no release may hold.
        OSError: a file cannot be read or written.
    """
    judged = artifact_of(record, variant)
    shipped = next(one for one in record.variants if one.name == variant)
    if judged is None:
        raise PublishError(f"the run made no files of {variant}")
    files = _copy_tree(artifact, folder)
    _write_record(record, record_file, folder / RECORD_FILE)
    for name in shipped.adapters:
        archive(record.adapters[name], adapters[name], folder / ADAPTERS_FOLDER / name)
    _write_texts(record, variant, folder, has_card=_has_card(files))
    manifest = write_manifest(folder, files)
    _require_unchanged(record, manifest, judged.digest, artifact)
    if key is not None:
        sign_release(folder, record, manifest, variant=variant, key=key)
    return Release(
        name=record.release,
        variant=variant,
        artifact_name=judged.name,
        folder=folder,
        digest=judged.digest,
        tags=tags_of(record, shipped, judged),
    )


def _has_card(files: Collection[str]) -> bool:
    """Whether an artifact brings a card, by a name that some disks hold for the same as ours."""
    return CARD_FILE.casefold() in {path.casefold() for path in files}


def _copy_tree(source: Path, out: Path) -> tuple[str, ...]:
    """Copy the plain files below a folder; gives their paths. Links are not followed, nor kept."""
    files = read_tree(source).files
    for path in files:
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target, follow_symlinks=False)
    return files


def _write_record(record: Record, file: Path, out: Path) -> None:
    """Copy the record's file as it is.

    Raises:
        PublishError: it is no longer the record that was examined.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, out)
    if read_record(out) != record:
        raise PublishError(f"{file} was changed while it was promoted", hint="promote it again")


def _write_texts(record: Record, variant: str, folder: Path, *, has_card: bool) -> None:
    """The reports and the model card; the artifact's own card, if it brings one, is left alone."""
    texts = {
        f"{EVIDENCE_FOLDER}/report.html": html.render(record),
        f"{EVIDENCE_FOLDER}/summary.md": markdown.render(record, picture=None),
        OWN_CARD_FILE if has_card else CARD_FILE: model_card(
            record, variant, licence=_licence(Path(record.base.path))
        ),
    }
    for path, text in texts.items():
        (folder / path).write_text(text, encoding="utf-8")


def _licence(base: Path) -> dict[str, str]:
    """What the base model's card says of its licence; empty where it says nothing readable."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    with suppress(OSError, ValueError, YAMLError):
        written = _FRONT_MATTER.match((base / CARD_FILE).read_text(encoding="utf-8"))
        found = YAML(typ="safe").load(written[1]) if written else None
        if isinstance(found, dict):
            return {key: found[key] for key in _LICENCE_KEYS if isinstance(found.get(key), str)}
    return {}


def _require_unchanged(record: Record, manifest: Manifest, judged: str, artifact: Path) -> None:
    """An artifact and adapters that are in the release as they were examined.

    Raises:
        PublishError: otherwise.
    """
    if fault := next(archive_faults(record.adapters, manifest), None):
        raise PublishError(
            f"an adapter was changed while it was copied: {fault}",
            hint="find out what writes there, then promote it again",
        )
    if manifest.artifact_digest != judged:
        raise PublishError(
            f"{artifact} was changed while it was copied: what was copied is not what was judged",
            hint="find out what writes there, then promote it again",
        )
