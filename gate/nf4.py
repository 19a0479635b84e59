"""The 4-bit weights of bitsandbytes: what is left of a weight in them, computed without it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gate.errors import SourceError
from gate.tensors import Tensors, raw_bytes

if TYPE_CHECKING:
    from torch import Tensor

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_FP4_TWELFTHS = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)
_SCALES_IN_BLOCK = 256
_LEAST_SCALE = 1e-38  # a block of zeros is divided by it
_BLOCKS_AT_ONCE = 4096
_STATE = re.compile(r"(?P<weight>.+)\.quant_state\.bitsandbytes__(?:nf4|fp4)")
_AGAIN = "download or save it again"


class Nf4Settings(NamedTuple):
    """How weights are put into 4 bits.

    Attributes:
        quant_type: which values there are: nf4, or fp4.
        blocksize: how many weights in a row share a scale.
        double_quant: whether the scales are put into 8 bits, as in the QLoRA paper.
        dtype: what dequantizing gives: bfloat16, float16 or float32.
    """

    quant_type: Literal["nf4", "fp4"] = "nf4"
    blocksize: int = 64
    double_quant: bool = True
    dtype: str = "bfloat16"


class PackedWeight(NamedTuple):
    """A 4-bit weight in a checkpoint of bitsandbytes.

    Attributes:
        name: its name, which is also the name of the weight that it was made from.
        shape: the shape of the weight that it was made from.
        settings: how it was put into 4 bits.
        parts: {part: tensor}: "weight" with two codes to a byte, "absmax" with the scales, ...
        names: the checkpoint's names of everything that belongs to it.
        offset: the mean of the scales, which is taken off them before they are put into 8 bits.
        scales_in_block: how many 8-bit scales in a row share a scale of their own.
    """

    name: str
    shape: tuple[int, ...]
    settings: Nf4Settings
    parts: "Mapping[str, Tensor]"
    names: tuple[str, ...]
    offset: float = 0.0
    scales_in_block: int = _SCALES_IN_BLOCK


def round_trip(weight: "Tensor", settings: Nf4Settings) -> "Tensor":
    """What a weight is once it was put into 4 bits and dequantized: same shape, settings.dtype.

    Agrees bit for bit with quantize_4bit and dequantize_4bit of bitsandbytes 0.50 on a CPU, but
    for what depends on the machine there. The mean of the scales is rounded once here; there its
    last bit depends on the number of threads. 8-bit scales are the nearest ones here, which is
    the rule of its GPU kernel; its CPU kernel looks them up in 65,536 steps, and about one in 700
    is a step away. And where rows are not whole blocks, its CPU kernel takes wrong scales.

    Args:
        weight: what is quantized, (out features, in features); blocks run along its rows.
        settings: how to put it into 4 bits.
    """
    import torch

    blocks = _blocks(weight.detach().reshape(-1), settings.blocksize)
    scales = torch.cat([part.abs().amax(dim=1) for part in blocks.split(_BLOCKS_AT_ONCE)]).float()
    restored = _round_trip_scales(scales) if settings.double_quant else scales
    values = _four_bit_values(settings.quant_type, weight.device).unique()
    out = torch.empty_like(blocks, dtype=getattr(torch, settings.dtype))
    for part in _parts(len(blocks)):
        nearest = _nearest(blocks[part].float(), scales[part], values)
        out[part] = values[nearest].mul_(restored[part, None])
    return out.view(-1)[: weight.numel()].view(weight.shape)


def find_packed(tensors: Tensors) -> dict[str, PackedWeight]:
    """The 4-bit weights of a checkpoint, by name; none where it holds none.

    Raises:
        SourceError: one of them is not whole, or is not as its quant_state says.
    """
    found = (_STATE.fullmatch(name) for name in sorted(tensors.headers))
    return {
        match["weight"]: _read_packed(tensors, match["weight"], match[0])
        for match in found
        if match
    }


def unpack(packed: PackedWeight) -> "Tensor":
    """The dequantized weight, in its shape and its settings' dtype.

    Agrees bit for bit with dequantize_4bit of bitsandbytes 0.50.
    """
    import torch

    size = packed.settings.blocksize
    count = prod(packed.shape)
    codes = _blocks(packed.parts["weight"], size // 2)
    values = _four_bit_values(packed.settings.quant_type, codes.device)
    pairs = torch.cartesian_prod(values, values)  # a byte holds two weights, the first one on top
    scales = _unpack_scales(packed)
    out = torch.empty(len(codes), size, dtype=getattr(torch, packed.settings.dtype))
    for part in _parts(len(codes)):
        out[part] = pairs[codes[part].int()].view(-1, size).mul_(scales[part, None])
    return out.view(-1)[:count].view(packed.shape)


def quantized_modules(model: Any, skip: Sequence[str] | None = None) -> tuple[str, ...]:
    """The modules whose weights transformers puts into 4 bits when it loads a model so.

    All linear layers (GPT-2's Conv1D among them, whose weight it transposes first) but the output
    layer and what is tied; agrees with Bnb4BitHfQuantizer of transformers 5.23.

    Args:
        model: a transformers model, with weights or on the meta device.
        skip: llm_int8_skip_modules; where given, nothing else is left out.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import HfQuantizer
    from transformers.quantizers.quantizers_utils import should_convert_module

    left_out = HfQuantizer.get_modules_to_not_convert(model, skip, model._keep_in_fp32_modules)
    return tuple(
        name
        for name, module in model.named_modules()
        if (type(module) is Linear or isinstance(module, Conv1D))
        and should_convert_module(name, left_out)
    )


def _round_trip_scales(scales: "Tensor") -> "Tensor":
    mean = scales.double().mean().float()
    values = _eight_bit_values().to(scales.device)
    blocks = _blocks(scales - mean, _SCALES_IN_BLOCK)
    largest = blocks.abs().amax(dim=1)
    restored = values[_nearest(blocks, largest, values)].mul_(largest[:, None])
    return restored.view(-1)[: len(scales)] + mean


def _unpack_scales(packed: PackedWeight) -> "Tensor":
    scales = packed.parts["absmax"]
    if not packed.settings.double_quant:
        return scales.float()
    blocks = _blocks(scales, packed.scales_in_block)
    restored = packed.parts["nested_quant_map"][blocks.int()]
    restored *= packed.parts["nested_absmax"][:, None]
    return restored.view(-1)[: len(scales)] + packed.offset


def _nearest(blocks: "Tensor", scales: "Tensor", values: "Tensor") -> "Tensor":
    """Where in sorted values each number, divided by its block's scale, is nearest to."""
    import torch

    inverse = 1.0 / scales.clamp(min=_LEAST_SCALE)
    between = (values[:-1] + values[1:]) / 2
    scaled = (blocks * inverse[:, None]).clamp_(-1, 1)
    return torch.bucketize(scaled, between, out_int32=True)


def _blocks(flat: "Tensor", size: int) -> "Tensor":
    """Numbers in blocks of one size, one a row; the last one filled up with zeros."""
    import torch

    lacking = -len(flat) % size
    return (torch.nn.functional.pad(flat, (0, lacking)) if lacking else flat).view(-1, size)


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, _BLOCKS_AT_ONCE):
        yield slice(start, start + _BLOCKS_AT_ONCE)


