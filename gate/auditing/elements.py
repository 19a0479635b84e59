"""Single elements of a merge in float64: whether what was found is what float32 may come to."""

from typing import TYPE_CHECKING, NamedTuple

from gate.auditing.changes import Elements
from gate.auditing.expected import Expectation
from gate.auditing.pruning import Doubtful, alternatives
from gate.auditing.schedules import ONE_ROUNDING, Schedule, Step, merge

if TYPE_CHECKING:
    from torch import Tensor

_UNIT = 2.0**-22
_TIES = 4


class Picked(NamedTuple):
    """Some elements of a file, all of one row block.

    Attributes:
        rows: row of each element.
        columns: column of each element.
        found: their values in the file.
        block: the row range that all of them are in.
    """

    rows: "Tensor"
    columns: "Tensor"
    found: "Tensor"
    block: tuple[int, int]


def allows(expectation: Expectation, picked: Picked, schedule: Schedule) -> "Tensor":
    """Which elements are what the schedule gives, in whatever order float32 sums the products."""
    base = _base(expectation, picked)
    products = [
        None
        if change.product is None
        else change.product.elements(
            picked.rows, picked.columns, expectation.to if schedule.rounds_factors else None
        )
        for change in expectation.changes
    ]
    if not expectation.combination.is_sum:
        return _pruned_allows(expectation, base, products, picked)
    in_order = expectation.combination.method == "sequential"
    ends = []
    for nudge in (-1, 1):
        steps = [
            _step(expectation, number, product, picked, schedule, nudge=nudge)
            for number, product in enumerate(products)
        ]
        total = merge(base, steps, schedule, expectation.to, in_order=in_order, nudge=nudge)
        ends.append(total.to(expectation.to).double())
    return _is_between(picked.found, ends[0], ends[1])


def _base(expectation: Expectation, picked: Picked) -> "Tensor":
    start, stop = picked.block
    return expectation.base_block(start, stop)[picked.rows - start, picked.columns].double()


def _step(
    expectation: Expectation,
    number: int,
    product: Elements | None,
    picked: Picked,
    schedule: Schedule,
    *,
    nudge: int = 0,
) -> Step:
    change = expectation.changes[number]
    folds = expectation.combination.is_sum and change.is_plain
    scale = 1.0 if change.product is None else change.product.scale
    scale = scale * change.weight if folds else scale
    value = None
    if product is not None:
        value = product.values + (nudge if scale > 0 else -nudge) * product.errors
    ground = change.replacement
    step = Step(
        ground=None if ground is None else ground[picked.rows, picked.columns].double(),
        product=value,
        scale=scale,
        kind="linear" if change.product is None else change.product.kind,
        factor=None,
        rows=None,
        start=0,
        weight=1.0 if folds else change.weight,
    )
    if change.has_magnitude:
        factor = expectation.factor(number, schedule).double()
        by_row = factor.shape[1] == 1
        picks = factor[picked.rows, 0] if by_row else factor[0, picked.columns]
        step = step._replace(factor=picks)
    return _with_rows(expectation, number, step, picked)


def _with_rows(expectation: Expectation, number: int, step: Step, picked: Picked) -> Step:
    """The step with replaced rows as its ground, where elements are in some."""
    import torch

    replaced = expectation.changes[number].rows
    if replaced is None:
        return step
    numbers, rows = replaced.numbers, picked.rows
    place = torch.searchsorted(numbers, rows).clamp(max=len(numbers) - 1)
    inside = numbers[place] == rows
    if not bool(inside.any()):
        return step
    values = replaced.values[place, picked.columns].double()
    ground = step.ground
    if ground is None:
        ground = _base(expectation, picked)
    return step._replace(
        ground=torch.where(inside, values, ground),
        product=None if step.product is None else step.product * ~inside,
    )


def _pruned_allows(
    expectation: Expectation, base: "Tensor", products: "list[Elements | None]", picked: Picked
) -> "Tensor":
    import torch

    deltas, errors = [], []
    for number, product in enumerate(products):
        step = _step(expectation, number, product, picked, ONE_ROUNDING)._replace(weight=1.0)
        delta = merge(base, [step], ONE_ROUNDING, expectation.to) - base
        error = delta.abs() * _UNIT + (0 if step.is_sum else base.abs() * _UNIT)
        if product is not None:
            factor = 1.0 if step.factor is None else step.factor.abs()
            error = error + product.errors * abs(step.scale) * factor
        deltas.append(delta)
        errors.append(error)
    kept, is_sure = _kept(expectation, deltas, errors, picked)
    is_allowed = torch.zeros_like(picked.rows, dtype=torch.bool)
    for value, error, possible in alternatives(
        Doubtful(deltas, errors, kept, is_sure), expectation.weights, expectation.combination
    ):
        slack = error + (base.abs() + value.abs()) * _UNIT
        ends = [(base + value + way * slack).to(expectation.to).double() for way in (-1, 1)]
        is_allowed |= possible & _is_between(picked.found, ends[0], ends[1])
    return is_allowed


def _kept(
    expectation: Expectation, deltas: "list[Tensor]", errors: "list[Tensor]", picked: Picked
) -> "tuple[list[Tensor], list[Tensor]]":
    """What pruning keeps of each delta, and where that does not hang on the last bits."""
    import torch

    sure = [torch.ones_like(picked.rows, dtype=torch.bool) for _ in deltas]
    if expectation.combination.density >= 1.0:
        return list(sure), sure
    start, stop = picked.block
    masks = expectation.kept(expectation.deltas(start, stop), start)
    kept = [mask[picked.rows - start, picked.columns] for mask in masks]
    if expectation.combination.by_magnitude:
        sure = [
            (one.abs() - bound).abs() > _TIES * error
            for one, bound, error in zip(deltas, expectation.thresholds, errors, strict=True)
        ]
    return kept, sure


def _is_between(found: "Tensor", one: "Tensor", other: "Tensor") -> "Tensor":
    import torch

    value = found.double()
    return (value >= torch.minimum(one, other)) & (value <= torch.maximum(one, other))
