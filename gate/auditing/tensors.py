"""The audit of one tensor: which schedule reproduces it, else how far off it is and why."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gate.auditing.elements import Picked, allows
from gate.auditing.expected import Expectation
from gate.auditing.schedules import ONE_ROUNDING, Schedule

if TYPE_CHECKING:
    from torch import Tensor, dtype

_CHUNK = 4096
_MANY = 0.01
_FEW = 0.05
_SAMPLE_BLOCKS = 8
_WORD_BYTES = 8
_MEASURED = 4
"""Of so many row blocks, one is measured for the norms of what was added and lost."""


class Block(NamedTuple):
    """A row block of the file and where it lies."""

    start: int
    stop: int
    found: "Tensor"


@dataclass
class Survey:
    """What one reading of a tensor found, against the once-rounded sum.

    Attributes:
        base_square: ||W||^2.
        delta_square: ||delta||^2.
        residual_square: ||found - (W + delta)||^2.
        differing: elements that are not bit for bit the once-rounded sum.
        beyond: elements that are off by more than one unit in the last place.
        beyond_rows: rows with such elements.
        not_finite: elements that are NaN or infinite in the file.
        overflowing: elements whose expected value is not finite in the file's type.
        from_base: elements that are not the base's, in the file's type.
        towards: differing elements that lie further along the change than they should.
        against: differing elements that fall short of it.
        product: <found - W, delta>.
        rounded_product: <once-rounded sum - W, delta>.
        change_square: ||found - W||^2.
        elements: how many were looked at.
        is_sampled: whether those are not all there are.
    """

    base_square: float = 0.0
    delta_square: float = 0.0
    residual_square: float = 0.0
    differing: int = 0
    beyond: int = 0
    beyond_rows: int = 0
    not_finite: int = 0
    overflowing: int = 0
    from_base: int = 0
    towards: int = 0
    against: int = 0
    product: float = 0.0
    rounded_product: float = 0.0
    change_square: float = 0.0
    elements: int = 0
    is_sampled: bool = False

    @property
    def strength(self) -> float:
        """How many times the change is in the file, against the once-rounded sum.

        Not against the change itself: rounding shortens small ones.
        """
        return self.product / self.rounded_product if self.rounded_product else 0.0

    @property
    def misfit(self) -> float:
        """||found - W - strength * delta|| / ||found - W||: 0 where that multiple is all of it."""
        if not self.change_square:
            return 0.0
        left = self.change_square - self.product**2 / (self.delta_square or math.inf)
        return float((max(left, 0.0) / self.change_square) ** 0.5)

    @property
    def delta_share(self) -> float | None:
        """||delta|| / ||W||, None where the base is zero."""
        return (self.delta_square / self.base_square) ** 0.5 if self.base_square else None

    @property
    def kept_share(self) -> float | None:
        """1 - ||found - (W + delta)|| / ||delta||, None where there is no change."""
        if not self.delta_square:
            return None
        return float(1 - (self.residual_square / self.delta_square) ** 0.5)


class Reading(NamedTuple):
    """What a first reading gave: the measures, and whether the schedule tried gives the tensor."""

    survey: Survey
    is_given: bool


def file_blocks(expectation: Expectation, found: "Tensor") -> "Iterable[Block]":
    """The row blocks of a tensor as found."""
    for start, stop in expectation.blocks():
        yield Block(start, stop, found[start:stop])


def reproduces(expectation: Expectation, found: "Tensor", schedule: Schedule) -> bool:
    """Whether the schedule gives the whole tensor, up to the order in which float32 sums."""
    return all(
        _block_is_reproduced(expectation, block, schedule)
        for block in file_blocks(expectation, found)
    )


def first_schedule(
    expectation: Expectation, found: "Tensor", schedules: Sequence[Schedule]
) -> tuple[Schedule | None, list[Schedule]]:
    """The first schedule that gives the tensor, and those that were seen not to."""
    failed: list[Schedule] = []
    for schedule in schedules:
        if reproduces(expectation, found, schedule):
            return schedule, failed
        failed.append(schedule)
    return None, failed


def read(expectation: Expectation, found: "Tensor", leader: Schedule) -> Reading:
    """Read a tensor once: compare all of it with a schedule, and measure every fourth block."""
    survey, is_given = Survey(), True
    for number, block in enumerate(file_blocks(expectation, found)):
        if number % _MEASURED == 0:
            differing = _add_block(survey, expectation, block)
        else:
            differing = _add_unmeasured(survey, expectation, block)
        if is_given and (differing or leader != ONE_ROUNDING):
            is_given = _block_is_reproduced(expectation, block, leader)
    return Reading(survey, is_given)


def look_closely(expectation: Expectation, found: "Tensor") -> Survey:
    """Read a tensor that no schedule gives again, and measure what explains it.

    Where most of it is wrong, a sample of it says why; single elements are counted.
    """
    few = sample(expectation.blocks(), _SAMPLE_BLOCKS)
    survey = _close_survey(expectation, found, few)
    is_countable = (
        survey.not_finite or survey.overflowing or survey.beyond <= _FEW * survey.elements
    )
    if is_countable and len(few) < len(expectation.blocks()):
        return _close_survey(expectation, found, expectation.blocks())
    survey.is_sampled = len(few) < len(expectation.blocks())
    return survey


def sample(blocks: Sequence[tuple[int, int]], count: int) -> Sequence[tuple[int, int]]:
    """Some of the row ranges, evenly spread; all of them where they are few."""
    return blocks[:: max(1, len(blocks) // count)]


def _close_survey(
    expectation: Expectation, found: "Tensor", blocks: Sequence[tuple[int, int]]
) -> Survey:
    survey = Survey()
    for start, stop in blocks:
        block = Block(start, stop, found[start:stop])
        _add_block(survey, expectation, block)
        _add_close_look(survey, expectation, block)
    return survey


def _add_block(survey: Survey, expectation: Expectation, block: Block) -> int:
    """Add a block's measures; gives how many of its elements are not the once-rounded sum."""
    import torch

    base, delta, total = expectation.block(block.start, block.stop)
    rounded = total.to(expectation.to)
    # not found - total: float32 would round a small change away
    residual = block.found.to(torch.float32, copy=True).sub_(base).sub_(delta)
    survey.elements += rounded.numel()
    survey.base_square += _square(base)
    survey.delta_square += _square(delta)
    survey.residual_square += _square(residual)
    if same_bits(rounded, block.found):
        return 0
    differing: int = rounded.numel() - int((rounded == block.found).sum())
    survey.differing += differing
    return differing


