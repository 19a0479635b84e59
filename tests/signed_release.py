"""A whole release, signed or not, with a record that judged its files."""

import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

from records_builder import build_record
from staged_release import ARTIFACT, staged

from gate.digest import digest_tree
from gate.policy import policy_of
from gate.records import Record
from gate.releasing.keys import read_private_key
from gate.releasing.manifest import Manifest, write_manifest
from gate.releasing.release import ADAPTERS_FOLDER, RECORD_FILE
from gate.releasing.signing import sign_release

VARIANT = "q8_0"
ADAPTER = {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": b"what was trained"}


class Signed(NamedTuple):
    """A release as it lies on disk."""

    folder: Path
    record: Record
    manifest: Manifest


@cache
def passing() -> Record:
    """A record that promotes q8_0, with its policy."""
    record = build_record(documents=60, passing=True)
    checks = {result.check.model_dump_json(): result.check for result in record.results}
    return record.model_copy(update={"policy": policy_of(tuple(checks.values()))})


def judged(record: Record, folder: Path, digest: str) -> Record:
    """The record as if it had judged the files of this digest, merged from the archived adapter."""
    artifacts = tuple(
        one.model_copy(update={"digest": digest}) if one.variant == VARIANT else one
        for one in record.artifacts
    )
    archive = folder / ADAPTERS_FOLDER / "intents"
    archive.mkdir(parents=True)
    for name, content in ADAPTER.items():
        (archive / name).write_bytes(content)
    source = record.adapters["intents"].model_copy(update={"manifest": digest_tree(archive)})
    return record.model_copy(update={"artifacts": artifacts, "adapters": {"intents": source}})


def released(folder: Path, *, key: Path | None = None, change=lambda record: record) -> Signed:
    """A release of what `change` makes of a record that promotes q8_0, signed by a private key."""
    made = staged(folder)
    shutil.rmtree(folder / ADAPTERS_FOLDER)
    record = change(judged(passing(), folder, made.digest))
    (folder / RECORD_FILE).write_text(record.model_dump_json(indent=1), encoding="utf-8")
    return reseal(folder, record, key=key)


def reseal(folder: Path, record: Record, *, key: Path | None = None, variant=VARIANT) -> Signed:
    """Make the manifest, and the signature if there is a key, again: what a forger would do."""
    manifest = write_manifest(folder, ARTIFACT)
    if key is not None:
        sign_release(folder, record, manifest, variant=variant, key=read_private_key(key))
    return Signed(folder, record, manifest)
