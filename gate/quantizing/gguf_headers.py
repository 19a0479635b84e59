"""The tensors that a GGUF file lists in its header, without its vocabulary.

gguf's own reader makes an array of each of a vocabulary's words and merges, which takes seconds.
"""

import mmap
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from gate.errors import SourceError

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_LENGTH = struct.Struct("<Q")
_WORD = struct.Struct("<I")
_HEADER = struct.Struct("<4sIQQ")
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each type of a value that has a fixed size (GGUFValueType)."""

_STRING, _ARRAY = 8, 9


class GgufTensor(NamedTuple):
    """What the header says of one tensor.

    Attributes:
        name: its name in the file.
        type: ggml's name of its type, such as Q4_K.
        shape: its dimensions, the one that is contiguous first.
    """

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """How many bytes these take in its type."""
        import gguf

        block, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[self.type]]
        return self.parameters // int(block) * int(block_bytes)


def read_tensors(file: Path) -> tuple[GgufTensor, ...]:
    """The tensors of a GGUF file (version 2 or 3, little endian), in the order of its header.

    Raises:
        SourceError: it is no such file, or damaged.
    """
    try:
        with (
            file.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _Header(content).tensors()
    except (struct.error, ValueError, LookupError) as error:
        raise SourceError(f"{file} is no whole GGUF file: {error}") from error


class _Header:
    """Walks through a file's header, from its first byte on."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def tensors(self) -> tuple[GgufTensor, ...]:
        magic, version, tensors, values = self._next(_HEADER)
        if magic != _MAGIC or version not in _VERSIONS:
            raise ValueError(f"it begins with {magic!r}, version {version}")
        for _ in range(values):
            self._skip_string()  # its key
            self._skip_value(self._word())
        return tuple(self._tensor() for _ in range(tensors))

    def _tensor(self) -> GgufTensor:
        import gguf

        name = self._string()
        shape = tuple(self._length() for _ in range(self._word()))
        kind = gguf.GGMLQuantizationType(self._word()).name
        self._length()  # where its data begins
        return GgufTensor(name, kind, shape)

    def _skip_value(self, kind: int) -> None:
        if kind == _STRING:
            self._skip_string()
        elif kind == _ARRAY:
            inner, count = self._word(), self._length()
            if inner in _SIZES:
                self._at += count * _SIZES[inner]
                return
            for _ in range(count):
                self._skip_value(inner)
        else:
            self._at += _SIZES[kind]

    def _skip_string(self) -> None:
        size = self._length()
        self._at += size

    def _string(self) -> str:
        size = self._length()
        self._at += size
        return self._content[self._at - size : self._at].decode()

    def _word(self) -> int:
        return int(self._next(_WORD)[0])

    def _length(self) -> int:
        return int(self._next(_LENGTH)[0])

    def _next(self, form: struct.Struct) -> tuple[Any, ...]:
        found = form.unpack_from(self._content, self._at)
        self._at += form.size
        return found