def _four_bit_values(quant_type: str, device: Any) -> "Tensor":
    """The sixteen values, each at its code, as bitsandbytes.functional.get_4bit_type has them."""
    import torch

    if quant_type == "nf4":
        return torch.tensor(_NF4, device=device)
    positive = torch.tensor(_FP4_TWELFTHS, device=device) / 12
    return torch.cat([positive, 0 - positive])


def _eight_bit_values() -> "Tensor":
    """256 values, sorted, as bitsandbytes.functional.create_dynamic_map has them."""
    import torch

    values = [0.0, 1.0]
    for power in range(7):
        edges = torch.linspace(0.1, 1.0, 2**power + 1)
        middles = 10.0 ** (power - 6) * ((edges[:-1] + edges[1:]) / 2)
        values += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(values))


def _read_packed(tensors: Tensors, name: str, state_name: str) -> PackedWeight:
    beside = tuple(other for other in tensors.headers if other.startswith(f"{name}."))
    parts = {other.removeprefix(f"{name}."): tensors.views[other].reshape(-1) for other in beside}
    if name in tensors.views:
        parts["weight"] = _bytes(tensors.views[name])
    try:
        state = json.loads(bytes(raw_bytes(tensors.views[state_name])))
        settings = _settings(state, is_nested="nested_offset" in state)
        packed = PackedWeight(
            name, tuple(map(int, state["shape"])), settings, parts, (name, *beside)
        )
        if settings.double_quant:
            packed = packed._replace(
                offset=float(state["nested_offset"]),
                scales_in_block=int(state["nested_blocksize"]),
            )
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{state_name}: cannot be read: {error!r}", hint=_AGAIN) from error
    _check_sizes(packed)
    return packed


def _bytes(tensor: "Tensor") -> "Tensor":
    import torch

    return tensor.reshape(-1).view(torch.uint8)


def _settings(state: Mapping[str, Any], *, is_nested: bool) -> Nf4Settings:
    if state["quant_type"] not in ("nf4", "fp4"):
        raise ValueError(f"quant_type {state['quant_type']}")
    if state["dtype"] not in ("bfloat16", "float16", "float32"):
        raise ValueError(f"dtype {state['dtype']}")
    return Nf4Settings(state["quant_type"], int(state["blocksize"]), is_nested, state["dtype"])


def _check_sizes(packed: PackedWeight) -> None:
    count = prod(packed.shape)
    scales = -(-count // packed.settings.blocksize)
    wanted = {"weight": -(-count // 2), "absmax": scales}
    if packed.settings.double_quant:
        wanted["nested_absmax"] = -(-scales // packed.scales_in_block)
        wanted["nested_quant_map"] = _SCALES_IN_BLOCK
    for part, size in wanted.items():
        found = packed.parts[part].numel() if part in packed.parts else 0
        if found != size:
            raise SourceError(
                f"{packed.name}: a 4-bit weight of shape {packed.shape} has {size} elements in "
                f"its {part}, this one has {found}",
                hint=_AGAIN,
            )
