"""A GGUF file beside the checkpoint it was made from: its tensors in pairs, its metadata."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.auditing.closeness import ROUNDED_ALONE, Grid, Pair
from gate.auditing.conversion import Conversion
from gate.checkpoints import read_headers
from gate.errors import SourceError, StageError

_AGAIN = "quantize it again"
_BLOCK = 32
_WITH_MINIMUM = {"Q2_K", "Q4_K", "Q5_K", "Q4_1", "Q5_1"}
_FIRST_NUMBER = re.compile(r"\d+")
_TIED = ("lm_head.weight", "model.embed_tokens.weight")


class GgufFile:
    """A GGUF file, mapped into memory.

    Attributes:
        path: the file.
        tensors: gguf's ReaderTensor by name.
    """

    def __init__(self, directory: Path) -> None:
        """Read the header of the one GGUF file of a directory.

        Raises:
            SourceError: there are none or several, or it is truncated or damaged.
            StageError: gguf is not installed.
        """
        files = sorted(directory.glob("*.gguf"))
        if len(files) != 1:
            raise SourceError(f"{directory} holds {len(files)} .gguf files, not one")
        self.path = files[0]
        self._reader = _read(self.path)
        self.tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    @property
    def file_type(self) -> str | None:
        """llama.cpp's word for the type of most weights, such as Q4_K_M; None if it says none."""
        import gguf

        try:
            name = str(gguf.LlamaFileType(self.value("general.file_type")).name)
        except ValueError:
            return None
        return name.removeprefix("MOSTLY_").removeprefix("ALL_")

    def value(self, key: str) -> Any:
        """A value of the metadata; None where the key is not there.

        Raises:
            SourceError: the value is not readable.
        """
        field = self._reader.fields.get(key)
        try:
            return None if field is None else field.contents()
        except (UnicodeDecodeError, LookupError) as error:
            raise _damaged(self.path, error) from error

    @property
    def has_matrix(self) -> bool:
        """Whether llama.cpp's own tool says that it used an importance matrix."""
        return any(key.startswith("quantize.imatrix.") for key in self._reader.fields)

    def keys(self) -> tuple[str, ...]:
        """The keys of the metadata."""
        return tuple(self._reader.fields)


def has_gguf(directory: Path) -> bool:
    """Whether a directory holds GGUF files instead of a checkpoint."""
    return any(directory.glob("*.gguf"))


def pair_gguf(
    file: GgufFile, merged: Conversion, base: Conversion, faults: list[str]
) -> Iterator[Pair]:
    """Each tensor of a GGUF file beside the merged model's and the base model's, as converted.

    Args:
        file: the quantized model.
        merged: the merged checkpoint.
        base: the base model.
        faults: gets a sentence for each tensor that is missing, misshapen or not accounted for.

    Raises:
        SourceError: a type that the gguf package cannot dequantize.
        StageError: the converter fails.
    """
    left = dict(file.tensors)
    if _TIED[0] in merged.sources and _TIED[1] in base.sources:
        base.alias(*_TIED)
    for label, name, tensor, before in _lay_out(merged, base):
        found = left.pop(name, None)
        if found is None:
            faults.append(f"{file.path.name}: {name} is missing, which holds {label}")
        elif found.shape.tolist()[::-1] != list(tensor.shape):
            faults.append(
                f"{file.path.name}: {name} has shape {found.shape.tolist()[::-1]}, "
                f"{label} has {list(tensor.shape)}"
            )
        else:
            yield _pair(label, found, tensor, before)
    for name in sorted(left):
        faults.append(f"{file.path.name}: {name} holds no tensor of the merged model")


def _lay_out(merged: Conversion, base: Conversion) -> Iterator[tuple[str, str, Any, Any]]:
    """The checkpoint's name, the file's name, the merged and the base tensor of each."""
    sizes = {name: header.parameters for name, header in read_headers(merged.model).items()}
    for name, tensor in merged.generate().items():
        yield name, name, tensor, None
    known = set(base.sources)
    for source in merged.sources:
        before = base.convert(source) if source in known else {}
        for name, tensor in merged.convert(source).items():
            is_whole = sizes.get(source) == tensor.numel()  # and not, say, one of stacked experts
            yield source if is_whole else name, name, tensor, before.get(name)


def _pair(label: str, found: Any, merged: Any, base: Any) -> Pair:
    import gguf
    import numpy as np
    import torch

    kind = found.tensor_type.name
    try:
        numbers = gguf.dequantize(found.data, found.tensor_type)
    except NotImplementedError as error:
        raise SourceError(f"{found.name}: type {kind} cannot be dequantized") from error
    # a copy where gguf gives the file's own memory, which torch may not have
    stored = torch.from_numpy(np.require(numbers, np.float32, ("C", "W")))
    return Pair(
        name=label,
        type=kind,
        size_bytes=int(found.n_bytes),
        grid=_grid(kind),
        stored=stored,
        merged=merged,
        base=base if base is not None and base.shape == merged.shape else None,
        is_plain=kind in ROUNDED_ALONE,
    )


def _grid(kind: str) -> Grid:
    """What a GGUF type can hold; scales are float16, and of K types 6 or 8 bits under one.

    Blocks of 32 are those of the types whose names end in a digit; K types have 16 or 32.
    """
    if kind in ROUNDED_ALONE:
        return ROUNDED_ALONE[kind]
    number = _FIRST_NUMBER.search(kind)
    bits = int(number[0]) if number else 1
    half_step_bits = 19 if kind.endswith("_K") else 25
    return Grid(
        bits=bits,
        block=_BLOCK,
        floor=2.0 ** (bits - half_step_bits),
        has_zero=kind not in _WITH_MINIMUM,
    )


def _read(path: Path) -> Any:
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise StageError(
            "the audit of a GGUF file needs gguf, which is not installed",
            hint="pip install 'mergegate[gguf]'",
        ) from error
    try:
        return gguf.GGUFReader(path)
    except (ValueError, LookupError, OverflowError, OSError, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SourceError:
    return SourceError(f"{path}: truncated or damaged: {error}", hint=_AGAIN)
