"""Divergences over tokens as lines from the least to the most, with what bounds their means."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from gate.comparisons import kl
from gate.distribution_records import Distribution
from gate.records import Record
from gate.reporting.distribution_views import estimate_of
from gate.result_records import CheckResult, Estimate, Outcome

_MOST_LINES = 10
_FLOOR = 1e-6
"""Nats below which a divergence is not told from none."""


class Line(NamedTuple):
    """One candidate against one reference on one text.

    Attributes:
        found: the distribution it is of.
        mean: KL in nats a token with its interval, as a check has it where one bounds it; None
            where a single document leaves no interval.
        state: the outcome of the check that bounds its mean; 'neutral' without one.
        bound: what the mean has to be below; None where no check bounds it.
    """

    found: Distribution
    mean: Estimate | None
    state: Outcome | Literal["neutral"]
    bound: float | None

    @property
    def percentiles(self) -> tuple[tuple[float, float], ...]:
        """Each percentile with the KL there, in nats, from the least to the most."""
        numbered = ((float(name), value) for name, value in self.found.kl_percentiles.items())
        return tuple(sorted(numbered))

    @property
    def mean_nats(self) -> float:
        """The mean divergence of a token, in nats."""
        if self.mean is not None:
            return self.mean.value
        return sum(one.kl for one in self.found.documents) / max(1, self.found.tokens)

    @property
    def ends(self) -> tuple[float, float]:
        """The interval around the mean; the mean alone where it has none."""
        if self.mean is not None:
            return self.mean.low, self.mean.high
        return self.mean_nats, self.mean_nats


class TextLines(NamedTuple):
    """The comparisons on one text, and how many more there are than are told."""

    text: str
    lines: tuple[Line, ...]
    left_out: int


class Scales(NamedTuple):
    """What the axes of lines span, the one of divergences being logarithmic.

    Attributes:
        percentiles: those of any line, each a step from the one before it.
        low: the least divergence in nats; what is below it is drawn there.
        high: the greatest.
        is_cut: whether anything is below the least.
        height: pixels from the greatest to the least.
    """

    percentiles: tuple[float, ...]
    low: float
    high: float
    is_cut: bool
    height: float

    @property
    def last(self) -> int:
        """Where the last percentile stands."""
        return max(1, len(self.percentiles) - 1)

    def y(self, nats: float) -> float:
        """Pixels from the top of a divergence."""
        whole = math.log(self.high / self.low)
        return self.height * math.log(self.high / max(nats, self.low)) / whole

    def crossing(self, line: Line) -> float:
        """Where a line first reaches its own mean; its end where it has no such place."""
        steps = [(self.percentiles.index(at), self.y(value)) for at, value in line.percentiles]
        mean = self.y(line.mean_nats)
        for (left, before), (right, after) in pairwise(steps):
            if after <= mean <= before and after < before:
                return left + (right - left) * (before - mean) / (before - after)
        return self.last


def scales_of(lines: Sequence[Line], *, height: float) -> Scales:
    """Axes that every percentile, mean and bound of the lines is on."""
    values = [value for line in lines for _, value in line.percentiles]
    values += [end for line in lines for end in (line.mean_nats, *line.ends)]
    values += [line.bound for line in lines if line.bound is not None]
    least = max(_FLOOR, min((value for value in values if value > 0), default=_FLOOR))
    low = 10.0 ** math.floor(math.log10(least))
    return Scales(
        percentiles=tuple(sorted({at for line in lines for at, _ in line.percentiles})),
        low=low,
        high=max(1.5 * max(values, default=1.0), 10 * low),
        is_cut=any(value < low for value in values),
        height=height,
    )


def lines_by_text(record: Record) -> tuple[TextLines, ...]:
    """The lines of each text, at most ten of them: those without a check are left out first."""
    texts = dict.fromkeys(one.text for one in record.distributions)
    found = []
    for text in texts:
        lines = [_line(one, record.results) for one in record.distributions if one.text == text]
        chosen = sorted(lines, key=lambda line: line.state == "neutral")[:_MOST_LINES]
        kept = tuple(line for line in lines if line in chosen)
        found.append(TextLines(text, kept, len(lines) - len(kept)))
    return tuple(found)


def _line(one: Distribution, results: Iterable[CheckResult]) -> Line:
    check = next((result for result in results if _bounds(result, one)), None)
    if check is None:
        return Line(one, estimate_of(one, kl.compare), "neutral", None)
    mean = check.estimate or estimate_of(one, kl.compare)
    return Line(one, mean, check.outcome, check.check.at_most)


def _bounds(result: CheckResult, one: Distribution) -> bool:
    """Whether a check is of this comparison's mean."""
    named = result.variant, result.reference, result.task
    return result.check.compare.name == "kl" and named == (one.variant, one.reference, one.text)
