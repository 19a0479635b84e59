"""What one tensor of a merge should hold, in row blocks of float32."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from gate.auditing.changes import Change, row_blocks
from gate.auditing.pruning import Combination, combine, kept_at_random, threshold
from gate.auditing.schedules import ONE_ROUNDING, Schedule, Step, merge

if TYPE_CHECKING:
    from torch import Tensor, dtype

_SUM_UNIT = 2.0**-22
_HALF_BYTES = 2


class BlockSum(NamedTuple):
    """A row block before its rounding: the base, what is added, and both together, in float32."""

    base: "Tensor"
    delta: "Tensor"
    total: "Tensor"


class Expectation:
    """The expected value of one tensor, from the base and the changes of all adapters."""

    def __init__(
        self,
        name: str,
        base: "Tensor",
        changes: Sequence[Change],
        to: "dtype",
        combination: Combination,
    ) -> None:
        """Nothing is computed yet.

        Args:
            name: the tensor's name in the base.
            base: (rows, columns), as it lies on disk.
            changes: at least one.
            to: the type that the file stores it in.
            combination: how the changes are combined.
        """
        self.name = name
        self.changes = tuple(changes)
        self.to = to
        self._base = base
        self.combination = combination
        self.columns = base.shape[1]
        self.rows: int = max(
            [base.shape[0], *(len(c.replacement) for c in changes if c.replacement is not None)]
        )
        self._factors: dict[tuple[int, bool, bool], Tensor] = {}
        self._steps: tuple[tuple[int, int, Schedule], list[Step]] | None = None
        self._sum: tuple[tuple[int, int], BlockSum] | None = None

    def with_changes(self, changes: Sequence[Change]) -> "Expectation":
        """The same tensor under other changes."""
        return Expectation(self.name, self._base, changes, self.to, self.combination)

    @property
    def is_resized(self) -> bool:
        """Whether it has other rows than the base's."""
        return self.rows != len(self._base)

    @property
    def is_copied(self) -> bool:
        """Whether nothing is computed: elements are the base's or an adapter's, as they are."""
        change = self.changes[0]
        return len(self.changes) == 1 and change.product is None and change.weight == 1.0

    def blocks(self) -> list[tuple[int, int]]:
        """The row ranges to go through."""
        heights = {c.product.left.shape[1] for c in self.changes if c.product is not None}
        height = min(heights) if heights and not self.is_resized else None
        return list(row_blocks(self.rows, self.columns, height))

    def forget(self) -> None:
        """Give back the memory of the last block."""
        self._steps = self._sum = None
        self._factors.clear()

    def base_block(self, start: int, stop: int) -> "Tensor":
        """Rows [start, stop) of the base in float32; zeros where it has none.

        What is computed with the base's values reads them here.
        """
        import torch

        block = self._base[start:stop].float()
        lacking = stop - start - block.shape[0]
        return block if not lacking else torch.cat([block, block.new_zeros(lacking, self.columns)])

    def block(self, start: int, stop: int) -> BlockSum:
        """Rows [start, stop) without any rounding but float32's."""
        if self._sum is None or self._sum[0] != (start, stop):
            self._sum = (start, stop), self._block_sum(start, stop)
        return self._sum[1]

    def sum_block(self, start: int, stop: int) -> "Tensor":
        """The total of `block` alone, sooner, where the file's type hides float32's last bits."""
        change = self.changes[0]
        is_one_product = len(self.changes) == 1 and self.combination.is_sum and change.is_plain
        if change.product is None or not is_one_product or self.to.itemsize > _HALF_BYTES:
            return self.block(start, stop).total
        base = self.base_block(start, stop)
        return change.product.added_to(base, start, stop, weight=change.weight)

    def _block_sum(self, start: int, stop: int) -> BlockSum:
        base = self.base_block(start, stop)
        steps = self._block_steps(start, stop, ONE_ROUNDING)
        if not self.combination.is_sum:
            deltas = [self._delta(base, step) for step in steps]
            kept = self.kept(deltas, start)
            delta = combine(deltas, kept, self.weights, self.combination)
            return BlockSum(base, delta, base + delta)
        if len(steps) == 1 and steps[0].is_sum and steps[0].product is not None:
            delta = steps[0].product * steps[0].scale
            return BlockSum(base, delta, base + delta)
        in_order = self.combination.method == "sequential"
        total = merge(base, steps, ONE_ROUNDING, self.to, in_order=in_order)
        return BlockSum(base, total - base, total)

    def rounded(self, start: int, stop: int, schedule: Schedule) -> "Tensor":
        """Rows [start, stop) as a merge by this schedule stores them."""
        if schedule == ONE_ROUNDING or not self.combination.is_sum:
            return self.block(start, stop).total.to(self.to)
        steps = self._block_steps(start, stop, schedule)
        in_order = self.combination.method == "sequential"
        base = self.base_block(start, stop)
        return merge(base, steps, schedule, self.to, in_order=in_order).to(self.to)

    def error_block(self, start: int, stop: int) -> "Tensor":
        """What float32 may be off by in rows [start, stop), before rounding; never too little."""
        total = self.block(start, stop).total
        error = total.abs() * (0.0 if self.is_copied else _SUM_UNIT)
        for number, change in enumerate(self.changes):
            if change.product is None:
                continue
            part = change.product.error_block(start, stop) * abs(
                change.product.scale * change.weight
            )
            if change.has_magnitude:
                part = part * self.factor(number, ONE_ROUNDING, start, stop).abs()
                part = part + total.abs() * 2.0**-20
            error = error + part
        return error

    def factor(
        self, number: int, schedule: Schedule, start: int = 0, stop: int | None = None
    ) -> "Tensor":
        """DoRA's magnitude / norm of one change: (rows, 1) of a range, or (1, columns)."""
        key = (number, schedule.rounds_factors, schedule.rounds_base)
        if key not in self._factors:
            self._factors[key] = self._measure_factor(number, schedule)
        factor = self._factors[key]
        return factor if factor.shape[0] == 1 and self.rows > 1 else factor[start:stop]

    def deltas(self, start: int, stop: int) -> "list[Tensor]":
        """What each adapter alone adds to rows [start, stop), unweighted."""
        base = self.base_block(start, stop)
        steps = self._block_steps(start, stop, ONE_ROUNDING)
        return [self._delta(base, step) for step in steps]

    def kept(self, deltas: "Sequence[Tensor]", start: int) -> "list[Tensor]":
        """Which elements of each delta pruning keeps, for a block of rows from `start` on."""
        import torch

        if self.combination.density >= 1.0:
            return [torch.ones_like(one, dtype=torch.bool) for one in deltas]
        if self.combination.by_magnitude:
            bounds = self.thresholds
            return [one.abs() >= bound for one, bound in zip(deltas, bounds, strict=True)]
        first = start * self.columns
        return [
            kept_at_random(
                self.combination, change.adapter, self.name, first, first + one.numel()
            ).view(one.shape)
            for change, one in zip(self.changes, deltas, strict=True)
        ]

    @cached_property
    def thresholds(self) -> list[float]:
        """The smallest magnitude of each delta that magnitude pruning keeps."""

        def blocks_of(number: int) -> "Iterator[Tensor]":
            for start, stop in self.blocks():
                yield self.deltas(start, stop)[number]

        density, count = self.combination.density, self.rows * self.columns
        return [
            threshold(partial(blocks_of, number), count, density)
            for number in range(len(self.changes))
        ]

    @property
    def weights(self) -> list[float]:
        """The weight of each change."""
        return [change.weight for change in self.changes]

    def _delta(self, base: "Tensor", step: Step) -> "Tensor":
        if step.is_sum and step.product is not None:
            return step.product * step.scale
        return merge(base, [step._replace(weight=1.0)], ONE_ROUNDING, self.to) - base

    def _block_steps(self, start: int, stop: int, schedule: Schedule) -> list[Step]:
        key = (start, stop, schedule)
        if self._steps is None or self._steps[0] != key:
            steps = [
                self._step(number, change, start, stop, schedule)
                for number, change in enumerate(self.changes)
            ]
            self._steps = (key, steps)
        return self._steps[1]

    def _step(self, number: int, change: Change, start: int, stop: int, schedule: Schedule) -> Step:
        low = self.to if schedule.rounds_factors else None
        product, ground = change.product, change.replacement
        folds = self.combination.is_sum and change.is_plain
        return Step(
            ground=None if ground is None else ground[start:stop].float(),
            product=None if product is None else product.block(start, stop, low),
            scale=1.0 if product is None else product.scale * (change.weight if folds else 1.0),
            kind="linear" if product is None else product.kind,
            factor=self.factor(number, schedule, start, stop) if change.has_magnitude else None,
            rows=change.rows,
            start=start,
            weight=1.0 if folds else change.weight,
        )

    def _measure_factor(self, number: int, schedule: Schedule) -> "Tensor":
        """The factor of each output feature, magnitude / ||W + delta||.

        Agrees with equation 5 of arXiv:2402.09353.
        """
        import torch

        change = self.changes[number]
        product = change.product
        if product is None or product.magnitude is None:
            raise ValueError(f"{self.name}: no magnitude")
        plain = replace(change, product=replace(product, magnitude=None), rows=None, weight=1.0)
        low = schedule.rounds_factors
        squares = []
        for start, stop in self.blocks():
            step = self._step(number, plain, start, stop, schedule)
            total = merge(self.base_block(start, stop), [step], schedule, self.to)
            total = total.to(self.to) if low else total
            squares.append(total.double().square().sum(1 if product.outputs_are_rows else 0))
        joined = torch.cat(squares) if product.outputs_are_rows else torch.stack(squares).sum(0)
        norm, magnitude = joined.sqrt(), product.magnitude.flatten().double()
        if low:
            norm, magnitude = norm.to(self.to).double(), magnitude.to(self.to).double()
        factor = (magnitude / norm).to(self.to if low else torch.float32).float()
        return factor[:, None] if product.outputs_are_rows else factor[None, :]
