"""Tensors of a checkpoint as views of memory-mapped files: read where they are looked at."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gate.checkpoints import (
    TensorHeader,
    check_weights,
    has_safetensors,
    pickle_files,
    read_headers,
)
from gate.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def open_tensors(directory: Path, *, allow_pickle: bool = False) -> dict[str, "Tensor"]:
    """Every tensor of a checkpoint or adapter by name; none is read before it is used.

    Raises:
        SourceError: as `check_weights`, a type that torch does not have, or a pickle that holds
            something else than tensors.
    """
    check_weights(directory, allow_pickle=allow_pickle)
    if has_safetensors(directory):
        headers = read_headers(directory)
        files = {header.file for header in headers.values()}
        # mode "c" is private and never written: torch warns of memory that it may not write to
        raw = {file: np.memmap(file, dtype=np.uint8, mode="c") for file in files}
        return {name: _view(header, raw[header.file]) for name, header in headers.items()}
    tensors: dict[str, Tensor] = {}
    for file in pickle_files(directory):
        tensors |= _unpickle(file)
    return tensors


def _view(header: TensorHeader, raw: Any) -> "Tensor":
    import torch

    if header.dtype not in _TYPES:
        raise SourceError(f"{header.file}: {header.name} is of type {header.dtype}, not known here")
    dtype = getattr(torch, _TYPES[header.dtype])
    expected = header.parameters * dtype.itemsize
    if expected != header.size_bytes:
        raise SourceError(
            f"{header.file}: {header.name} has {header.size_bytes} bytes, not {expected}",
            hint="download or save it again",
        )
    if not expected:
        return torch.empty(header.shape, dtype=dtype)
    part = np.asarray(raw[header.start : header.start + header.size_bytes])
    return torch.from_numpy(part).view(dtype).view(header.shape)


def _unpickle(file: Path) -> dict[str, "Tensor"]:
    import pickle

    import torch

    try:
        loaded = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{file}: cannot be read: {reason}") from error
    if not isinstance(loaded, dict):
        raise SourceError(f"{file}: holds a {type(loaded).__name__}, not tensors by name")
    return {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
