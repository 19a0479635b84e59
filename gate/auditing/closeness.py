"""How close a stored tensor is to the merged model's, against what its format can have.

The bound. A format that gives each block of n weights one scale and b bits has steps of at most
2 * max|w| / (2^b - 1); rounding to the nearest of equally likely places leaves a root mean square
error of step / sqrt(12) a weight (Widrow and Kollar, Quantization Noise, 2008, chapter 4). A row
may be at twice that, which leaves room for codes that are not evenly spaced (NF4, FP4) and for
scales that are themselves rounded (K types). No row may be further away than zeros would be where
the format holds zero, and no tensor in any format: rows in each other's place are 1.41 times their
norm away. Of real, heavy-tailed, sparse, shifted and badly scaled weights in 15 formats, none
used more than 0.86 of the bound. What it does not find: rows swapped in a 2-bit tensor that is
mostly zeros. Types that round each weight on its own have one step of it for their bound.

GPTQ and importance matrices put a row's errors where the data does not look, and no bound holds
for them: of SmolLM2-135M's 155,520 rows in GPTQ's 4 bits, 327 lay beyond it, two at 2.5 times
their norm; of Q4_K_M with a matrix, 7. Where the scales prove that they are this tensor's, or a
matrix was used, such a row has to be its own and no more: its coefficient of least squares on the
merged model's is in 1/2 to 3/2 (seen: 0.72 to 1.10; rows in each other's place have 0). A warning
tells of those that are further away than zeros would be.

The share of the change. Of s stored, m merged and b base, with d = m - b, the least-squares
coefficient <s - b, d> / <d, d> is 1 where s holds the merged model and 0 where it holds the base,
whatever rounding did to both; below 1/2 s is nearer to the base. Its standard error is White's
(Econometrica 48, 1980), sqrt(sum e^2 d^2) / <d, d> with e the residuals, so that a change far
below the rounding is called unknown, not lost.
"""

from collections.abc import Iterator
from math import inf, prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

from gate.audit_records import QuantizedTensor

if TYPE_CHECKING:
    from torch import Tensor

_ROOM = 2.0
_ZERO_ROOM = 1.1  # of the squared norm, for the rounding of the scales themselves
_CHUNK = 1 << 22
_CERTAIN = 5.0
_HALF = 0.5
_NONE_LEFT = 0.05


class Grid(NamedTuple):
    """Which values a format can hold, and so how far from a weight it may be.

    Attributes:
        bits: bits of each weight's place in its block; None where each weight is rounded alone.
        block: weights in a row that share a scale; 0 where the whole tensor does.
        relative: for weights rounded alone, the largest error over the weight.
        floor: an error that the format's smallest numbers allow any weight.
        has_zero: whether each block can hold zero; not so where it has a minimum of its own.
        is_compensated: whether a row's errors make up for each other, and may so be larger.
    """

    bits: int | None = None
    block: int = 0
    relative: float = 0.0
    floor: float = 0.0
    has_zero: bool = True
    is_compensated: bool = False


ANY = Grid(relative=1.0)
"""A grid that nothing is known of, but that it is no worse than zeros."""

REPRODUCED = Grid(relative=inf)
"""The grid of a tensor that was recomputed bit for bit, however coarse it is."""


ROUNDED_ALONE = {
    "F64": Grid(),
    "F32": Grid(relative=2**-23),
    "F16": Grid(relative=2**-10, floor=2**-24),
    "BF16": Grid(relative=2**-7),
}
"""The grids of the types that round each weight on its own."""


class Pair(NamedTuple):
    """A stored tensor, dequantized, beside what it was made from, in one layout.

    Attributes:
        name: its name in the merged checkpoint.
        type: the format's word for how it is stored.
        size_bytes: bytes stored for it, scales included.
        grid: what the format can hold.
        stored: the dequantized tensor.
        merged: the merged model's tensor, in the same shape.
        base: the base model's; None where it has none of that shape.
        is_plain: whether it is stored as ordinary floats, each the merged model's one rounded.
    """

    name: str
    type: str
    size_bytes: int
    grid: Grid
    stored: "Tensor"
    merged: "Tensor"
    base: "Tensor | None"
    is_plain: bool = False


