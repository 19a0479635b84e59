"""What a GGUF file holds, told tensor by tensor: which types, at what size, with which doubts."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gate.quantizing.calibration import CalibrationInput
from gate.quantizing.conversion import WHOLE_TYPES
from gate.quantizing.gguf_headers import GgufTensor, read_tensors
from gate.quantizing.importance import Importance
from gate.records import Fallback, WeightReport

_FEW_BITS = ("Q2", "Q3", "IQ2", "IQ3")
_MATRIX = 2
_SUPER_BLOCK = 256
_REPLACED = {"Q5_0": "Q4_K", "Q5_1": "Q5_K", "Q8_0": "Q6_K"}


def report_on(
    file: Path,
    file_type: str,
    importance: Importance | None,
    inputs: Sequence[CalibrationInput],
) -> WeightReport:
    """The report on a GGUF file, over all of its tensors.

    Args:
        file: what llama.cpp wrote.
        file_type: llama.cpp's file type that was asked for.
        importance: the importance matrix that it was made with, if any.
        inputs: what that was made from.
    """
    tensors = read_tensors(file)
    fallbacks = []
    for tensor in tensors:
        asked = _asked(file_type, tensor)
        if asked:
            fallbacks.append(Fallback(tensor=tensor.name, asked=asked, got=tensor.type))
    return WeightReport(
        parameters=sum(tensor.parameters for tensor in tensors),
        weight_bytes=sum(tensor.size_bytes for tensor in tensors),
        fallbacks=tuple(fallbacks),
        warnings=(
            *_warnings(file_type, len(fallbacks), len(tensors), has_matrix=importance is not None),
            *(_tell_matrix(importance, len(inputs), tensors) if importance else ()),
        ),
    )


def _asked(file_type: str, tensor: GgufTensor) -> str | None:
    """The type llama.cpp wanted for a tensor that it stored in another; None where it is the same.

    A mix such as Q4_K_M gives some tensors Q6_K by design. K types come in blocks of 256, so
    that only a row whose width 256 does not divide falls back (`tensor_type_fallback` in
    llama.cpp's llama-quant.cpp): Q4_K to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0, Q2_K and Q3_K to
    Q4_0, IQ types to IQ4_NL, and any to F16. F32 is kept for norms, routers and position tables.
    """
    is_iq = file_type.startswith("IQ")
    wanted = file_type if is_iq else file_type[: len("Q4_K")]
    is_by_design = tensor.type in ("F32", wanted) or tensor.shape[0] % _SUPER_BLOCK == 0
    if file_type in WHOLE_TYPES or len(tensor.shape) < _MATRIX or is_by_design:
        return None
    return _REPLACED.get(tensor.type, wanted)


def _warnings(file_type: str, fallbacks: int, tensors: int, *, has_matrix: bool) -> tuple[str, ...]:
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


def _tell_matrix(
    importance: Importance, inputs: int, tensors: Sequence[GgufTensor]
) -> Iterator[str]:
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
        and tensor.type not in WHOLE_TYPES
        and tensor.name not in importance.values
    ]
    if lacking:
        yield (
            f"{len(lacking)} quantized tensors are not in the importance matrix: llama.cpp does "
            f"not multiply by them in a way that shows; the first is {lacking[0]}"
        )
