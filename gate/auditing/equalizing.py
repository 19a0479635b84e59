"""AWQ's scales, found in the files and put on the models that what it wrote is compared with.

AWQ (arXiv:2306.00978, section 3.2) multiplies what a layer takes in, channel by channel, and
divides what feeds that layer by the same, so that the model computes what it did from other
numbers. The scales of a norm are read off: the merged model's over those in the file. Those
between two linear layers are in no file, and each is fitted: the coefficient of least squares of a
stored row on the merged model's. So a model is proven that differs from the merged one by scales
that cancel, and by the rounding; which of two such models it is, and whether the scales are good
ones, the weights do not tell.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from gate.auditing.checkpoint_files import CheckpointFile
from gate.auditing.packed import Unpacked
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor

_NORM = re.compile(r"(?P<layer>.+)\.(?P<norm>input_layernorm|post_attention_layernorm)\.weight")
_FED_BY_NORMS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}
_FED_BY_LINEAR = {"self_attn.v_proj": "self_attn.o_proj", "mlp.up_proj": "mlp.down_proj"}


class Factors(NamedTuple):
    """What a tensor is multiplied by.

    Attributes:
        rows: one factor a row, or an element of a vector; None for 1.
        columns: one factor a column; None for 1.
    """

    rows: "Tensor | None" = None
    columns: "Tensor | None" = None


def find_factors(file: CheckpointFile, merged: Tensors) -> dict[str, Factors]:
    """What AWQ multiplied the merged model's tensors by; empty where no norm was changed.

    A norm counts only where all that it feeds is packed: else nothing shows what it is worth.

    Args:
        file: a quantized checkpoint.
        merged: the merged checkpoint.
    """
    factors: dict[str, Factors] = {}
    layers = set()
    for name in sorted(merged.views.keys() & file.plain):
        if not (match := _NORM.fullmatch(name)):
            continue
        layer, norm = match.groups()
        fed = {f"{layer}.{module}.weight" for module in _FED_BY_NORMS[norm]}
        change = _norm_factor(file.tensors.views[name], merged.views[name])
        if change is not None and fed <= file.packed.keys():
            layers.add(layer)
            factors |= dict.fromkeys(fed, Factors(columns=1 / change.float()))
            factors[name] = Factors(rows=change)
    for layer in sorted(layers):
        for feeding, fed_by_it in _FED_BY_LINEAR.items():
            _fit(f"{layer}.{feeding}", f"{layer}.{fed_by_it}.weight", file.packed, merged, factors)
    return factors


def multiply(tensors: Tensors, factors: Mapping[str, Factors]) -> Tensors:
    """A model with its tensors multiplied as they are asked for."""
    return Tensors(tensors.headers, _Multiplied(tensors.views, factors))


class _Multiplied(Mapping[str, "Tensor"]):
    def __init__(self, views: "Mapping[str, Tensor]", factors: Mapping[str, Factors]) -> None:
        self._views = views
        self._factors = factors

    def __getitem__(self, name: str) -> "Tensor":
        return _multiplied(self._views[name], self._factors.get(name, Factors()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def _multiplied(tensor: "Tensor", factors: Factors) -> "Tensor":
    if factors.columns is not None and len(factors.columns) == tensor.shape[-1]:
        tensor = tensor.float() * factors.columns
    if factors.rows is not None and len(factors.rows) == len(tensor):
        rows = factors.rows if tensor.dim() == 1 else factors.rows[:, None]
        tensor = tensor * rows
    return tensor


def _norm_factor(stored: "Tensor", merged: "Tensor") -> "Tensor | None":
    """The stored norm over the merged model's; None where it is the same or no norm of it."""
    import torch

    if stored.shape != merged.shape or stored.equal(merged.to(stored.dtype)):
        return None
    ratio = stored.double() / merged.double()  # so exact that the product is the stored again
    ratio = torch.where(stored == merged, torch.ones_like(ratio), ratio)
    return ratio if bool((ratio.isfinite() & (ratio > 0)).all()) else None


def _fit(
    feeding: str,
    fed: str,
    packed: Mapping[str, Unpacked],
    merged: Tensors,
    factors: dict[str, Factors],
) -> None:
    """Put the factors of a linear layer's outputs, as fitted, on it and on what it feeds."""
    import torch

    name = f"{feeding}.weight"
    if name not in packed or fed not in packed or packed[name].shape[0] != packed[fed].shape[1]:
        return
    known = factors.get(name, Factors())
    weight = _multiplied(merged.views[name], known).float()
    stored = packed[name].dequantize()
    if stored.shape != weight.shape:
        return
    rows = (stored * weight).sum(dim=1) / weight.square().sum(dim=1)
    rows = torch.where(rows.isfinite() & (rows > 0), rows, torch.ones_like(rows))
    factors[name] = known._replace(rows=rows)
    factors[f"{feeding}.bias"] = Factors(rows=rows)
    factors[fed] = Factors(columns=1 / rows)
