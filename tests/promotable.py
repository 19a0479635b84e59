"""The directory of a run that promotes q8_0, with the files it judged, the adapter and a base."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from records_builder import build_record

from gate.digest import digest_manifest, digest_tree
from gate.records import Record

VARIANT = "q8_0"
NAME = "support-bot-v3-q8_0"
FILES = {
    "model.gguf": b"weights, as judged" * 10_000,
    "notes/Gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e 1.txt": b"17",
}
ADAPTER = {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": b"trained"}


class Promotable(NamedTuple):
    """A run's directory, and what its record speaks of."""

    run: Path
    artifact: Path
    adapter: Path

    @property
    def record(self) -> Record:
        return Record.model_validate_json((self.run / "record.json").read_bytes())

    def rewrite(self, **changes) -> None:
        """Put other values into the record's file, as who edits it would."""
        write_record(self.record.model_copy(update=changes), self.run)


@cache
def passing() -> Record:
    return build_record(documents=60, passing=True)


def write_record(record: Record, run: Path) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "record.json").write_text(record.model_dump_json(indent=1), encoding="utf-8")


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def promotable(root: Path, *, release: str = "support-bot-v3", **files: bytes) -> Promotable:
    """Write everything below a folder; `files` are further ones of the artifact."""
    artifact = write_files(root / "store" / "q8_0", FILES | files)
    adapter = write_files(root / "adapter", ADAPTER | {"README.md": b"trained on tickets"})
    base = write_files(root / "base", {"README.md": b"---\nlicense: apache-2.0\n---\n# Base\n"})
    record = passing()
    judged = next(one for one in record.artifacts if one.variant == VARIANT)
    judged = judged.model_copy(
        update={"path": str(artifact), "digest": digest_manifest(digest_tree(artifact))}
    )
    manifest = {name: digest for name, digest in digest_tree(adapter).items() if name in ADAPTER}
    source = record.adapters["intents"].model_copy(
        update={"path": str(adapter), "manifest": manifest}
    )
    record = record.model_copy(
        update={
            "release": release,
            "artifacts": (judged,),
            "adapters": {"intents": source},
            "base": record.base.model_copy(update={"path": str(base)}),
        }
    )
    write_record(record, root / "run")
    return Promotable(root / "run", artifact, adapter)
