"""The base as QLoRA saw it, laid out in files, so that an audit needs no memory for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, NamedTuple

from gate.audit_records import TensorAudit
from gate.auditing.expected import Expectation
from gate.errors import ConfigError
from gate.nf4 import Nf4Settings, find_packed, quantized_modules, round_trip, unpack
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor

BasePrecision = Literal["w16", "nf4", "nf4_requantized"]

_LARGEST_STEP = 0.31
"""The widest gap between neighbours of the 4-bit code book, as a share of a block's scale."""

_MAY_FLIP = 1e-3
"""Share of elements whose value before quantizing lies on a boundary, within float32's error."""


class FourBitBase(NamedTuple):
    """A base for an audit.

    Attributes:
        views: its tensors as the merge started from them.
        requantize: {tensor: what puts the merged tensor into 4 bits and back}.
    """

    views: "Mapping[str, Tensor]"
    requantize: "Mapping[str, Callable[[Tensor], Tensor]]"


@contextmanager
def in_precision(
    base: Path,
    tensors: Tensors,
    precision: BasePrecision,
    *,
    double_quant: bool,
    trust_remote_code: bool,
) -> Iterator[FourBitBase]:
    """The base's tensors as they are, or as 4 bits leave them, in a temporary folder.

    Args:
        base: its directory.
        tensors: what is stored there.
        precision: w16 for the tensors as they are stored.
        double_quant: whether the 4-bit scales are put into 8 bits, where that is simulated.
        trust_remote_code: let the model run Python code of its own.

    Raises:
        ConfigError: 16-bit weights are asked of a base that is stored in 4 bits.
    """
    packed = find_packed(tensors)
    if packed and precision == "w16":
        raise ConfigError(
            f"{base}: a base model in 4 bits: its 16-bit weights are not there",
            hint="give the base_precision it was merged by, or the 16-bit base model",
        )
    if precision == "w16":
        yield FourBitBase(tensors.views, {})
        return
    trips: dict[str, Callable[[Tensor], Tensor]] = {
        name: partial(round_trip, settings=one.settings) for name, one in packed.items()
    }
    if not packed:
        trips = _simulated(base, tensors, double_quant, trust_remote_code)
    parts = {name for one in packed.values() for name in one.names}
    views = {name: view for name, view in tensors.views.items() if name not in parts}
    with TemporaryDirectory() as folder:
        for number, (name, trip) in enumerate(trips.items()):
            made = unpack(packed[name]) if packed else trip(tensors.views[name])
            views[name] = _on_disk(made, Path(folder) / str(number))
        yield FourBitBase(views, trips if precision == "nf4_requantized" else {})


def audit_requantized(
    expectation: Expectation, found: "Tensor", trip: "Callable[[Tensor], Tensor]"
) -> TensorAudit:
    """A merged tensor that was put into 4 bits again, against the same done here.

    Where base + adapter lies on a boundary of the code book, float32's rounding decides, and the
    neighbouring value is as good: a few elements may be one step of their block away.
    """
    import torch

    with TemporaryDirectory() as folder:
        whole = torch.empty(expectation.rows, expectation.columns, dtype=expectation.to)
        whole = _on_disk(whole, Path(folder) / "whole")
        for start, stop in expectation.blocks():
            whole[start:stop] = expectation.block(start, stop).total.to(expectation.to)
        wanted = trip(whole.view(found.shape)).view(found.shape)
        off = (wanted.float() - found.float()).abs()
        differing = int((off > 0).sum())
        is_close = bool((off <= _LARGEST_STEP * whole.abs().max()).all())
        kept, share = _shares(expectation, found)
    if not differing:
        return TensorAudit(
            tensor=expectation.name, outcome="exact", delta_share=share, kept_share=kept
        )
    is_rounding = is_close and differing <= 1 + _MAY_FLIP * found.numel()
    return TensorAudit(
        tensor=expectation.name,
        outcome="rounding" if is_rounding else "wrong",
        delta_share=share,
        kept_share=kept,
        differing=differing,
        note="" if is_rounding else f"{differing} elements are not NF4(base + adapter)",
    )


def _shares(expectation: Expectation, found: "Tensor") -> tuple[float, float]:
    """How much of the change is in the file, and its norm over the base's."""
    lost = change = ground = 0.0
    flat = found.view(expectation.rows, expectation.columns)
    for start, stop in expectation.blocks():
        block = expectation.block(start, stop)
        lost += float((flat[start:stop].float() - block.total).double().square().sum())
        change += float(block.delta.double().square().sum())
        ground += float(block.base.double().square().sum())
    return 1 - (lost / change) ** 0.5 if change else 1.0, (change / ground) ** 0.5 if ground else 0


def _simulated(
    base: Path, tensors: Tensors, double_quant: bool, trust_remote_code: bool
) -> "dict[str, Callable[[Tensor], Tensor]]":
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    prefix = f"{model.base_model_prefix}."
    trips: dict[str, Callable[[Tensor], Tensor]] = {}
    for module in quantized_modules(model):
        name = f"{module}.weight"
        name = name if name in tensors.views else name.removeprefix(prefix)
        if name not in tensors.views:
            continue
        kind = str(tensors.views[name].dtype).removeprefix("torch.")
        settings = Nf4Settings(double_quant=double_quant, dtype=kind)
        is_turned = isinstance(model.get_submodule(module), Conv1D)
        trips[name] = partial(_trip, settings=settings, is_turned=is_turned)
    return trips


def _trip(weight: "Tensor", *, settings: Nf4Settings, is_turned: bool) -> "Tensor":
    if is_turned:
        return round_trip(weight.T.contiguous(), settings).T.contiguous()
    return round_trip(weight, settings)


def _on_disk(tensor: "Tensor", file: Path) -> "Tensor":
    """The same tensor in the pages of a file, which the system may write back and drop."""
    import torch

    mapped = torch.from_file(str(file), shared=True, size=tensor.numel(), dtype=tensor.dtype).view(
        tensor.shape
    )
    return mapped.copy_(tensor)
