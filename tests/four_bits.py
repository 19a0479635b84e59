"""Checkpoints as bitsandbytes saves them, packed here so that tests need no bitsandbytes."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
FP4 = [x / 12 for x in (0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3)]


def even_weight(rows: int = 32, columns: int = 128) -> torch.Tensor:
    """The same numbers on every machine, in bfloat16; each row has another scale."""
    count = torch.arange(rows * columns, dtype=torch.int64)
    spread = (count * count * 7919 + count * 104729) % 65521
    scale = 1 + torch.arange(rows) % 5
    return ((spread / 65521 - 0.5).view(rows, columns) * scale[:, None]).to(torch.bfloat16)


def eight_bit_map() -> torch.Tensor:
    """The map of 8-bit scales: a sign, a power of ten, and a fraction of the bits that are left."""
    values = [0.0, 1.0]
    for power in range(7):
        edges = torch.linspace(0.1, 1.0, 2**power + 1)
        middles = 10.0 ** (power - 6) * (edges[:-1] + edges[1:]) / 2.0
        values += middles.tolist() + (-middles).tolist()
    return torch.tensor(sorted(values))


def pack(weight, quant_type: str = "nf4", double_quant: bool = True) -> dict[str, torch.Tensor]:
    """What a 4-bit layer saves, by what its names add to the weight's; blocks of 64."""
    table = torch.tensor(NF4 if quant_type == "nf4" else FP4)
    blocks = weight.float().view(-1, 64)
    scales = blocks.abs().amax(dim=1)
    codes = _nearest(blocks * (1 / scales)[:, None], table).view(-1)
    state = {
        "quant_type": quant_type,
        "blocksize": 64,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "shape": list(weight.shape),
    }
    parts = {"": (codes[::2] * 16 + codes[1::2]).to(torch.uint8)[:, None], ".quant_map": table}
    if double_quant:
        mean = scales.mean()
        padded = torch.nn.functional.pad(scales - mean, (0, -len(scales) % 256)).view(-1, 256)
        largest = padded.abs().amax(dim=1)
        nearest = _nearest(padded * (1 / largest)[:, None], eight_bit_map()).view(-1)[: len(scales)]
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": mean.item()}
        parts |= {
            ".absmax": nearest.to(torch.uint8),
            ".nested_absmax": largest,
            ".nested_quant_map": eight_bit_map(),
        }
    else:
        parts[".absmax"] = scales
    text = json.dumps(state).encode()
    return parts | {
        f".quant_state.bitsandbytes__{quant_type}": torch.tensor(list(text), dtype=torch.uint8)
    }


def _nearest(values, table):
    """The code of the nearest value; of two that are equally near, that of the lower one."""
    order = table.argsort(stable=True)
    return order[torch.searchsorted((table[order][:-1] + table[order][1:]) / 2, values)]


def packed_base(base: Path, out: Path, **options) -> Path:
    """A copy of a pico base whose linear layers are packed, as transformers saves it."""
    shutil.copytree(base, out)
    tensors = load_file(base / "model.safetensors")
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        parts = pack(tensors.pop(name), **options)
        tensors |= {name + end: part for end, part in parts.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (out / "config.json").write_text(json.dumps(config))
    return out
