"""Checkpoints as bitsandbytes and compressed-tensors write them, written from their formats.

Seen to be read back by bitsandbytes 0.50 and compressed-tensors 0.20 as the same numbers.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def is_linear(name, tensor):
    """Whether the packers pack a tensor."""
    return tensor.dim() == 2 and name.endswith("_proj.weight")


def write_packed(model: Path, out: Path, pack, settings) -> Path:
    """A copy of a checkpoint with each linear weight packed: pack(weight) -> {part: tensor}.

    A part's name goes behind the module's, or in the place of its weight where it is "weight".
    """
    shutil.copytree(model, out)
    tensors = {}
    for name, tensor in load_file(model / "model.safetensors").items():
        if is_linear(name, tensor):
            module = name.removesuffix(".weight")
            tensors |= {f"{module}.{part}": packed for part, packed in pack(tensor).items()}
        else:
            tensors[name] = tensor
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return out


def pack_nf4(weight, *, is_nested=False):
    """bitsandbytes NF4 in blocks of 64, its scales in 8 bits if nested."""
    blocks = weight.float().reshape(-1, 64)
    absmax = blocks.abs().amax(dim=1)
    table = torch.tensor(NF4)
    nearest = ((blocks / absmax[:, None]).flatten()[:, None] - table).abs().argmin(dim=1)
    codes = nearest.to(torch.uint8).reshape(-1, 2)
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [*weight.shape]}
    parts = {
        "weight": (codes[:, :1] << 4) | codes[:, 1:],
        "weight.absmax": absmax,
        "weight.quant_map": table,
    }
    if is_nested:
        offset = float(absmax.mean())
        largest = (absmax - offset).abs().max().reshape(1)
        steps = torch.linspace(-1, 1, 256)
        places = (((absmax - offset) / largest)[:, None] - steps).abs().argmin(dim=1)
        state |= {"nested_blocksize": 4096, "nested_dtype": "float32", "nested_offset": offset}
        parts |= {
            "weight.absmax": places.to(torch.uint8),
            "weight.nested_absmax": largest,
            "weight.nested_quant_map": steps,
        }
    text = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return parts | {"weight.quant_state.bitsandbytes__nf4": text}


def pack_int8(weight):
    """LLM.int8 of bitsandbytes: rows of codes, each with its largest weight."""
    largest = weight.float().abs().amax(dim=1)
    codes = (weight.float() / largest[:, None] * 127).round().to(torch.int8)
    return {"weight": codes, "SCB": largest, "weight_format": torch.tensor(0, dtype=torch.uint8)}


def pack_words(codes, bits):
    """Rows of signed codes in int32, the lowest bits first, over the ends of words."""
    width = codes.shape[1]
    shifted = codes.long() + 2 ** (bits - 1)
    flat = ((shifted[..., None] >> torch.arange(bits)) & 1).reshape(len(codes), -1)
    padded = torch.nn.functional.pad(flat, (0, -(width * bits) % 32)).reshape(len(codes), -1, 32)
    words = (padded << torch.arange(32)).sum(dim=-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def pack_int_groups(weight, *, bits=4, group_size=32, is_symmetric=True):
    """compressed-tensors pack-quantized: a scale, and perhaps a zero point, for each group."""
    groups = weight.float().unflatten(-1, (-1, group_size))
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if is_symmetric:
        scale = groups.abs().amax(dim=-1) / ((most - least) / 2)
        zero = torch.zeros_like(scale)
    else:
        low, high = groups.amin(dim=-1).clamp(max=0), groups.amax(dim=-1).clamp(min=0)
        scale = (high - low) / (most - least)
        zero = (least - low / scale).round().clamp(least, most)
    codes = (groups / scale[..., None] + zero[..., None]).round().clamp(least, most)
    parts = {
        "weight_packed": pack_words(codes.flatten(1), bits),
        "weight_scale": scale,
        "weight_shape": torch.tensor(weight.shape),
    }
    if not is_symmetric:
        parts["weight_zero_point"] = pack_words(zero.T, bits).T.contiguous()
    return parts


def pack_fp8(weight):
    """compressed-tensors float-quantized: e4m3 with a scale for each row."""
    scale = weight.float().abs().amax(dim=1, keepdim=True) / 448
    return {"weight": (weight.float() / scale).to(torch.float8_e4m3fn), "weight_scale": scale}


def pack_fp8_blocks(weight):
    """The same with a scale for each block of 16 by 32."""
    high, wide = weight.shape[0] // 16, weight.shape[1] // 32
    blocks = weight.float().reshape(high, 16, wide, 32)
    scale = blocks.abs().amax(dim=(1, 3)) / 448
    codes = (blocks / scale[:, None, :, None]).reshape(weight.shape)
    return {"weight": codes.to(torch.float8_e4m3fn), "weight_scale": scale}


BITSANDBYTES = {"quant_method": "bitsandbytes"}
COMPRESSED = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {}}}}
FP8_BLOCKS = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"block_structure": [16, 32]}}},
}
