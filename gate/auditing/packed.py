"""Weights packed by bitsandbytes in 8 bits and by compressed-tensors, unpacked without either."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.auditing.closeness import Grid
from gate.errors import SourceError
from gate.nf4 import PackedWeight, find_packed, unpack
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("bitsandbytes", "compressed-tensors")
"""What quantization_config.quant_method may be."""

_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>SCB|weight_format|weight_(?:packed|shape|scale|zero_point|g_idx))"
)
_RUNTIME = re.compile(r".+\.(?:(?:input|output)_(?:scale|zero_point|global_scale)|[qkv]_scale)")
_WORD_BITS = 32
_MOST_BITS = 8
_MATRIX = 2
_INT8_STEPS = 127
_E4M3 = Grid(relative=2**-3)
_E5M2 = Grid(relative=2**-2)
_FOUR_BIT_STEPS = {"nf4": 4, "fp4": 3}  # FP4's widest gap is that of 3 even bits
_E4M3_HALF_STEP = 2.0**-10
_SCALE_ROUNDING = 2.0**-8  # of a scale in bfloat16


class Unpacked(NamedTuple):
    """A packed weight of a checkpoint.

    Attributes:
        type: the format's word for how it is stored.
        names: the checkpoint's names of everything that belongs to it.
        shape: the shape of the weight.
        grid: what the format can hold.
        dequantize: gives the weight, in that shape.
        scale: one scale a row or group, where calibration data chose the places between them.
    """

    type: str
    names: Sequence[str]
    shape: tuple[int, ...]
    grid: Grid
    dequantize: "Callable[[], Tensor]"
    scale: "Tensor | None" = None

    def grid_for(self, weight: "Tensor") -> Grid:
        """The grid; with room for GPTQ where it was at work on this weight and no other.

        GPTQ (arXiv:2210.17323) moves weights to make up for the rounding of others, but within
        scales that are chosen before, from the weight as it was: llm-compressor's are each
        group's largest magnitude over half of the 2^b - 1 steps.
        """
        if self.scale is None or self.grid.bits is None:
            return self.grid
        groups = weight.float().reshape(*self.scale.shape, -1)
        chosen = groups.abs().amax(dim=-1) * (2 / (2**self.grid.bits - 1))
        differences = (self.scale.float() - chosen).abs()
        is_own = bool((differences <= _SCALE_ROUNDING * chosen)[chosen > 0].all())
        return self.grid._replace(is_compensated=is_own)


def find_unpacked(tensors: Tensors, settings: Mapping[str, Any]) -> dict[str, Unpacked]:
    """The packed weights of a checkpoint by the name of the weight each was made from.

    Args:
        tensors: the checkpoint.
        settings: its config.json's quantization_config.

    Raises:
        SourceError: a format that is not known, or a weight that is not whole.
    """
    method = settings.get("quant_method")
    if method not in METHODS:
        raise SourceError(
            f"config.json: quantization_config.quant_method: {method} cannot be audited",
            hint=f"these can: gguf, {', '.join(METHODS)}, torchao",
        )
    found = {name: _four_bit(packed) for name, packed in find_packed(tensors).items()}
    for module, parts in _parts(tensors).items():
        if method == "bitsandbytes":
            found[f"{module}.weight"] = _eight_bit(tensors, module, parts)
        else:
            found[f"{module}.weight"] = _compressed(tensors, module, parts, settings)
    return found


def is_of_activations(name: str) -> bool:
    """Whether a tensor scales what goes through the model, so that no weight is in it."""
    return _RUNTIME.fullmatch(name) is not None


def _parts(tensors: Tensors) -> dict[str, dict[str, "Tensor"]]:
    """{module: {part: tensor}} of all modules with something beside their weight."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name in tensors.headers:
        if match := _PART.fullmatch(name):
            modules.setdefault(match["module"], {})[match["part"]] = tensors.views[name]
    for module, parts in modules.items():
        if f"{module}.weight" in tensors.views:
            parts["weight"] = tensors.views[f"{module}.weight"]
    return modules


