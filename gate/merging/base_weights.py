"""The base's weights as a merge starts from them: as they are stored, or as QLoRA saw them."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from gate.errors import ConfigError
from gate.merging.layouts import Layout
from gate.nf4 import Nf4Settings, PackedWeight, find_packed, round_trip, unpack
from gate.tensors import FLOATS, Tensors, open_tensors, word_of

if TYPE_CHECKING:
    from torch import Tensor

BasePrecision = Literal["w16", "nf4", "nf4_requantized"]

Make = Callable[[], "Tensor"]


class BaseWeights(NamedTuple):
    """A base checkpoint, opened.

    Attributes:
        tensors: its tensors, of which the 4-bit ones are made when they are asked for.
        layout: where its parameters lie.
        requantize: {tensor: what puts the merged tensor into 4 bits and back}.
        is_packed: whether it was stored in 4 bits.
    """

    tensors: Tensors
    layout: Layout
    requantize: "Mapping[str, Callable[[Tensor], Tensor]]"
    is_packed: bool


def open_base(
    base: Path,
    *,
    precision: BasePrecision,
    double_quant: bool,
    allow_pickle: bool,
    trust_remote_code: bool,
) -> BaseWeights:
    """Open a base for a merge.

    Args:
        base: its directory: in 16 or 32 bits, or in the 4 bits of bitsandbytes.
        precision: w16 for the weights as they are stored; nf4 for what 4 bits leave of those that
            QLoRA trains on; nf4_requantized to put the merged weights into 4 bits once more.
        double_quant: whether the 4-bit scales are put into 8 bits, where that is to be simulated.
        allow_pickle: read weights that run code when they are read.
        trust_remote_code: let the model run Python code of its own.

    Raises:
        ConfigError: a 4-bit checkpoint where its 16-bit weights are asked for.
        SourceError: weights that are not whole.
    """
    tensors = open_tensors(base, allow_pickle=allow_pickle)
    packed = find_packed(tensors)
    if packed:
        if precision == "w16":
            raise ConfigError(
                f"{base}: a base model in 4 bits: its 16-bit weights are not there",
                hint="give base_precision: nf4, or the 16-bit model it was made from",
            )
        tensors = _unpacked(tensors, packed)
    layout = Layout(base, tensors.headers, trust_remote_code=trust_remote_code)
    if precision == "w16":
        return BaseWeights(tensors, layout, {}, is_packed=False)
    trips: dict[str, Callable[[Tensor], Tensor]] = (
        {name: partial(round_trip, settings=one.settings) for name, one in packed.items()}
        if packed
        else _round_trips(tensors, layout, double_quant=double_quant)
    )
    if not packed:
        made: dict[str, Make] = {
            name: partial(lambda trip, view: trip(view), trip, tensors.views[name])
            for name, trip in trips.items()
        }
        tensors = Tensors(tensors.headers, _Views(tensors.views, made))
    requantize = trips if precision == "nf4_requantized" else {}
    return BaseWeights(tensors, layout, requantize, is_packed=bool(packed))


class _Views(Mapping[str, "Tensor"]):
    """Tensors of which some are made when they are asked for, and the last few kept."""

    def __init__(self, views: "Mapping[str, Tensor]", made: Mapping[str, Make]) -> None:
        self._views = views
        self._made = made
        self._make = lru_cache(maxsize=2)(lambda name: made[name]())

    def __getitem__(self, name: str) -> "Tensor":
        return self._make(name) if name in self._made else self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._views, **self._made})

    def __len__(self) -> int:
        return len({**self._views, **self._made})


def _unpacked(tensors: Tensors, packed: Mapping[str, PackedWeight]) -> Tensors:
    """A packed checkpoint's tensors as those of the 16-bit one it stands for."""
    parts = {name for one in packed.values() for name in one.names}
    headers = {name: one for name, one in tensors.headers.items() if name not in parts}
    for name, one in packed.items():
        kind = one.settings.dtype
        word = word_of(kind)
        headers[name] = tensors.headers[name]._replace(dtype=word, shape=one.shape, start=0)
    views = {name: view for name, view in tensors.views.items() if name not in parts}
    made: dict[str, Make] = {name: partial(unpack, one) for name, one in packed.items()}
    return Tensors(headers, _Views(views, made))


def _round_trips(
    tensors: Tensors, layout: Layout, *, double_quant: bool
) -> "dict[str, Callable[[Tensor], Tensor]]":
    """What puts each tensor that QLoRA trains on into 4 bits and back."""
    trips: dict[str, Callable[[Tensor], Tensor]] = {}
    for parameter in layout.architecture.in_four_bits:
        turned = layout.kind(parameter.removesuffix(".weight")) == "conv1d"
        for piece in layout.find(parameter):
            header = tensors.headers[piece.tensor]
            if header.dtype in FLOATS:
                kind = str(tensors.views[piece.tensor].dtype).removeprefix("torch.")
                settings = Nf4Settings(double_quant=double_quant, dtype=kind)
                trips[piece.tensor] = partial(_round_trip, settings=settings, turned=turned)
    return trips


def _round_trip(weight: "Tensor", settings: Nf4Settings, *, turned: bool = False) -> "Tensor":
    if turned:
        return round_trip(weight.T.contiguous(), settings).T.contiguous()
    return round_trip(weight, settings)
