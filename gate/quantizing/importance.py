"""Which columns of a model's matrices matter: what llama.cpp calls an importance matrix."""

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.cores import core_count
from gate.engines.llama_batches import Token
from gate.engines.llama_models import LlamaModel
from gate.errors import StageError

if TYPE_CHECKING:
    from numpy import ndarray

_WINDOW = 512  # what llama-imatrix reads at once
_F32 = 0  # GGML_TYPE_F32


class Importance(NamedTuple):
    """What calibration texts say of a model's matrices.

    Attributes:
        values: {tensor of the GGUF file: mean of the squared activations that its columns are
            multiplied with}; of stacked experts, one row of columns each. An expert that no token
            reached has 1 everywhere, as in llama.cpp.
        tokens: how many tokens were read.
        unreached: the stacked tensors with experts that no token reached.
    """

    values: "dict[str, ndarray[Any, Any]]"
    tokens: int
    unreached: tuple[str, ...]

    def for_llama_cpp(self) -> Any:
        """As llama_model_quantize takes it: an array that ends with an entry of no name."""
        import llama_cpp

        entries = (llama_cpp.llama_model_imatrix_data * (len(self.values) + 1))()
        for entry, (name, values) in zip(entries, self.values.items(), strict=False):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return entries


def measure_importance(file: Path, texts: Sequence[str]) -> Importance:
    """Run texts through an unquantized GGUF file, and see what its matrices are multiplied with.

    The same statistic as llama-imatrix of llama.cpp (tools/imatrix), with the same tensors: all
    matrices of the layers, but not the embeddings and the output. It is taken in llama.cpp's own
    graph, so that columns that the conversion reorders, and stacked experts, are right.

    Args:
        file: the file that will be quantized.
        texts: what it reads, each by itself in windows of 512 tokens.

    Raises:
        StageError: llama.cpp cannot run the file, or lays out its tensors in a way that is not
            known.
    """
    collector = _Collector()
    model = LlamaModel(file, max_sequences=1, threads=core_count(), watch=collector.watch)
    tokens = 0
    try:
        for window in _windows(model, texts):
            model.open_context(_WINDOW)
            model.run([Token(id, place, [0], True) for place, id in enumerate(window)])
            tokens += len(window)
            if collector.error:
                raise collector.error
    finally:
        model.close()
    return Importance(
        {name: one.means() for name, one in sorted(collector.sums.items())},
        tokens,
        tuple(name for name, one in sorted(collector.sums.items()) if not one.counts.all()),
    )


def _windows(model: LlamaModel, texts: Sequence[str]) -> "list[list[int]]":
    begin = "" if model.begin_id < 0 else model.decode([model.begin_id], skip_special_tokens=False)
    windows = []
    for text in texts:
        has_begin = bool(begin) and text.startswith(begin)
        ids = model.encode(text, add_special_tokens=not has_begin)
        windows += [ids[start : start + _WINDOW] for start in range(0, len(ids), _WINDOW)]
    return windows