class Kept(NamedTuple):
    """Sums over weights from which the share of the adapters' change follows.

    With d the change and r = stored - base, weight by weight.

    Attributes:
        change: sum of d^2.
        along: sum of r * d.
        r2d2: sum of r^2 * d^2.
        rd3: sum of r * d^3.
        d4: sum of d^4.
    """

    change: float = 0.0
    along: float = 0.0
    r2d2: float = 0.0
    rd3: float = 0.0
    d4: float = 0.0

    def plus(self, other: "Kept") -> "Kept":
        """The sums over both sets of weights."""
        return Kept(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def share(self) -> float:
        """The share of the change that is there: 1 for all, 0 for the base; 1 where none was."""
        return self.along / self.change if self.change else 1.0

    @property
    def standard_error(self) -> float:
        """The share's standard error, by the rounding of each weight; 0 where no change was."""
        squares = self.r2d2 - 2 * self.share * self.rd3 + self.share**2 * self.d4
        return sqrt(max(0.0, squares)) / self.change if self.change else 0.0

    @property
    def is_known(self) -> bool:
        """Whether the share tells the merged model from the base through the rounding."""
        return bool(self.change) and _CERTAIN * self.standard_error <= _HALF

    @property
    def is_base(self) -> bool:
        """Whether nothing is left of the change."""
        return self.is_known and abs(self.share) <= _NONE_LEFT + 3 * self.standard_error

    @property
    def is_mostly_lost(self) -> bool:
        """Whether less than half of the change is left."""
        return self.is_known and self.share < _HALF


class Closeness(NamedTuple):
    """What was measured of a pair.

    Attributes:
        entry: the record's entry; None where the stored tensor is not finite.
        kept: the sums of the change.
        fault: what is wrong, in a sentence; empty where nothing is.
        beyond_zeros: rows that make up for errors and are further away than zeros would be.
    """

    entry: QuantizedTensor | None
    kept: Kept
    fault: str = ""
    beyond_zeros: int = 0


def measure(pair: Pair) -> Closeness:
    """Compare a pair row by row, some rows at a time."""
    error = norm = 0.0
    rows = far = beyond_zeros = 0
    kept = Kept()
    peak = float(pair.merged.abs().max()) if pair.merged.numel() else 0.0
    for stored, merged, base in _chunks(pair):
        if not bool(stored.isfinite().all()):
            return Closeness(None, Kept(), f"{pair.name}: not finite, stored as {pair.type}")
        errors = _squares(stored - merged)
        are_far = errors > _allowed(pair.grid, merged, peak)
        if pair.grid.is_compensated:
            are_own = _are_own(stored, merged)
            beyond_zeros += int((are_own & (errors > _squares(merged))).sum())
            are_far &= ~are_own
        far += int(are_far.sum())
        rows += len(merged)
        error += float(errors.sum())
        norm += float(_squares(merged).sum())
        if base is not None:
            kept = kept.plus(_project(stored, merged, base))
    relative = sqrt(error / norm) if norm else sqrt(error)
    entry = QuantizedTensor(
        tensor=pair.name,
        type=pair.type,
        bits_per_weight=8 * pair.size_bytes / max(1, prod(pair.merged.shape)),
        relative_error=relative,
    )
    return Closeness(entry, kept, _describe(pair, far, rows, relative), beyond_zeros)


def _chunks(pair: Pair) -> "Iterator[tuple[Tensor, Tensor, Tensor | None]]":
    """Rows of the three tensors, in float32."""
    width = pair.merged.shape[-1] if pair.merged.dim() else 1
    whole = max(1, pair.grid.block)  # so many rows are whole blocks
    count = whole * max(1, _CHUNK // max(1, width * whole))
    tensors = [pair.stored, pair.merged] + ([] if pair.base is None else [pair.base])
    if not pair.merged.numel():
        return
    for rows in zip(*(tensor.reshape(-1, width).split(count) for tensor in tensors), strict=True):
        stored, merged, *base = (part.float() for part in rows)
        yield stored, merged, base[0] if base else None


def _allowed(grid: Grid, merged: "Tensor", peak: float) -> "Tensor":
    """The squared error that each row may have."""
    norms = _squares(merged)
    width = merged.shape[1]
    if grid.bits is None:
        return norms * grid.relative**2 + width * grid.floor**2
    step = 2 / (2**grid.bits - 1)  # of a block whose largest weight is 1
    rounding = _squares(_peaks(grid, merged, peak)) * (_ROOM * step) ** 2 / 12
    most = rounding.minimum(_ZERO_ROOM * norms) if grid.has_zero else rounding
    return most + width * grid.floor**2


def _are_own(stored: "Tensor", merged: "Tensor") -> "Tensor":
    """Which rows are the merged model's with something added, however far it takes them."""
    import torch

    norms = _squares(merged)
    along = (stored * merged).sum(dim=1, dtype=torch.float64)
    return (along - norms).abs() <= _HALF * norms


def _squares(rows: "Tensor") -> "Tensor":
    """The squared norm of each row, in float64."""
    import torch

    return rows.square().sum(dim=1, dtype=torch.float64)


def _peaks(grid: Grid, merged: "Tensor", peak: float) -> "Tensor":
    """The largest weight of each weight's block; blocks run on over the ends of rows."""
    import torch

    if not grid.block:
        return torch.full_like(merged, peak)
    flat = merged.abs().reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % grid.block)).view(-1, grid.block)
    spread = padded.amax(dim=1, keepdim=True).expand(-1, grid.block)
    return spread.reshape(-1)[: len(flat)].view(merged.shape)


def _project(stored: "Tensor", merged: "Tensor", base: "Tensor") -> Kept:
    if merged.equal(base):
        return Kept()
    change = merged - base
    product = (stored - base) * change
    squares = change.square()
    return Kept(
        change=_sum(squares),
        along=_sum(product),
        r2d2=_sum(product.square()),
        rd3=_sum(product * squares),
        d4=_sum(squares.square()),
    )


def _sum(tensor: "Tensor") -> float:
    import torch

    return float(tensor.sum(dtype=torch.float64))


def _describe(pair: Pair, far: int, rows: int, relative: float) -> str:
    error = f"relative error {relative:.3g}"
    if far:
        where = f"{far} of its {rows} rows are" if rows > 1 else "it is"
        return (
            f"{pair.name}: {where} further from the merged model's than {pair.type} can put "
            f"them: {error}"
        )
    if relative > 1.0 and pair.grid != REPRODUCED:
        return f"{pair.name}: further from the merged model's than zeros would be: {error}"
    return ""
