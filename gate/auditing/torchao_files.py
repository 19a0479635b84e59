"""Weights packed by torchao, unpacked without it: 8-bit integers and floats with scales."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.auditing.closeness import Grid
from gate.auditing.packed import Unpacked
from gate.errors import SourceError
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor

_PART = re.compile(r"(?P<module>.+)\._weight_(?P<part>\w+)")
_NEEDED = {"qdata", "scale"}
_KNOWN = _NEEDED | {"zero_point"}
_MATRIX = 2
_LENGTH_BYTES = 8
_E4M3_HALF_STEP = 2.0**-10
_AGAIN = "quantize or download it again"


def find_torchao(tensors: Tensors) -> dict[str, Unpacked]:
    """The packed weights of a checkpoint of torchao 0.18, by the name of what each was made from.

    Raises:
        SourceError: a format that is not known, or a weight that is not whole.
    """
    kinds = _kinds({header.file for header in tensors.headers.values()})
    modules: dict[str, dict[str, Tensor]] = {}
    for name in tensors.headers:
        if match := _PART.fullmatch(name):
            modules.setdefault(match["module"], {})[match["part"]] = tensors.views[name]
    return {
        f"{module}.weight": _unpack(module, parts, kinds.get(f"{module}.weight"))
        for module, parts in modules.items()
    }


def _kinds(files: set[Path]) -> dict[str, str]:
    """{weight: the class that torchao makes of it}, as told in the files' metadata."""
    kinds = {}
    for file in files:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            told = json.loads(opened.read(length)).get("__metadata__", {})
        for name, text in told.items():
            if name.endswith(".weight"):
                kinds[name] = _kind(name, text)
    return kinds


def _kind(name: str, text: str) -> str:
    try:
        return str(json.loads(text)["_type"])
    except (ValueError, LookupError, TypeError) as error:
        raise SourceError(f"{name}: what torchao says of it cannot be read: {text}") from error


def _unpack(module: str, parts: "Mapping[str, Tensor]", kind: str | None) -> Unpacked:
    if lacking := sorted(_NEEDED - parts.keys()):
        raise SourceError(
            f"{module}: has _weight_{min(parts)} but no _weight_{lacking[0]}", hint=_AGAIN
        )
    codes, scale = parts["qdata"], parts["scale"]
    if parts.keys() - _KNOWN or codes.dim() != _MATRIX or kind not in _grids(codes, scale):
        raise SourceError(
            f"{module}: packed in a way of torchao that cannot be audited ({kind})",
            hint="these can: int8 and fp8 weights, with a scale for each row, group or tensor",
        )
    rows, width = codes.shape
    for part in parts.keys() - {"qdata"}:
        shape = tuple(parts[part].shape)
        if len(shape) != _MATRIX or shape[0] not in (1, rows) or width % shape[1]:
            raise SourceError(
                f"{module}: a {part} of shape {shape} does not fit weights {(rows, width)}",
                hint=_AGAIN,
            )

    def dequantize() -> "Tensor":
        zero = parts.get("zero_point")
        numbers = codes.float()
        if zero is not None:
            numbers = numbers - _spread(zero, width)
        return numbers * _spread(scale, width)

    type_name, grid = _grids(codes, scale)[kind]
    names = tuple(f"{module}._weight_{part}" for part in parts)
    return Unpacked(type_name, names, (rows, width), grid, dequantize)


def _grids(codes: "Tensor", scale: "Tensor") -> dict[str | None, tuple[str, Grid]]:
    """{torchao's class: the type and what it can hold}, of codes of this type."""
    import torch

    if codes.dtype is torch.int8:
        is_by_row = len(scale) == len(codes)
        block = codes.shape[-1] // max(1, scale.shape[-1]) if is_by_row else 0
        return {"Int8Tensor": ("int8", Grid(bits=8, block=block))}
    if codes.dtype is torch.float8_e4m3fn:
        floor = float(scale.float().max()) * _E4M3_HALF_STEP
        return {"Float8Tensor": ("fp8 e4m3", Grid(relative=2**-3, floor=floor))}
    return {}


def _spread(values: "Tensor", width: int) -> "Tensor":
    """One number for each weight, from one a tensor, row or group."""
    repeated: Any = values.float().repeat_interleave(width // values.shape[1], dim=1)
    return repeated