class _Tensor(ctypes.Structure):
    """struct ggml_tensor, as in ggml.h of llama-cpp-python 0.3.36."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("sizes", ctypes.c_int64 * 4),
        ("strides", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("sources", ctypes.c_void_p * 10),
        ("view_source", ctypes.c_void_p),
        ("view_start", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
    )


class _Sums:
    """Squared activations of a tensor, summed: a line for each matrix that is stacked in it."""

    def __init__(self, matrices: int, width: int) -> None:
        import numpy as np

        self.squares = np.zeros((matrices, width))
        self.counts = np.zeros(matrices, np.int64)

    def means(self) -> "ndarray[Any, Any]":
        import numpy as np

        counts = self.counts[:, None]
        means = np.where(counts > 0, self.squares / np.maximum(counts, 1), 1.0)
        return np.ascontiguousarray(means, np.float32)


class _Collector:
    """Sums up what the matrices of the layers are multiplied with, called by llama.cpp."""

    def __init__(self) -> None:
        self.sums: dict[str, _Sums] = {}
        self.error: Exception | None = None
        self._ggml = _open_ggml()

    def watch(self, address: int, is_asked: bool, _: object) -> bool:
        try:
            product = self._tensor(address)
            operation = self._ggml.ggml_op_desc(address)
            if operation not in (b"MUL_MAT", b"MUL_MAT_ID") or self.error:
                return not is_asked
            name = _name(self._tensor(product.sources[0]))
            if not name.startswith("blk."):
                return not is_asked
            if not is_asked:
                self._add(name, product, is_routed=operation == b"MUL_MAT_ID")
        except Exception as error:  # noqa: BLE001 (an edge: C cannot pass it on)
            self.error = error
        return True

    def _add(self, name: str, product: _Tensor, *, is_routed: bool) -> None:
        import numpy as np

        weights, inputs = map(self._tensor, product.sources[:2])
        width, matrices = inputs.sizes[0], weights.sizes[2] * weights.sizes[3]
        sums = self.sums.setdefault(name, _Sums(matrices, width))
        squares = np.square(self._read(product.sources[1], np.float32), dtype=np.float64)
        if is_routed:
            experts = self._read(product.sources[2], np.int32)[0, 0]  # tokens x chosen experts
            chosen = np.broadcast_to(np.arange(experts.shape[1]) % squares.shape[2], experts.shape)
            rows = squares[0, np.arange(len(experts))[:, None], chosen]
            np.add.at(sums.squares, experts, rows)
            sums.counts += np.bincount(experts.ravel(), minlength=matrices)
            return
        for third in range(inputs.sizes[3]):
            for second in range(inputs.sizes[2]):
                matrix = third % weights.sizes[3] * weights.sizes[2] + second % weights.sizes[2]
                sums.squares[matrix] += squares[third, second].sum(axis=0)
                sums.counts[matrix] += inputs.sizes[1]

    def _read(self, address: int, kind: Any) -> "ndarray[Any, Any]":
        """A tensor's numbers, the dimension that ggml names first last."""
        import numpy as np

        tensor = self._tensor(address)
        count = self._ggml.ggml_nbytes(address)
        buffer = ctypes.create_string_buffer(count)
        self._ggml.ggml_backend_tensor_get(address, buffer, 0, count)
        return np.ndarray(
            tuple(tensor.sizes)[::-1], kind, memoryview(buffer), strides=tuple(tensor.strides)[::-1]
        )

    def _tensor(self, address: int) -> _Tensor:
        """What lies at an address, if it is laid out as is known."""
        tensor = _Tensor.from_address(address)
        told = (self._ggml.ggml_nelements(address), self._ggml.ggml_get_data(address))
        if told != (math.prod(tensor.sizes), tensor.data) or (
            self._ggml.ggml_get_name(address) != tensor.name
        ):
            raise StageError(
                "llama.cpp lays out its tensors in a way that is not known here: no importance "
                "matrix",
                hint="pip install llama-cpp-python==0.3.36",
            )
        return tensor


def _name(tensor: _Tensor) -> str:
    """A weight's name: llama.cpp calls a copy on another device CUDA0#blk.0.attn_k.weight#0."""
    name: str = tensor.name.decode(errors="replace")
    return name.split("#")[1] if "#" in name else name


def _open_ggml() -> ctypes.CDLL:
    from llama_cpp._ggml import libggml

    ggml = ctypes.CDLL(libggml._name)  # by itself: how its functions are called is set here
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, gives, takes in (
        ("ggml_get_name", ctypes.c_char_p, (pointer,)),
        ("ggml_op_desc", ctypes.c_char_p, (pointer,)),
        ("ggml_get_data", pointer, (pointer,)),
        ("ggml_nelements", ctypes.c_int64, (pointer,)),
        ("ggml_nbytes", size, (pointer,)),
        ("ggml_backend_tensor_get", None, (pointer, pointer, size, size)),
    ):
        function = getattr(ggml, name)
        function.restype, function.argtypes = gives, takes
    return ggml
