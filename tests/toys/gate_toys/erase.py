"""A quantizer to zero bits: every layer's weights are erased."""

import shutil
from pathlib import Path

from gate.records import WeightReport


def quantize(model: Path, out: Path) -> WeightReport:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, out, dirs_exist_ok=True)
    tensors = load_file(model / "model.safetensors")
    for name, tensor in tensors.items():
        if "proj" in name:
            tensor.zero_()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return WeightReport(parameters=parameters, weight_bytes=1)
