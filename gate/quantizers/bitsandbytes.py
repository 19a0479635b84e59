"""Quantize a checkpoint's linear layers with bitsandbytes: NF4 in blocks, or LLM.int8 in rows."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import read_headers
from gate.errors import ConfigError, StageError
from gate.quantizing.quantized_checkpoints import write_quantized
from gate.records import WeightReport
from gate.tensors import dtype_of

PACKAGES = ("bitsandbytes", "torch", "transformers", "safetensors")
CODE = ("quantizing/quantized_checkpoints.py",)
READS = "checkpoint"
WRITES = "bitsandbytes"
ENGINE = ("bitsandbytes",)
REMEDY = "pip install 'mergegate[bitsandbytes]'"


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    type: Literal["nf4", "int8"],
    double_quant: bool = True,
) -> WeightReport:
    """Write a checkpoint that transformers runs with bitsandbytes.

    The output layer, embeddings and norms are left as they are.

    Args:
        model: the checkpoint's directory.
        out: the directory to write.
        trust_remote_code: let the checkpoint run Python code of its own.
        allow_pickle: accepted as by every quantizer; only safetensors are read.
        type: nf4 for 4 bits in blocks of 64 (QLoRA, Dettmers et al. 2023); int8 for 8 bits in
            rows, multiplied with activations in 8 bits but for outliers (LLM.int8, 2022).
        double_quant: of nf4, whether the scales are put into 8 bits: 4.13 bits a weight, not 4.5.

    Returns:
        The report, over all tensors of the checkpoint.

    Raises:
        ConfigError: double_quant of a type that has none.
        SourceError: the checkpoint is not whole, or asks for code that is not allowed.
        StageError: bitsandbytes is missing, or cannot quantize this model.
    """
    if type == "int8" and not double_quant:
        raise ConfigError(
            "bitsandbytes.double_quant: false is for nf4, and the type is int8",
            hint="leave double_quant out",
        )
    if find_spec("bitsandbytes") is None:
        raise StageError(
            "quantizer bitsandbytes needs bitsandbytes, which is not installed",
            hint=REMEDY,
        )
    return write_quantized(
        model,
        out,
        _settings(model, type, double_quant),
        asked=f"bitsandbytes {type}",
        trust_remote_code=trust_remote_code,
    )


def _settings(model: Path, type_name: str, double_quant: bool) -> Any:
    from transformers import BitsAndBytesConfig

    if type_name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    largest = max(read_headers(model).values(), key=lambda header: header.size_bytes)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype_of(largest.dtype),
    )
