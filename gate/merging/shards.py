"""The files of a merged checkpoint, planned before a byte is written: headers, offsets, index."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gate.checkpoints import TensorHeader, read_file_header, read_json
from gate.errors import StageError
from gate.merging.recipes import Recipe
from gate.tensors import FLOATS, Tensors, dtype_of

_INDEX = "model.safetensors.index.json"
_ALIGNMENT = 8


class OutputTensor(NamedTuple):
    """A tensor of the merged checkpoint.

    Attributes:
        name: its name.
        dtype: safetensors' word for its type.
        shape: its dimensions.
        source: the base's tensor that it starts from.
        start: its first byte in its file.
        size_bytes: how many bytes it takes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: str
    start: int = 0
    size_bytes: int = 0


class Shard(NamedTuple):
    """A file of the merged checkpoint: its header, then its tensors one after the other."""

    name: str
    header: bytes
    tensors: tuple[OutputTensor, ...]

    @property
    def size_bytes(self) -> int:
        """The size of the whole file."""
        return len(self.header) + sum(tensor.size_bytes for tensor in self.tensors)


def plan_shards(base: Tensors, recipe: Recipe, *, dtype: str | None) -> tuple[Shard, ...]:
    """The files to write: the base's, with the tensors that it puts into each.

    Args:
        base: the base's tensors.
        recipe: what is done to them: some grow, one may be added.
        dtype: safetensors' word for the type of all floating-point tensors; None for their own.
    """
    files: dict[str, list[TensorHeader]] = {}
    for header in sorted(base.headers.values(), key=lambda one: (one.file.name, one.start)):
        files.setdefault(_safetensors_name(header.file.name), []).append(header)
    return tuple(_shard(name, headers, recipe, dtype) for name, headers in files.items())


def check_space(shards: tuple[Shard, ...], free_bytes: int, out: Path) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        StageError: says how much is needed and how much is free.
    """
    needed = sum(shard.size_bytes for shard in shards)
    if needed > free_bytes:
        raise StageError(
            f"{out}: the merged checkpoint takes {needed / 1e9:.2f} GB, "
            f"and {free_bytes / 1e9:.2f} GB are free",
            hint="free some space, or write to another disk",
        )


def write_index(base: Path, out: Path, shards: tuple[Shard, ...]) -> None:
    """The index of a sharded checkpoint: the base's, unless the merge made it untrue."""
    if len(shards) == 1 and not (base / _INDEX).is_file():
        return
    old = read_json(base / _INDEX) if (base / _INDEX).is_file() else {}
    weight_map = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
    total = sum(tensor.size_bytes for shard in shards for tensor in shard.tensors)
    if old.get("weight_map") == weight_map and _total(old) in (None, total):
        shutil.copyfile(base / _INDEX, out / _INDEX)
        return
    metadata = {**old.get("metadata", {}), "total_size": total}
    metadata.pop("total_parameters", None)
    index = {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}
    (out / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_config(base: Path, out: Path, truth: Mapping[str, Any]) -> None:
    """The base's config.json byte for byte, unless the merge made it untrue.

    Args:
        base: the base's directory.
        out: an existing directory.
        truth: {key: what it must say, None for nothing}; `dtype` and `vocab_size` go where the
            base has them.
    """
    config = read_json(base / "config.json")
    told, text_config = dict(config), config.get("text_config")
    for key, value in truth.items():
        if value is None:
            told.pop(key, None)
        elif key == "dtype" and "torch_dtype" in config:
            told["torch_dtype"] = value
        elif key not in config and isinstance(text_config, dict) and key in text_config:
            told["text_config"] = {**told["text_config"], key: value}
        else:
            told[key] = value
    if told == config:
        shutil.copyfile(base / "config.json", out / "config.json")
    else:
        text = json.dumps(told, indent=2, ensure_ascii=False)
        (out / "config.json").write_text(text + "\n", encoding="utf-8")


def check_written(out: Path, shards: Sequence[Shard]) -> None:
    """Read the headers of what was written back.

    Raises:
        StageError: a tensor that was not to be written, is missing, or is another one.
    """
    for shard in shards:
        planned = {one.name: (one.dtype, one.shape, one.start) for one in shard.tensors}
        found = {
            name: (header.dtype, header.shape, header.start)
            for name, header in read_file_header(out / shard.name).items()
        }
        if found != planned:
            wrong = min(name for name in planned | found if planned.get(name) != found.get(name))
            raise StageError(f"{out / shard.name}: {wrong} is not what was to be written")


def _total(index: Mapping[str, Any]) -> Any:
    return (index.get("metadata") or {}).get("total_size")


def _safetensors_name(name: str) -> str:
    return name if name.endswith(".safetensors") else f"{Path(name).stem}.safetensors"


def _shard(name: str, headers: list[TensorHeader], recipe: Recipe, dtype: str | None) -> Shard:
    planned = list(_planned(headers, recipe, dtype))
    is_the_bases = [(one.name, one.dtype, one.shape) for one in planned] == [
        (header.name, header.dtype, header.shape) for header in headers
    ]
    if is_the_bases and all(header.start for header in headers):
        with headers[0].file.open("rb") as file:
            return _placed(name, file.read(headers[0].start), planned)
    planned.sort(key=lambda one: -dtype_of(one.dtype).itemsize)
    return _placed(name, _header(planned), planned)


def _planned(
    headers: list[TensorHeader], recipe: Recipe, dtype: str | None
) -> Iterator[OutputTensor]:
    for header in headers:
        word = dtype if dtype and header.dtype in FLOATS else header.dtype
        yield _sized(OutputTensor(header.name, word, _shape(header, recipe), header.name))
        if recipe.head and header.name == recipe.head_from:
            shape = _shape(header._replace(name=recipe.head), recipe)
            yield _sized(OutputTensor(recipe.head, word, shape, header.name))


def _shape(header: TensorHeader, recipe: Recipe) -> tuple[int, ...]:
    """The tensor's shape after what replaces it; a replacement comes alone."""
    for change in recipe.changes.get((header.name, None), ()):
        if change.replacement is not None:
            return tuple(change.replacement.shape)
    return header.shape


def _sized(tensor: OutputTensor) -> OutputTensor:
    size = dtype_of(tensor.dtype).itemsize
    for dimension in tensor.shape:
        size *= dimension
    return tensor._replace(size_bytes=size)


def _placed(name: str, header: bytes, tensors: list[OutputTensor]) -> Shard:
    start, placed = len(header), []
    for tensor in tensors:
        placed.append(tensor._replace(start=start))
        start += tensor.size_bytes
    return Shard(name, header, tuple(placed))


def _header(tensors: list[OutputTensor]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in tensors:
        end = start + tensor.size_bytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