def _add_unmeasured(survey: Survey, expectation: Expectation, block: Block) -> int:
    """Compare a block with the once-rounded sum, bit for bit, and measure no norms."""
    total = expectation.sum_block(block.start, block.stop)
    rounded = total.to(expectation.to)
    if not math.isfinite(_square(total)):
        survey.residual_square = math.inf
    if same_bits(rounded, block.found):
        return 0
    differing: int = rounded.numel() - int((rounded == block.found).sum())
    survey.differing += differing
    return differing


def _add_close_look(survey: Survey, expectation: Expectation, block: Block) -> None:
    import torch

    base, delta, total = expectation.block(block.start, block.stop)
    rounded, found = total.to(expectation.to), block.found
    finite = torch.isfinite(found)
    survey.not_finite += int((~finite).sum())
    survey.overflowing += int((~torch.isfinite(rounded) & torch.isfinite(total)).sum())
    survey.from_base += int((base.to(expectation.to) != found).sum())
    differs = rounded != found
    off = (found.double() - rounded.double()).abs()
    allowed = _last_place(torch.maximum(rounded.float().abs(), delta.abs()), expectation.to)
    if expectation.to.itemsize >= torch.float32.itemsize:
        error = expectation.error_block(block.start, block.stop)
        differs &= (found.float() - total).abs() > error
        allowed = allowed + error.double()
    beyond = differs if expectation.is_copied else ~(off <= allowed)
    survey.beyond += int(beyond.sum())
    survey.beyond_rows += int(beyond.any(1).sum())
    lean = torch.sign((found.double() - rounded.double()) * delta.double())[differs]
    survey.towards += int((lean > 0).sum())
    survey.against += int((lean < 0).sum())
    change = torch.where(finite, found.double() - base.double(), 0.0)
    survey.product += float((change * delta).sum())
    survey.change_square += float(change.square().sum())
    survey.rounded_product += float(((rounded.double() - base.double()) * delta).sum())


def _last_place(values: "Tensor", kind: "dtype") -> "Tensor":
    """One unit in the last place of values, in a type."""
    import torch

    limits = torch.finfo(kind)
    exponents = torch.frexp(values.double()).exponent.double() - 1
    return (torch.exp2(exponents) * limits.eps).clamp(min=limits.smallest_normal * limits.eps)


def same_bits(one: "Tensor", other: "Tensor") -> bool:
    """Whether two tensors of a type and shape hold the same bytes; NaN equals nothing else."""
    import torch

    ours, theirs = (
        part.contiguous().reshape(-1).view(torch.uint8).numpy() for part in (one, other)
    )
    whole = len(ours) - len(ours) % _WORD_BYTES
    # eight bytes at a time: eight times faster than torch.equal of 16-bit elements
    words = ours[:whole].view(np.int64) == theirs[:whole].view(np.int64)
    return bool(words.all()) and bool((ours[whole:] == theirs[whole:]).all())


def _square(block: "Tensor") -> float:
    import torch

    flat = block.reshape(-1)
    return float(torch.dot(flat, flat))


def _block_is_reproduced(expectation: Expectation, block: Block, schedule: Schedule) -> bool:
    import torch

    expected = expectation.rounded(block.start, block.stop, schedule)
    differs = expected != block.found
    count = int(differs.sum())
    if not count:
        return True
    if expected.dtype == torch.float32 and count > _MANY * expected.numel():
        # float32 sums of another order differ nearly everywhere, within a known error
        total = expectation.block(block.start, block.stop).total
        error = expectation.error_block(block.start, block.stop)
        differs &= ~((block.found - total).abs() <= error)
    rows, columns = differs.nonzero(as_tuple=True)
    span = block.start, block.stop
    for first in range(0, len(rows), _CHUNK):
        row, column = rows[first : first + _CHUNK], columns[first : first + _CHUNK]
        picked = Picked(row + block.start, column, block.found[row, column], span)
        if not bool(allows(expectation, picked, schedule).all()):
            return False
    return True
