"""Quantize the weights of a checkpoint's linear layers with torchao, a scale for each row."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from gate.errors import StageError
from gate.quantizing.quantized_checkpoints import write_quantized
from gate.records import WeightReport

PACKAGES = ("torchao", "torch", "transformers", "safetensors")
CODE = ("quantizing/quantized_checkpoints.py",)
READS = "checkpoint"
WRITES = "torchao"
ENGINE = ("torchao",)
REMEDY = "pip install 'mergegate[torchao]'"


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    type: Literal["int8", "fp8"],
) -> WeightReport:
    """Write a checkpoint that transformers runs with torchao; activations are not quantized.

    The output layer, embeddings and norms are left as they are.

    Args:
        model: the checkpoint's directory.
        out: the directory to write.
        trust_remote_code: let the checkpoint run Python code of its own.
        allow_pickle: accepted as by every quantizer; only safetensors are read.
        type: int8 for integers in -128 .. 127; fp8 for floats of 4 bits exponent and 3 bits
            mantissa (e4m3).

    Returns:
        The report, over all tensors of the checkpoint.

    Raises:
        SourceError: the checkpoint is not whole, or asks for code that is not allowed.
        StageError: torchao is missing, or cannot quantize this model.
    """
    if find_spec("torchao") is None:
        raise StageError(
            "quantizer torchao needs torchao, which is not installed",
            hint=REMEDY,
        )
    return write_quantized(
        model,
        out,
        _settings(type),
        asked=f"torchao {type}",
        trust_remote_code=trust_remote_code,
    )


def _settings(type_name: str) -> Any:
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return TorchAoConfig(
        Int8WeightOnlyConfig() if type_name == "int8" else Float8WeightOnlyConfig()
    )
