"""Simulate round-to-nearest quantization: the loss of few bits, without their runtime."""

import shutil
from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

from gate.checkpoints import (
    TensorHeader,
    check_code,
    copy_sidecars,
    read_headers,
    weight_files,
)
from gate.errors import ConfigError, StageError
from gate.records import Fallback, WeightReport

PACKAGES = ("torch", "safetensors")
READS = "checkpoint"
WRITES = "checkpoint"

_MOST_BITS = 8
_FEW_BITS = 3
_MATRIX = 2
_GROUP_OVERHEAD_BITS = 32
_NOT_LINEAR = ("embed", "lm_head", "wte", "wpe", "norm")
_FLOATS = {"F32", "F16", "BF16"}


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    bits: int,
    group_size: int = 64,
) -> WeightReport:
    """Write a checkpoint whose linear weights went through `bits`-bit round-to-nearest and back.

    Each group of `group_size` weights along a matrix's last dimension, as stored, becomes
    low + scale * q with q in 0 .. 2^bits - 1, low = the group's minimum and
    scale = (maximum - low) / (2^bits - 1), both kept in float16 (the form of llama.cpp's Q4_1).
    The numbers are written back in the model's own type, so that any runtime serves them.
    Embeddings, lm_head and norms are left as they are.

    Args:
        model: the checkpoint's directory.
        out: the directory to write.
        trust_remote_code: accept a model that brings Python code of its own; none is run here.
        allow_pickle: accepted as by every quantizer; only safetensors are read.
        bits: bits of each weight, 1 to 8.
        group_size: weights that share a scale and a minimum.

    Returns:
        The report, with the bytes that packed weights would take.

    Raises:
        ConfigError: bits out of range, or a group size that does not divide a matrix's width.
        StageError: the checkpoint has no linear weight to quantize.
    """
    if not 1 <= bits <= _MOST_BITS:
        raise ConfigError(f"rtn.bits: {bits} is not in 1 to {_MOST_BITS}")
    check_code(model, trust_remote_code=trust_remote_code)
    headers = read_headers(model)
    linear = {name: header for name, header in headers.items() if _is_linear(header)}
    _check_groups(model, linear, group_size)
    out.mkdir(parents=True, exist_ok=True)
    for file in weight_files(model):
        _rewrite(file, out / file.name, linear, bits, group_size)
    for file in (*model.glob("config.json"), *model.glob("*.index.json")):
        shutil.copyfile(file, out / file.name)
    copy_sidecars(model, out)
    return _report(headers, linear, bits, group_size)


def reproduces(_params: Mapping[str, Any]) -> bool:
    """Whether the same weights give the same bytes again: each is rounded by itself."""
    return True


def _is_linear(header: TensorHeader) -> bool:
    is_matrix = len(header.shape) == _MATRIX and header.dtype in _FLOATS
    is_weight = header.name.endswith(".weight")
    return is_matrix and is_weight and not any(word in header.name for word in _NOT_LINEAR)


def _check_groups(model: Path, linear: Mapping[str, TensorHeader], group_size: int) -> None:
    if not linear:
        raise StageError(f"{model}: rtn finds no linear weight to quantize")
    if group_size < 1:
        raise ConfigError(f"rtn.group_size: {group_size} is not 1 or more")
    common = gcd(*(header.shape[-1] for header in linear.values()))
    fits = [str(size) for size in range(2, common + 1) if common % size == 0]
    for name, header in linear.items():
        if header.shape[-1] % group_size:
            raise ConfigError(
                f"rtn.group_size: {group_size} does not divide the width "
                f"{header.shape[-1]} of {name}",
                hint=f"these divide every width of this model: {', '.join(fits)}",
            )


def _rewrite(
    file: Path, target: Path, linear: Mapping[str, TensorHeader], bits: int, group_size: int
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    tensors = {}
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118  safe_open is no mapping
            tensor = opened.get_tensor(name)
            tensors[name] = _round(tensor, bits, group_size) if name in linear else tensor
        metadata = opened.metadata()
    save_file(tensors, target, metadata=metadata)
    shutil.copymode(file, target)  # safetensors lets only the owner read what it writes


def _round(tensor: Any, bits: int, group_size: int) -> Any:
    import torch

    groups = tensor.to(torch.float32).reshape(-1, group_size)
    low = groups.amin(dim=1, keepdim=True).to(torch.float16).to(torch.float32)
    steps = 2**bits - 1
    scale = (groups.amax(dim=1, keepdim=True) - low) / steps
    scale = scale.to(torch.float16).to(torch.float32)
    if not (torch.isfinite(scale).all() and torch.isfinite(low).all()):
        raise StageError("rtn: a group's scale or minimum is beyond float16")
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = ((groups - low) / divisor).round().clamp(0, steps)
    return (low + scale * codes).reshape(tensor.shape).to(tensor.dtype)


def _report(
    headers: Mapping[str, TensorHeader],
    linear: Mapping[str, TensorHeader],
    bits: int,
    group_size: int,
) -> WeightReport:
    total_bits = 0
    for name, header in headers.items():
        if name in linear:
            groups = header.parameters // group_size
            total_bits += header.parameters * bits + groups * _GROUP_OVERHEAD_BITS
        else:
            total_bits += 8 * header.size_bytes
    packed = [name for name, header in headers.items() if len(header.shape) > _MATRIX]
    return WeightReport(
        parameters=sum(header.parameters for header in headers.values()),
        weight_bytes=-(-total_bits // 8),
        fallbacks=tuple(
            Fallback(tensor=name, asked=f"rtn {bits}-bit", got=headers[name].dtype)
            for name in packed
        ),
        warnings=_warnings(bits, group_size),
    )


def _warnings(bits: int, group_size: int) -> tuple[str, ...]:
    warnings = [
        f"simulated {bits}-bit round-to-nearest in groups of {group_size}: the files hold the "
        "rounded weights in the model's own type, and their size is what packed weights would take"
    ]
    if bits <= _FEW_BITS:
        warnings.append(
            f"{bits}-bit round-to-nearest is below what models of this kind usually survive: "
            "each group has "
            f"{2**bits} levels, and no calibration data made up for it"
        )
    return tuple(warnings)
