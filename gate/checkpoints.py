"""Checkpoint directories by their headers: which tensors they hold, in which bytes, beside what."""

import json
import shutil
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from gate.errors import SourceError

PICKLES = ("pytorch_model*.bin", "adapter_model*.bin")
"""Patterns of weight files that run code when they are read."""

TOKENIZER_FILES = (
    "tokenizer*",
    "chat_template*",
    "additional_chat_templates/*",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.*",
    "*.model",
    "*.tiktoken",
)
"""Patterns of the files that turn text into token ids."""

MODEL_FILES = ("generation_config.json", "*processor_config.json", "*.py")
"""Patterns of the other files a checkpoint needs beside its weights and config.json."""

_LENGTH_BYTES = 8
_GIT_LFS = b"version https://git-lfs"


class TensorHeader(NamedTuple):
    """What a safetensors header says of one tensor.

    Attributes:
        name: its name in the checkpoint.
        dtype: safetensors' word for its type, such as BF16.
        shape: its dimensions; empty for a scalar.
        file: the file that holds it.
        start: position of its first byte in that file.
        size_bytes: how many bytes it takes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size_bytes: int

    @property
    def parameters(self) -> int:
        """How many numbers the tensor holds."""
        return prod(self.shape)


class Weights(NamedTuple):
    """How many numbers a checkpoint holds, in how many bytes."""

    parameters: int
    size_bytes: int


def read_headers(directory: Path) -> dict[str, TensorHeader]:
    """Every tensor of a base model or adapter directory, by name; no weights are read.

    Raises:
        SourceError: no safetensors weights, or files that do not hold what they should.
    """
    single = next(
        (directory / name for name in _SINGLE_FILES if (directory / name).is_file()), None
    )
    if single is not None:
        return read_file_header(single)
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        return _read_shards(index)
    raise _no_weights(directory)


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The safetensors files that hold a checkpoint's weights, sorted.

    Raises:
        SourceError: as `read_headers`.
    """
    return tuple(sorted({header.file for header in read_headers(directory).values()}))


def measure(headers: Mapping[str, TensorHeader]) -> Weights:
    """The totals over a checkpoint's tensors."""
    return Weights(
        parameters=sum(header.parameters for header in headers.values()),
        size_bytes=sum(header.size_bytes for header in headers.values()),
    )


def read_file_header(file: Path) -> dict[str, TensorHeader]:
    """Every tensor of one safetensors file, by name.

    Raises:
        SourceError: the file is cut short, too long, or no safetensors file.
    """
    size_bytes = file.stat().st_size
    with file.open("rb") as opened:
        first = opened.read(_LENGTH_BYTES)
        length = int.from_bytes(first, "little")
        rest = opened.read(len(_GIT_LFS) - _LENGTH_BYTES)
        if first + rest == _GIT_LFS:
            raise SourceError(
                f"{file}: a Git LFS pointer, not the weights", hint="run git lfs pull there"
            )
        start = _LENGTH_BYTES + length
        if len(first) < _LENGTH_BYTES or start > size_bytes:
            raise SourceError(
                f"{file}: truncated: its header should end at byte {start}, "
                f"the file at byte {size_bytes}",
                hint=_AGAIN,
            )
        opened.seek(_LENGTH_BYTES)
        header = _parse_header(file, opened.read(length))
    headers = {name: _tensor(name, entry, file, start) for name, entry in header.items()}
    end = max((tensor.start + tensor.size_bytes for tensor in headers.values()), default=start)
    if end != size_bytes:
        state = "truncated" if end > size_bytes else "damaged"
        raise SourceError(
            f"{file}: {state}: its header promises {end} bytes, the file has {size_bytes}",
            hint=_AGAIN,
        )
    return headers


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        SourceError: the file cannot be read, is not JSON, or is not an object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SourceError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise SourceError(f"{file}: not a JSON object")
    return value


