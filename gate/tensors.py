"""The tensors of a checkpoint as memory-mapped torch tensors: nothing is read before it is used."""

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.checkpoints import (
    TensorHeader,
    check_weights,
    has_safetensors,
    pickle_files,
    read_headers,
)
from gate.errors import SourceError

if TYPE_CHECKING:
    from torch import Tensor, dtype

_WORDS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_SAFETENSORS_WORDS = {name: word for word, name in _WORDS.items()}
FLOATS = ("F64", "F32", "F16", "BF16")
"""safetensors' words for the types that weights are trained in."""


class Tensors(NamedTuple):
    """A checkpoint's tensors by name.

    Attributes:
        headers: what each is; of a pickled checkpoint, as if it were safetensors.
        views: the tensors themselves, backed by the files: their pages are read when touched, and
            given back under memory pressure. They must not be written to.
    """

    headers: Mapping[str, TensorHeader]
    views: "Mapping[str, Tensor]"


def open_tensors(directory: Path, *, allow_pickle: bool) -> Tensors:
    """Map every tensor of a base model or adapter directory.

    Raises:
        SourceError: no weights, weights that are not whole, or pickled ones that are not allowed.
    """
    check_weights(directory, allow_pickle=allow_pickle)
    if has_safetensors(directory):
        headers = read_headers(directory)
        return Tensors(headers, _map_safetensors(headers))
    return _map_pickles(directory)


def dtype_of(word: str) -> "dtype":
    """The torch type of a safetensors word such as BF16."""
    import torch

    kind: dtype = getattr(torch, _WORDS[word])
    return kind


def word_of(kind: "dtype | str") -> str:
    """The safetensors word of a torch type, or of its name."""
    return _SAFETENSORS_WORDS[str(kind).removeprefix("torch.")]


def raw_bytes(tensor: "Tensor") -> memoryview:
    """The memory of a contiguous tensor on the CPU, without a copy."""
    import torch

    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def _map_safetensors(headers: Mapping[str, TensorHeader]) -> "dict[str, Tensor]":
    import torch

    files = {header.file for header in headers.values()}
    # copy-on-write, because torch warns of memory that it may not write to
    maps = {file: _map(file) for file in files}
    views = {}
    for name, header in headers.items():
        kind = _kind_of(header)
        if header.parameters:
            flat = torch.frombuffer(
                maps[header.file], dtype=kind, count=header.parameters, offset=header.start
            )
        else:
            flat = torch.empty(0, dtype=kind)
        views[name] = flat.view(header.shape)
    return views


def _kind_of(header: TensorHeader) -> "dtype":
    if header.dtype not in _WORDS:
        raise SourceError(f"{header.file}: {header.name} is of type {header.dtype}, not known here")
    kind = dtype_of(header.dtype)
    expected = header.parameters * kind.itemsize
    if expected != header.size_bytes:
        raise SourceError(
            f"{header.file}: {header.name} has {header.size_bytes} bytes, not {expected}",
            hint="download or save it again",
        )
    return kind


def _map(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)


def _map_pickles(directory: Path) -> Tensors:
    headers: dict[str, TensorHeader] = {}
    views: dict[str, Tensor] = {}
    for file in pickle_files(directory):
        stem = file.stem.replace("pytorch_model", "model")
        for name, tensor in _load_pickle(file).items():
            views[name] = tensor.detach().contiguous()
            headers[name] = TensorHeader(
                name,
                word_of(tensor.dtype),
                tuple(tensor.shape),
                file.with_name(f"{stem}.safetensors"),
                0,
                tensor.numel() * tensor.element_size(),
            )
    return Tensors(headers, views)


def _load_pickle(file: Path) -> "dict[str, Any]":
    import pickle

    import torch

    try:
        loaded = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SourceError(f"{file}: cannot be read as weights: {reason}") from error
    if not isinstance(loaded, dict):
        raise SourceError(f"{file}: holds a {type(loaded).__name__}, not tensors by name")
    return {name: tensor for name, tensor in loaded.items() if isinstance(tensor, torch.Tensor)}
