"""Quantize with llm-compressor to what vLLM serves: compressed-tensors in FP8, INT8 or INT4."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import (
    TensorHeader,
    check_code,
    copy_sidecars,
    measure,
    read_headers,
    read_json,
    weight_files,
)
from gate.errors import ConfigError, StageError
from gate.quantizing.calibration import CalibrationInput, read_calibration
from gate.quantizing.compression import Limits, Method, Packing, compress
from gate.records import Fallback, WeightReport

PACKAGES = ("llmcompressor", "compressed-tensors", "transformers", "torch")
CODE = ("quantizing/calibration.py", "quantizing/compression.py", "texts.py")
READS = "checkpoint"
WRITES = "compressed-tensors"
ENGINE = ("llmcompressor",)
REMEDY = "gate env create llmcompressor"

Scheme = Literal["FP8_DYNAMIC", "W8A8", "W4A16"]

_METHODS: Mapping[Scheme, tuple[Method, ...]] = {
    "FP8_DYNAMIC": ("rtn",),
    "W8A8": ("gptq", "rtn"),
    "W4A16": ("gptq", "rtn", "awq"),
}
"""What can make each scheme; the first is the usual one."""

_GROUP_SIZES = (128, 64, 32)  # of the kernels of vLLM, Marlin's for one; the usual one first
_MATRIX = 2
_FLOATS = {"F32", "F16", "BF16"}
_NOT_LINEAR = ("embed", "norm", "wte", "wpe")
_LEFT_ALONE = ("lm_head", "router", ".gate")
_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt")
_AWQ_MODELS = ("granite", "llama", "mistral", "qwen2", "qwen3")
"""Where the audit can tell what AWQ moves between norms and layers from what is wrong."""


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    calibration: Sequence[str] = (),
    scheme: Scheme,
    method: Method | None = None,
    group_size: int | None = None,
    samples: int = 256,
    sequence_length: int = 2048,
) -> WeightReport:
    """Write a compressed-tensors checkpoint that vLLM loads as it is.

    The weights of linear layers become 8-bit floats (FP8_DYNAMIC) or 8-bit integers (W8A8) with a
    scale a row, or symmetric 4-bit integers with a scale a group (W4A16); activations are put
    into 8 bits as they come (FP8_DYNAMIC, W8A8) or left alone. Embeddings, lm_head, norms and the
    routers of experts keep their type, and tied embeddings stay tied. rtn rounds each weight to
    nearest, file by file, and loads no model; gptq and awq run the model on calibration inputs.
    Run again on the same kind of machine, it gives the same bytes.

    Args:
        model: the checkpoint's directory.
        out: the directory to write.
        trust_remote_code: let the checkpoint run Python code of its own; rtn runs none.
        allow_pickle: accepted as by every quantizer; only safetensors are read.
        calibration: JSON-lines files with the inputs that gptq and awq run the model on.
        scheme: what weights and activations become.
        method: rtn, gptq or awq; None for the scheme's usual one: rtn for FP8_DYNAMIC, gptq for
            W8A8 and W4A16.
        group_size: weights that share a scale in W4A16: 128, 64 or 32; None for the largest that
            divides every width.
        samples: the most calibration inputs to use; where there are more, a fixed draw of them.
        sequence_length: the most tokens of each input to use.

    Returns:
        The report; its fallbacks are the linear weights that keep their type.

    Raises:
        ConfigError: parameters that do not go together, groups that do not fit, or calibration
            inputs that are missing or cannot be read.
        SourceError: the checkpoint is not whole, or asks for code that is not allowed.
        StageError: llm-compressor is missing, or the checkpoint has nothing that it quantizes.
    """
    chosen = _choose_method(scheme, method)
    check_code(model, trust_remote_code=trust_remote_code)
    headers = read_headers(model)
    linear = {name: header for name, header in headers.items() if _is_quantized(header)}
    _check_layout(model, headers, linear, method=chosen)
    size = _choose_group_size(scheme, group_size, linear)
    inputs = _read_inputs(scheme, chosen, calibration)
    limits = Limits(
        _at_least_one("samples", samples), _at_least_one("sequence_length", sequence_length)
    )
    _check_installed()
    width = max(header.shape[-1] for header in linear.values())
    packing = Packing(scheme, size, _modules_left(headers, linear), width)
    out.mkdir(parents=True, exist_ok=True)
    warnings = _warn_of_groups(group_size, size, linear)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        warnings += compress(
            model,
            Path(scratch),
            packing,
            method=chosen,
            inputs=inputs,
            limits=limits,
            trust_remote_code=trust_remote_code,
        )
        _keep_checkpoint(Path(scratch), out, like=weight_files(model)[0])
    copy_sidecars(model, out)
    return _report(headers, out, asked=scheme, warnings=warnings)


def _choose_method(scheme: Scheme, method: Method | None) -> Method:
    known = _METHODS[scheme]
    if method is None:
        return known[0]
    if method not in known:
        raise ConfigError(
            f"llmcompressor.method: {scheme} is not made with {method}",
            hint=f"these make it: {', '.join(known)}",
        )
    return method


def _at_least_one(name: str, number: int) -> int:
    if number < 1:
        raise ConfigError(f"llmcompressor.{name}: {number} is not 1 or more")
    return number


def _could_be_linear(header: TensorHeader) -> bool:
    is_matrix = len(header.shape) == _MATRIX and header.dtype in _FLOATS
    is_weight = header.name.endswith(".weight")
    return is_matrix and is_weight and not any(word in header.name for word in _NOT_LINEAR)


def _is_quantized(header: TensorHeader) -> bool:
    return _could_be_linear(header) and not _module(header.name).endswith(_LEFT_ALONE)


def calibrates(params: Mapping[str, Any]) -> bool:
    """Whether calibration inputs decide what `quantize` gives with these parameters."""
    scheme: Scheme = params["scheme"]
    return (params.get("method") or _METHODS[scheme][0]) != "rtn"


def _check_layout(
    model: Path,
    headers: Mapping[str, TensorHeader],
    linear: Mapping[str, TensorHeader],
    *,
    method: Method,
) -> None:
    """Refuse weights that do not lie in rows, one matrix a layer, and what could not be proven."""
    kind = read_json(model / "config.json").get("model_type")
    if method == "awq" and kind not in _AWQ_MODELS:
        raise StageError(
            f"{model}: awq moves weights between layers, and of {kind} it cannot be proven how",
            hint=f"choose method: gptq; awq is for {', '.join(_AWQ_MODELS)}",
        )
    if kind in _CONV1D_MODELS:
        raise StageError(
            f"{model}: llmcompressor would scale columns for rows: {kind} keeps its linear "
            "weights transposed",
            hint="quantize it with gguf",
        )
    for header in headers.values():
        if len(header.shape) > _MATRIX and ".experts." in header.name:
            raise StageError(
                f"{model}: llmcompressor would rename {header.name}: it holds all experts at once",
                hint="quantize it with gguf",
            )
    if not linear:
        raise StageError(f"{model}: llmcompressor finds no linear weight to quantize")


def _choose_group_size(
    scheme: Scheme, asked: int | None, linear: Mapping[str, TensorHeader]
) -> int | None:
    """The weights that share a scale; None where a row does."""
    if scheme != "W4A16":
        if asked is not None:
            raise ConfigError(
                f"llmcompressor.group_size: {scheme} has a scale a row, and no groups",
                hint="leave group_size out, or choose scheme: W4A16",
            )
        return None
    if asked is not None and asked not in _GROUP_SIZES:
        raise ConfigError(
            f"llmcompressor.group_size: vLLM has no kernels for groups of {asked}",
            hint=f"it has them for {_told(_GROUP_SIZES)}",
        )
    fitting = [size for size in _GROUP_SIZES if _find_unfit(linear, size) is None]
    size = asked or next(iter(fitting), _GROUP_SIZES[-1])
    if unfit := _find_unfit(linear, size):
        raise ConfigError(
            f"llmcompressor.group_size: {size} does not divide {_width(unfit)}",
            hint=f"these divide every width of this model: {_told(fitting)}"
            if fitting
            else "choose scheme: W8A8 or FP8_DYNAMIC, which have no groups",
        )
    return size


def _find_unfit(linear: Mapping[str, TensorHeader], size: int) -> TensorHeader | None:
    """The first weight whose rows are not whole groups."""
    return next((header for header in linear.values() if header.shape[-1] % size), None)


def _width(header: TensorHeader) -> str:
    return f"the width {header.shape[-1]} of {header.name}"


def _told(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) for size in sizes)


def _warn_of_groups(
    asked: int | None, size: int | None, linear: Mapping[str, TensorHeader]
) -> tuple[str, ...]:
    usual = _GROUP_SIZES[0]
    unfit = _find_unfit(linear, usual)
    if asked is not None or size in (None, usual) or unfit is None:
        return ()
    return (f"groups of {size}, because the usual {usual} does not divide {_width(unfit)}",)


def _read_inputs(
    scheme: Scheme, method: Method, calibration: Sequence[str]
) -> tuple[CalibrationInput, ...]:
    """The calibration inputs; none for a method that looks at the weights alone."""
    if method == "rtn":
        return ()
    if not calibration:
        raise ConfigError(
            f"llmcompressor: {scheme} by {method} needs calibration inputs, and there are none",
            hint="add calibration: [{path: calibration.jsonl}] to the suite, or choose method: rtn",
        )
    return read_calibration(Path(path) for path in calibration)


def _check_installed() -> None:
    from importlib.util import find_spec

    if find_spec(ENGINE[0]) is None:
        raise StageError(
            f"quantizer llmcompressor needs {ENGINE[0]}, which is not installed", hint=REMEDY
        )


def _modules_left(
    headers: Mapping[str, TensorHeader], linear: Mapping[str, TensorHeader]
) -> tuple[str, ...]:
    """The modules that llm-compressor must not take for linear ones, by its rule: all others."""
    others = headers.keys() - linear.keys()
    modules = {_module(name) for name in others if name.endswith(".weight")}
    return tuple(sorted({"lm_head", *(name for name in modules if not name.endswith("norm"))}))


def _keep_checkpoint(written: Path, out: Path, *, like: Path) -> None:
    """Move weights, their index and config.json; what else is written beside them is not kept."""
    for file in written.glob("*.safetensors"):
        shutil.copymode(like, file)  # safetensors lets only the owner read what it writes
        file.replace(out / file.name)
    for file in (*written.glob("*.safetensors.index.json"), written / "config.json"):
        file.replace(out / file.name)


def _report(
    headers: Mapping[str, TensorHeader], out: Path, *, asked: Scheme, warnings: tuple[str, ...]
) -> WeightReport:
    written = read_headers(out)
    modules = {_module(name) for name in written}  # tied embeddings may now be there once
    kept = [header for name, header in headers.items() if _module(name) in modules]
    return WeightReport(
        parameters=sum(header.parameters for header in kept),
        weight_bytes=measure(written).size_bytes,
        fallbacks=tuple(
            Fallback(tensor=header.name, asked=asked, got=header.dtype)
            for header in kept
            if _could_be_linear(header) and f"{header.name}_scale" not in written
        ),
        warnings=warnings,
    )


def _module(tensor: str) -> str:
    return tensor.rpartition(".")[0]