def _names(module: str, parts: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{module}.{part}" for part in parts)


def _four_bit(packed: PackedWeight) -> Unpacked:
    return Unpacked(
        packed.settings.quant_type,
        packed.names,
        packed.shape,
        Grid(
            bits=_FOUR_BIT_STEPS[packed.settings.quant_type],
            block=packed.settings.blocksize,
            floor=_half_scale_step(packed),
        ),
        lambda: unpack(packed),
    )


def _half_scale_step(packed: PackedWeight) -> float:
    """The most that a scale in 8 bits is off: blocks of small weights lie far from the mean."""
    if not packed.settings.double_quant:
        return 0.0
    steps = packed.parts["nested_quant_map"].float().diff()
    return float(steps.abs().max() / 2 * packed.parts["nested_absmax"].float().max())


def _eight_bit(tensors: Tensors, module: str, parts: "Mapping[str, Tensor]") -> Unpacked:
    """LLM.int8: rows of codes in -127 .. 127 with the row's largest weight in SCB."""
    _need(module, parts, ("weight", "SCB"))
    codes, largest = parts["weight"], parts["SCB"]
    layout = int(parts["weight_format"]) if "weight_format" in parts else 0
    if layout or codes.dim() != _MATRIX or len(largest) != len(codes):
        raise SourceError(f"{module}.weight: not an 8-bit weight of bitsandbytes in rows")
    width = codes.shape[1]

    def dequantize() -> "Tensor":
        return codes.float() * (largest.float() / _INT8_STEPS)[:, None]

    return Unpacked(
        "int8", _names(module, parts), tuple(codes.shape), Grid(bits=8, block=width), dequantize
    )


def _compressed(
    tensors: Tensors, module: str, parts: "Mapping[str, Tensor]", settings: Mapping[str, Any]
) -> Unpacked:
    """One of compressed-tensors' formats, by what is there; agrees with its 0.20."""
    _need(module, parts, ("weight_scale",))
    scale = parts["weight_scale"]
    if "weight_packed" in parts:
        _need(module, parts, ("weight_shape",))
        shape = tuple(int(size) for size in parts["weight_shape"])
        if len(shape) != _MATRIX or parts["weight_packed"].dtype.is_floating_point:
            raise _unknown(module)
        bits = parts["weight_packed"].shape[1] * _WORD_BITS // shape[1]
    else:
        _need(module, parts, ("weight",))
        shape, bits = tuple(parts["weight"].shape), 8
    block = _block_structure(settings)
    type_name, grid = _grid(module, parts, bits, shape)

    def dequantize() -> "Tensor":
        codes = _codes(parts, bits, shape)
        zero = _zero_points(parts, bits, shape)
        if zero is not None:
            codes = codes - _spread(zero, shape, parts.get("weight_g_idx"), block)
        return codes * _spread(scale, shape, parts.get("weight_g_idx"), block)

    calibrated = scale if _is_calibrated(settings) and scale.numel() * grid.block else None
    return Unpacked(type_name, _names(module, parts), shape, grid, dequantize, calibrated)


def _need(module: str, parts: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if name not in parts:
            raise SourceError(
                f"{module}: has {min(parts)} but no {name}", hint="quantize or download it again"
            )


def _unknown(module: str) -> SourceError:
    return SourceError(
        f"{module}: packed in a way of compressed-tensors that cannot be audited",
        hint="these can: pack-quantized, int-quantized, float-quantized, naive-quantized",
    )


def _grid(
    module: str, parts: "Mapping[str, Tensor]", bits: int, shape: Sequence[int]
) -> tuple[str, Grid]:
    import torch

    scale = parts["weight_scale"]
    kind = None if "weight_packed" in parts else parts["weight"].dtype
    if kind in (torch.float8_e4m3fn, torch.float8_e5m2):
        if kind is torch.float8_e5m2:
            return "fp8 e5m2", _E5M2
        largest = float(scale.float().max())
        return "fp8 e4m3", _E4M3._replace(floor=largest * _E4M3_HALF_STEP)
    if kind not in (None, torch.int8) or not 1 <= bits <= _MOST_BITS:
        raise _unknown(module)
    if scale.dim() == _MATRIX and scale.shape[0] == shape[0]:
        return f"int{bits}", Grid(bits=bits, block=shape[1] // scale.shape[1])
    return f"int{bits}", Grid(bits=bits)


def _weight_settings(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What config.json says of the weights of each group of layers."""
    for group in settings.get("config_groups", {}).values():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            yield weights


def _block_structure(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    for weights in _weight_settings(settings):
        if weights.get("block_structure"):
            high, wide = weights["block_structure"]
            return int(high), int(wide)
    return None


def _is_calibrated(settings: Mapping[str, Any]) -> bool:
    """Whether columns were quantized in an order, which only GPTQ does."""
    return any(weights.get("actorder") for weights in _weight_settings(settings))


def _codes(parts: "Mapping[str, Tensor]", bits: int, shape: Sequence[int]) -> "Tensor":
    if "weight_packed" in parts:
        return _unpack_words(parts["weight_packed"], bits, shape[1])
    return parts["weight"].float()


def _zero_points(parts: "Mapping[str, Tensor]", bits: int, shape: Sequence[int]) -> "Tensor | None":
    import torch

    zero = parts.get("weight_zero_point")
    if zero is None or zero.dtype is not torch.int32:
        return zero
    return _unpack_words(zero.T, bits, shape[0]).T  # these are packed down the columns


def _unpack_words(words: "Tensor", bits: int, width: int) -> "Tensor":
    """Codes from rows of int32: the lowest bits first, running on over the ends of words."""
    import torch

    octets = words.contiguous().view(torch.uint8)
    each = (octets[..., None] >> torch.arange(8, dtype=torch.uint8)) & 1
    places = each.reshape(len(words), -1)[:, : width * bits].view(len(words), width, bits)
    codes = torch.full((len(words), width), -(2.0 ** (bits - 1)))
    for bit in range(bits):
        codes += places[..., bit] * 2**bit
    return codes


def _spread(
    scale: "Tensor",
    shape: Sequence[int],
    groups: "Tensor | None",
    block: tuple[int, int] | None,
) -> "Tensor":
    """A scale or zero point for each weight, from one a tensor, row, group or block."""
    import torch

    scale = scale.float()
    if scale.numel() == 1:
        return scale.reshape(1, 1)
    if scale.shape[0] == shape[0]:
        scale = scale.reshape(shape[0], -1)
        size = -(-shape[1] // scale.shape[1])
        columns = torch.arange(shape[1]) // size if groups is None else groups.long()
        return scale[:, columns]
    if block is None or prod(scale.shape) != prod(
        -(-size // step) for size, step in zip(shape, block, strict=True)
    ):
        raise SourceError(f"a scale of shape {tuple(scale.shape)} does not fit weights {shape}")
    high, wide = block
    return scale[torch.arange(shape[0]) // high][:, torch.arange(shape[1]) // wide]
