"""A quantized checkpoint, packed or plain, beside what it was made from: its tensors in pairs."""

from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gate.auditing.closeness import ANY, REPRODUCED, ROUNDED_ALONE, Pair
from gate.auditing.packed import find_unpacked, is_of_activations
from gate.auditing.rounding import Rounding, find_rounding
from gate.auditing.torchao_files import find_torchao
from gate.checkpoints import read_json
from gate.tensors import Tensors, open_tensors

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN_ROUNDING = "by an unknown rounding"
"""How the type ends of a tensor that no known format made."""

_TIED = {
    "lm_head.weight": "model.embed_tokens.weight",
    "model.embed_tokens.weight": "lm_head.weight",
}


class CheckpointFile:
    """A checkpoint that may be packed.

    Attributes:
        method: quantization_config's quant_method; None where config.json has none.
        tensors: all that is in its files.
        packed: the weights that are packed, by the names of what they were made from.
        plain: the names of the other tensors.
    """

    def __init__(self, directory: Path) -> None:
        """Map a checkpoint's tensors.

        Raises:
            SourceError: it is not whole, or packed in a way that is not known.
        """
        settings = read_json(directory / "config.json").get("quantization_config")
        self.tensors = open_tensors(directory, allow_pickle=False)
        self.method = None if settings is None else str(settings.get("quant_method"))
        if self.method == "torchao":
            self.packed = find_torchao(self.tensors)
        else:
            self.packed = {} if settings is None else find_unpacked(self.tensors, settings)
        parts = {name for packed in self.packed.values() for name in packed.names}
        self.plain = frozenset(
            name
            for name in self.tensors.headers.keys() - parts
            if settings is None or not is_of_activations(name)
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, unpacked."""
        return self.packed[name].shape if name in self.packed else self.tensors.headers[name].shape


def pair_checkpoint(
    file: CheckpointFile, merged: Tensors, base: Tensors, faults: list[str]
) -> Iterator[Pair]:
    """Each tensor of a quantized checkpoint beside the merged model's and the base model's.

    Tied embeddings may be stored once or twice: the one that is missing is the other.

    Args:
        file: the quantized model.
        merged: the merged checkpoint.
        base: the base model.
        faults: gets a sentence for each tensor that is missing, misshapen or not accounted for.

    Raises:
        SourceError: a packed tensor whose parts do not fit each other.
    """
    rounding: Rounding | None = None
    stored = file.packed.keys() | file.plain
    unexplained = []
    for name in sorted(stored | merged.views.keys()):
        target, source = _find(name, stored), _find(name, merged.views)
        fault = _find_fault(name, file, target, merged, source)
        if fault or source is None or target is None:
            faults.append(fault)
            continue
        pair = _pair(name, file, target, merged.views[source], _find_base(name, base))
        if pair.grid is ANY:
            made_by = find_rounding(pair.merged, pair.stored, first=rounding)
            pair = _explain(pair, made_by)
            rounding = made_by or rounding
            unexplained += [] if made_by else [name]
        yield pair
    if rounding:
        faults += [f"{name}: is not what {rounding} makes of it" for name in unexplained]


def _find(name: str, names: Container[str]) -> str | None:
    """The name under which a tensor is found; of tied embeddings, the other one's."""
    tied = _TIED.get(name)
    return name if name in names else tied if tied in names else None


def _find_base(name: str, base: Tensors) -> "Tensor | None":
    found = _find(name, base.views)
    return None if found is None else base.views[found]


def _find_fault(
    name: str, file: CheckpointFile, target: str | None, merged: Tensors, source: str | None
) -> str:
    if source is None:
        return f"{name}: holds no tensor of the merged model"
    if target is None:
        return f"{name}: is missing"
    found, wanted = file.shape(target), merged.headers[source].shape
    if found != wanted:
        return f"{name}: has shape {list(found)}, the merged model's has {list(wanted)}"
    return ""


def _pair(
    name: str, file: CheckpointFile, target: str, merged: "Tensor", base: "Tensor | None"
) -> Pair:
    before = base if base is not None and base.shape == merged.shape else None
    if target in file.packed:
        packed = file.packed[target]
        size_bytes = sum(file.tensors.headers[part].size_bytes for part in packed.names)
        grid = packed.grid_for(merged)
        return Pair(name, packed.type, size_bytes, grid, packed.dequantize(), merged, before)
    header = file.tensors.headers[target]
    stored = file.tensors.views[target]
    is_plain = stored.equal(merged.to(stored.dtype))
    grid = ROUNDED_ALONE.get(header.dtype, ANY) if is_plain else ANY
    return Pair(name, header.dtype, header.size_bytes, grid, stored, merged, before, is_plain)


def _explain(pair: Pair, rounding: Rounding | None) -> Pair:
    if rounding is None:
        return pair._replace(type=f"{pair.type} {UNKNOWN_ROUNDING}")
    return pair._replace(grid=REPRODUCED, type=str(rounding))