def check_code(directory: Path, *, trust_remote_code: bool) -> None:
    """Refuse a checkpoint that asks for its own Python code to be run, unless it is trusted.

    Raises:
        SourceError: config.json or tokenizer_config.json has an auto_map, or cannot be read.
    """
    if trust_remote_code:
        return
    for name in ("config.json", "tokenizer_config.json"):
        file = directory / name
        if file.is_file() and (auto_map := read_json(file).get("auto_map")):
            raise SourceError(
                f"{directory}: wants to run code of its own: "
                f"{name}: auto_map: {json.dumps(auto_map)}",
                hint="read that code, then set trust_remote_code: true",
            )


def check_weights(directory: Path, *, allow_pickle: bool) -> None:
    """Refuse weights that are not whole by their headers, and pickled ones unless allowed.

    Raises:
        SourceError: as `read_headers`.
    """
    if has_safetensors(directory) or not (allow_pickle and pickle_files(directory)):
        read_headers(directory)


def has_safetensors(directory: Path) -> bool:
    """Whether a checkpoint's weights are in safetensors, whole or not."""
    names = (*_SINGLE_FILES, "model.safetensors.index.json")
    return any((directory / name).is_file() for name in names)


def pickle_files(directory: Path) -> tuple[Path, ...]:
    """The weight files of a directory that run code when they are read, sorted."""
    return tuple(_matching(directory, PICKLES))


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory carries a tokenizer of its own."""
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    return any((directory / name).is_file() for name in names)


def copy_sidecars(model: Path, out: Path, *, tokenizer: Path | None = None) -> None:
    """Copy, byte for byte, what a checkpoint needs beside its weights and config.json.

    Args:
        model: the checkpoint to copy from.
        out: an existing directory.
        tokenizer: take the tokenizer and chat template from here; None for `model`.
    """
    for source, patterns in ((model, MODEL_FILES), (tokenizer or model, TOKENIZER_FILES)):
        for file in _matching(source, patterns):
            target = out / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _matching(directory: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    found = {file for pattern in patterns for file in directory.glob(pattern) if file.is_file()}
    yield from sorted(found)


def _read_shards(index: Path) -> dict[str, TensorHeader]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise SourceError(f"{index}: has no weight_map", hint=_AGAIN)
    headers: dict[str, TensorHeader] = {}
    for name in sorted(set(weight_map.values())):
        shard = index.parent / name
        if not shard.is_file():
            raise SourceError(f"{index}: names {name}, which is missing", hint=_AGAIN)
        headers |= read_file_header(shard)
    for tensor, name in weight_map.items():
        if tensor not in headers or headers[tensor].file.name != name:
            raise SourceError(f"{index}: {name} does not hold {tensor}", hint=_AGAIN)
    return headers


def _parse_header(file: Path, text: bytes) -> dict[str, dict[str, Any]]:
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
    except (ValueError, AttributeError) as error:
        raise SourceError(f"{file}: not a safetensors file: {error}", hint=_AGAIN) from error
    return dict(header)


def _tensor(name: str, entry: dict[str, Any], file: Path, start: int) -> TensorHeader:
    try:
        begin, end = entry["data_offsets"]
        return TensorHeader(
            name, entry["dtype"], tuple(entry["shape"]), file, start + begin, end - begin
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{file}: its header is damaged at {name}", hint=_AGAIN) from error


def _no_weights(directory: Path) -> SourceError:
    pickles = pickle_files(directory)
    if pickles:
        return SourceError(
            f"{directory}: its weights are pickled ({pickles[0].name}): a pickle can run any code",
            hint="convert them to safetensors, or set allow_pickle: true if you trust its author",
        )
    return SourceError(
        f"{directory}: no weights: neither model.safetensors nor adapter_model.safetensors"
    )


_SINGLE_FILES = ("model.safetensors", "adapter_model.safetensors")
_AGAIN = "download or save it again"
