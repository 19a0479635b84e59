"""A release made by hand: a folder as `gate promote` stages it, with names that are not plain."""

from pathlib import Path

from gate.digest import digest_manifest, digest_tree
from gate.releasing.release import EVIDENCE_FOLDER, Release

ARTIFACT = {
    "model.safetensors": b"weights, as judged",
    "config.json": b'{"model_type": "llama"}\n',
    "chat template.jinja": b"{{ messages }}",
    "notes/Gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e.txt": b"17 MB",
    "empty.txt": b"",
}
EVIDENCE = {
    "README.md": b"---\ntags: [mergegate]\n---\n# A release\n",
    f"{EVIDENCE_FOLDER}/record.json": b"{}",
    f"{EVIDENCE_FOLDER}/adapters/support/adapter_model.safetensors": b"the adapter",
}


def staged(folder: Path, *, name: str = "v3", **files: bytes) -> Release:
    """A release in a folder; `files` are further ones of the artifact, by name."""
    artifact = ARTIFACT | files
    for path, content in artifact.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    digest = digest_manifest(digest_tree(folder))
    for path, content in EVIDENCE.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return Release(
        name=name,
        variant="q8_0",
        artifact_name=f"q8_0-smollm2-adapter-support-{name}",
        folder=folder,
        digest=digest,
        tags={"mergegate.verdict": "promote", "mergegate.score.gsm8k.exact,strict": "0.91"},
    )


def contents(folder: Path) -> dict[str, bytes]:
    """{relative posix path: bytes} of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
