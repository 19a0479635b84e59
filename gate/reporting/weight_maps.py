"""Audits as maps of layers by modules: what a merge kept, and what a quantization left out."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from gate.audit_records import ArtifactAudit, Audit, TensorAudit
from gate.records import Record
from gate.reporting.tensor_places import TensorPlace, module_order, place_of, short_names

LOST_STEPS = (0.05, 0.1, 0.2, 0.35, 0.5)
"""Shares of a merge's change that are lost, at which a map's colour changes."""

ERROR_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Relative errors of a quantized tensor at which a map's colour changes."""

State = Literal["measured", "not measured", "wrong"]


class Finding(NamedTuple):
    """What an audit says of one tensor.

    Attributes:
        tensor: its name.
        loss: share of the change that is lost, or relative error; None where not measured.
        state: whether it was measured, and is right.
    """

    tensor: str
    loss: float | None
    state: State


class Run(NamedTuple):
    """Neighbouring layers of a module whose worst tensors have one colour.

    Attributes:
        first: the first of the layers; None outside layers.
        last: the last of them.
        step: the colour, from 0 for the least loss; None where not measured.
        state: of the worst tensors.
        least: the least loss of a layer's worst tensor; None where not measured.
        worst: the greatest.
        tensor: the tensor with it.
        tensors: how many tensors there are in these layers.
    """

    first: int | None
    last: int | None
    step: int | None
    state: State
    least: float | None
    worst: float | None
    tensor: str
    tensors: int


class ModuleRow(NamedTuple):
    """A module of a model, or a tensor outside its layers.

    Attributes:
        name: the module's.
        stack: the stack of layers it is in; empty outside them.
        layers: how many there are in the stack; 0 outside them.
        runs: what was found in its layers; gaps are layers that have nothing to be measured.
    """

    name: str
    stack: str
    layers: int
    runs: tuple[Run, ...]


class WeightMap(NamedTuple):
    """An audit of one artifact.

    Attributes:
        label: the stage that was audited: 'merge merged', 'quantize q8_0'.
        of: which of the two.
        rows: modules in which anything was lost or is not known.
        least: the least loss that was measured; None where nothing was.
        worst: the greatest.
        exact: tensors without any loss, or that nothing was to be added to.
        error: why the audit could not be done; None where it was.
    """

    label: str
    of: Literal["merge", "quantize"]
    rows: tuple[ModuleRow, ...]
    least: float | None
    worst: float | None
    exact: int
    error: str | None


def weight_maps(record: Record) -> tuple[WeightMap, ...]:
    """A map for each audit of the record, in its order."""
    places = {
        tensor: place_of(tensor)
        for one in record.audits
        if one.audit
        for tensor in _names(one.audit)
    }
    return tuple(_map(one, places) for one in record.audits)


def _names(audit: Audit) -> Iterator[str]:
    yield from (one.tensor for one in audit.tensors)
    yield from (one.tensor for one in audit.quantized)


def _map(one: ArtifactAudit, places: Mapping[str, TensorPlace]) -> WeightMap:
    label = one.label.removeprefix("audit ")
    if one.audit is None:
        return WeightMap(label, one.of, (), None, None, 0, one.error or "")
    steps = LOST_STEPS if one.of == "merge" else ERROR_STEPS
    findings = dict(_findings(one, places))
    losses = [found.loss for found in findings.values() if found and found.loss is not None]
    exact = sum(found is None or found.loss == 0.0 for found in findings.values())
    rows = tuple(_rows(findings, places, steps))
    least, worst = min(losses, default=None), max(losses, default=None)
    return WeightMap(label, one.of, rows, least, worst, exact, None)


def _findings(
    one: ArtifactAudit, places: Mapping[str, TensorPlace]
) -> Iterator[tuple[str, Finding | None]]:
    """What was found of every tensor that any audit names; None where nothing was to be found."""
    audit = one.audit or Audit()
    if one.of == "merge":
        merged = {each.tensor: _merged(each) for each in audit.tensors}
        yield from ((name, merged.get(name)) for name in places)
        return
    errors = {each.tensor: each.relative_error for each in audit.quantized}
    for name in places:
        loss = errors.get(name)
        yield name, Finding(name, loss, "not measured" if loss is None else "measured")


def _merged(one: TensorAudit) -> Finding | None:
    if one.outcome in ("wrong", "missing", "extra", "not representable"):
        loss = None if one.kept_share is None else 1.0 - one.kept_share
        return Finding(one.tensor, loss, "wrong")
    if one.delta_share is None:
        return None
    if one.kept_share is None:
        return Finding(one.tensor, None, "not measured")
    return Finding(one.tensor, max(0.0, 1.0 - one.kept_share), "measured")


def _rows(
    findings: Mapping[str, Finding | None],
    places: Mapping[str, TensorPlace],
    steps: Sequence[float],
) -> Iterator[ModuleRow]:
    """Rows in the order of a model: before the layers, the layers' modules, after them."""
    grouped: dict[tuple[str, str], dict[int | None, list[Finding]]] = defaultdict(dict)
    for tensor, found in findings.items():
        place = places[tensor]
        if found is not None:
            layers = grouped[place.stack, place.module]
            layers.setdefault(place.layer, []).append(found)
    named = short_names(tuple(dict.fromkeys(module for _, module in grouped)))
    depths = _depths(places.values())
    for stack, module in sorted(grouped, key=_row_order):
        layers = grouped[stack, module]
        if any(one.state != "measured" or one.loss for found in layers.values() for one in found):
            runs = tuple(_runs(layers, steps))
            yield ModuleRow(named[module], stack, depths.get(stack, 0), runs)


def _row_order(key: tuple[str, str]) -> tuple[int, str, int]:
    stack, module = key
    if not stack:
        return (0 if "embed" in module or "embd" in module else 2), "", 0
    return 1, stack, module_order(module)


def _depths(places: Iterable[TensorPlace]) -> dict[str, int]:
    """{stack: how many layers it has}."""
    depths: dict[str, int] = {}
    for place in places:
        if place.layer is not None:
            depths[place.stack] = max(depths.get(place.stack, 0), place.layer + 1)
    return depths


def _runs(layers: Mapping[int | None, Sequence[Finding]], steps: Sequence[float]) -> Iterator[Run]:
    """The layers in their order, those that look the same and stand side by side as one."""
    order = sorted(layers, key=lambda layer: -1 if layer is None else layer)
    cells = [(layer, max(layers[layer], key=_badness)) for layer in order]

    def looks(item: tuple[int, tuple[int | None, Finding]]) -> tuple[int, State, int | None]:
        number, (layer, found) = item
        step = None if found.loss is None else bisect_left(steps, found.loss)
        return (layer or 0) - number, found.state, step

    for (_, state, step), items in groupby(enumerate(cells), key=looks):
        run = [cell for _, cell in items]
        worst = max((found for _, found in run), key=_badness)
        losses = [found.loss for _, found in run if found.loss is not None]
        yield Run(
            first=run[0][0],
            last=run[-1][0],
            step=step,
            state=state,
            least=min(losses, default=None),
            worst=worst.loss,
            tensor=worst.tensor,
            tensors=sum(len(layers[layer]) for layer, _ in run),
        )


def _badness(found: Finding) -> tuple[int, float]:
    """What is wrong is worse than what is not known, and that than any loss."""
    order = ("measured", "not measured", "wrong")
    return order.index(found.state), found.loss or 0.0
