"""The ways in which a correct merge may round, each as the arithmetic that reproduces it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from gate.auditing.changes import ProductKind, RowValues

if TYPE_CHECKING:
    from torch import Tensor, dtype

_DORA_UNIT = 2.0**-20
_SUM_UNIT = 2.0**-23


@dataclass(frozen=True)
class Schedule:
    """Where a merge rounds to the type of its file, besides at its end.

    Attributes:
        name: what the report calls it.
        rounds_delta: kinds of product whose delta is rounded before it is added.
        rounds_factors: whether A and B are read in that type, and DoRA works in it throughout.
        rounds_product: whether B @ A is rounded before it is scaled.
        rounds_base: whether the base is read in that type, where its own is wider.
        rounds_each: whether the sum is rounded after each of several adapters.
    """

    name: str
    rounds_delta: frozenset[ProductKind] = frozenset()
    rounds_factors: bool = False
    rounds_product: bool = False
    rounds_base: bool = False
    rounds_each: bool = False


_ALL: frozenset[ProductKind] = frozenset(("linear", "wide", "vector"))
ONE_ROUNDING = Schedule("one rounding")
_SINGLE = (
    ONE_ROUNDING,
    # peft 0.21: lora.Linear adds a float32 delta in place, lora.Embedding and lora.ParamWrapper
    # cast theirs to the weight's type before
    Schedule("peft in place", frozenset(("wide",))),
    Schedule("peft safe_merge: delta rounded, then added", frozenset(("linear", "wide"))),
    Schedule("adapter in the base's type, one rounding", rounds_factors=True),
    Schedule("adapter in the base's type, delta rounded", _ALL, rounds_factors=True),
    Schedule(
        "adapter in the base's type, each step rounded",
        _ALL,
        rounds_factors=True,
        rounds_product=True,
    ),
    Schedule("delta rounded, then added", _ALL),
)


def schedules_for(*, several: bool, narrows: bool, low_precision: bool) -> tuple[Schedule, ...]:
    """The schedules a merge may have followed, the most exact first.

    Args:
        several: whether there is more than one adapter.
        narrows: whether the file's type is narrower than the base's.
        low_precision: whether the file's type is narrower than float32.
    """
    found: tuple[Schedule, ...] = _SINGLE if low_precision else (ONE_ROUNDING,)
    if several and low_precision:
        found += tuple(
            replace(one, name=f"{one.name}, after each adapter", rounds_each=True) for one in found
        )
    if narrows:
        found += tuple(
            replace(one, name=f"base rounded first, {one.name}", rounds_base=True) for one in found
        )
    return found


class Step(NamedTuple):
    """What one adapter does to a block or to single elements, ready for arithmetic.

    Attributes:
        ground: what stands in the base's place; None for the base.
        product: left @ right; None where nothing is added.
        scale: what it is multiplied with.
        kind: the product's kind.
        factor: DoRA's magnitude over norm, broadcast to the block; None without DoRA.
        rows: rows to replace; None where there are none.
        start: the block's first row.
        weight: what the step's change is multiplied with.
    """

    ground: "Tensor | None"
    product: "Tensor | None"
    scale: float
    kind: ProductKind
    factor: "Tensor | None"
    rows: RowValues | None
    start: int
    weight: float

    @property
    def is_sum(self) -> bool:
        """Whether the step adds a product and does nothing else."""
        return self.ground is None and self.factor is None and self.rows is None


def delta(step: Step, schedule: Schedule, to: "dtype") -> "Tensor | None":
    """The product scale * left @ right, rounded as the schedule does."""
    if step.product is None:
        return None
    product = step.product
    if schedule.rounds_product:
        product = product.to(to).to(product.dtype)
    scaled = product * step.scale
    if step.kind in schedule.rounds_delta and (step.factor is None or schedule.rounds_factors):
        scaled = scaled.to(to).to(scaled.dtype)
    return scaled


def merge(
    base: "Tensor",
    steps: Sequence[Step],
    schedule: Schedule,
    to: "dtype",
    *,
    in_order: bool = False,
    nudge: int = 0,
) -> "Tensor":
    """The base with its adapters as they are before the rounding to the file's type.

    Args:
        base: float32 rows of the base, or float64 elements.
        steps: what each adapter does to them.
        schedule: where to round.
        to: the type of the file.
        in_order: whether each adapter acts on what the one before made, not on the base.
        nudge: -1 or 1 for the lowest or highest value that float32 arithmetic can come to, 0 for
            the value itself.
    """
    start = base.to(to).to(base.dtype) if schedule.rounds_base else base
    total = start
    for step in steps:
        ground = total if in_order or step.is_sum else start
        value = _applied(ground, step, schedule, to)
        if ground is total and step.weight == 1.0:
            total = value
        else:
            total = total + step.weight * (value - ground)
        if nudge and not (step.product is None and step.weight == 1.0):
            unit = _SUM_UNIT if step.factor is None else _DORA_UNIT
            total = total + nudge * unit * (total.abs() + start.abs())
        if schedule.rounds_each:
            total = total.to(to).to(total.dtype)
    return total


def _applied(ground: "Tensor", step: Step, schedule: Schedule, to: "dtype") -> "Tensor":
    value = ground
    if step.ground is not None:
        value = step.ground
        if schedule.rounds_base:
            value = value.to(to).to(value.dtype)
    added = delta(step, schedule, to)
    if added is not None:
        value = value + added
    if step.factor is not None:
        if schedule.rounds_factors:
            value = value.to(to).to(value.dtype)
        value = value * step.factor
    return value if step.rows is None else step.rows.put_into(value, step.start)
