"""A check's finding as one sentence, with digits enough never to contradict the outcome."""

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from typing import NamedTuple

import numpy as np

from gate.digits import as_written, rounded
from gate.judging.bounds import Bound, documents_needed
from gate.result_records import Estimate, Outcome
from gate.serving_records import RATIO
from gate.stats.sequential import Looks

_FEWEST_DIGITS, _MOST_DIGITS = 2, 17
_DIGITS_OF_A_RATIO = 3
_MOST_REPEATS = 1000
_SHORT = 6
_POWER = 0.8


class Finding(NamedTuple):
    """An estimate against its bounds, to be put in words.

    Attributes:
        estimate: what was measured; a unit that begins with 'share' is told in percent, one that
            begins with 'times' as a ratio over repeats.
        bounds: those of the check, one at the least.
        confidence: one-sided confidence of each end of the interval.
        is_difference: a change, told as losing and gaining, in points of a share; else a level.
        looks: the look it was made at; None where all documents are judged once.
    """

    estimate: Estimate
    bounds: tuple[Bound, ...]
    confidence: float
    is_difference: bool
    looks: Looks | None = None

    def sentence(self, outcome: Outcome) -> str:
        """What was found, where it stands to the bounds, and what it rests on."""
        if self._is_ratio:
            return self._ratio(outcome)
        if outcome == "inconclusive":
            return self._undecided([bound for bound in self.bounds if not bound.is_kept])
        if outcome == "fail":
            return f"{self.breach}; {self.evidence}"
        ends = [self._end(bound.near, is_lower=bound.sign > 0) for bound in self.bounds]
        places = [self._place(bound, is_kept=True) for bound in self.bounds]
        found = f"{' and '.join(ends)} ({self._confidence})"
        return f"{self._subject}{found}, {_listed(places)}; {self.evidence}"

    @property
    def is_broken(self) -> bool:
        """Whether the whole interval lies beyond one of the bounds."""
        return any(bound.is_broken for bound in self.bounds)

    @property
    def excess(self) -> float:
        """By how much the whole interval lies beyond the bound it breaks most."""
        return max(bound.sign * (bound.limit - bound.far) for bound in self.bounds)

    @property
    def breach(self) -> str:
        """What is broken: 'loses at least 12 points (95 % one-sided), beyond the margin of 2'."""
        broken = [bound for bound in self.bounds if bound.is_broken]
        places = [self._place(bound, is_kept=False) for bound in broken]
        return f"{self.extent}, {_listed(places)}"

    @property
    def extent(self) -> str:
        """How far beyond the broken bounds it is at the least: 'loses at least 12 points'."""
        broken = [bound for bound in self.bounds if bound.is_broken]
        ends = [self._end(bound.far, is_lower=bound.sign < 0) for bound in broken]
        return f"{self._subject}{' and '.join(ends)} ({self._confidence})"

    @property
    def evidence(self) -> str:
        """What the finding rests on: '3 gains, 5 losses in 400 documents'."""
        if self._is_ratio:
            return counted(self.estimate.n, "repeat")
        documents = counted(self.estimate.n, "document")
        if self.looks is not None:
            documents = f"{self.estimate.n:,} of {counted(self.looks.sizes[-1], 'document')}"
        clusters = self.estimate.clusters
        if clusters is not None and clusters != self.estimate.n:
            documents += f" in {counted(clusters, 'cluster')}"
        if self.estimate.flips is None:
            return documents
        gains, losses = self.estimate.flips.gains, self.estimate.flips.losses
        return f"{counted(gains, 'gain')}, {counted(losses, 'loss', 'losses')} in {documents}"

    def _ratio(self, outcome: Outcome) -> str:
        """A ratio, what is asked of it, and what it rests on.

        '2.31 times as fast in decoding (2.2 to 2.4; 95 % one-sided), at least 1.5 is asked; 3
        repeats'; one that was counted and not sampled is told alone.
        """
        estimate = self.estimate
        unit = estimate.unit.removeprefix(RATIO).strip()
        found = (
            f"{self._number(estimate.value, ROUND_HALF_EVEN, _DIGITS_OF_A_RATIO)} {RATIO} {unit}"
        )
        asked = " and ".join(
            f"at {'least' if bound.sign > 0 else 'most'} {decimal(bound.limit)}"
            for bound in self.bounds
        )
        if estimate.low == estimate.high:
            place = "exactly the bound: " if outcome == "inconclusive" else ""
            return f"{found}, {place}{asked} is asked"
        low, high = self._low, self._high
        interval = f"({low} to {high}; {confidence_text(self.confidence)})"
        if outcome != "inconclusive":
            return f"{found} {interval}, {asked} is asked; {self.evidence}"
        undecided = [bound for bound in self.bounds if not bound.is_kept]
        return f"{found} {interval}, {asked} is asked; {self._repeats(undecided)}; {self.evidence}"

    def _repeats(self, bounds: Sequence[Bound]) -> str:
        """How many more repeats would settle it, or that more will not help."""
        needed = [
            repeats_to_keep(bound, self.estimate, confidence=self.confidence) for bound in bounds
        ]
        if None in needed:
            return "the ratio itself is not inside, so more repeats are unlikely to help"
        most = max((one for one in needed if one is not None), default=0)
        missing = max(1, most - self.estimate.n)
        return f"about {counted(missing, 'more repeat')} would probably settle it"

    def _undecided(self, bounds: Sequence[Bound]) -> str:
        changes = "changes by " if self.is_difference else ""
        return (
            f"{self._subject}{changes}{self._low} to {self._quantity(self._high)} "
            f"({self._confidence}), "
            f"across {_listed([self._name(bound) for bound in bounds])}; "
            f"{self._outlook(bounds)}; {self.evidence}"
        )

    def _outlook(self, bounds: Sequence[Bound]) -> str:
        """The next look, or how many more documents would settle it, or that they will not help."""
        if self.looks is not None and self.looks.at + 1 < len(self.looks.sizes):
            return f"the next look is at {self.looks.sizes[self.looks.at + 1]:,}"
        needed = documents_needed(bounds, self.estimate, confidence=self.confidence)
        if needed is None:
            return "the estimate itself is not inside, so more documents are unlikely to help"
        return more_documents(needed - self.estimate.n)

    @property
    def _confidence(self) -> str:
        said = confidence_text(self.confidence)
        return said if self.looks is None else f"{said} at every look"

    @property
    def _is_ratio(self) -> bool:
        return self.estimate.unit.startswith(RATIO)

    @property
    def _subject(self) -> str:
        return "" if self.is_difference else f"{self.estimate.unit}: "

    @property
    def _scale(self) -> int:
        return 100 if self.estimate.unit.startswith("share") else 1

    def _end(self, value: float, *, is_lower: bool) -> str:
        """One end of the interval, as what it says of the truth."""
        number = self._low if is_lower else self._high
        if not self.is_difference:
            return f"at {'least' if is_lower else 'most'} {self._quantity(number)}"
        is_gain = value >= 0
        limit = "least" if is_lower == is_gain else "most"
        size = self._quantity(number.removeprefix("-"))
        return f"{'gains' if is_gain else 'loses'} at {limit} {size}"

    def _place(self, bound: Bound, *, is_kept: bool) -> str:
        if self._is_margin(bound):
            return f"{'within' if is_kept else 'beyond'} {self._name(bound)}"
        return f"{'above' if is_kept == (bound.sign > 0) else 'below'} {self._name(bound)}"

    def _name(self, bound: Bound) -> str:
        word, value = ("margin", bound.margin) if self._is_margin(bound) else ("bound", bound.limit)
        return f"the {word} of {self._quantity(decimal(self._scale * value))}"

    def _is_margin(self, bound: Bound) -> bool:
        return self.is_difference and bound.margin > 0

    def _quantity(self, number: str) -> str:
        if self._scale == 1:
            return f"{number}{self._suffix}"
        if not self.is_difference:
            return f"{number} %"
        return f"{number} {'point' if number == '1' else 'points'}"

    @property
    def _suffix(self) -> str:
        """The unit of a change, where the metric's name does not say it."""
        unit = self.estimate.unit
        if not self.is_difference:
            return ""
        return f" in {unit}" if unit.startswith("ln ") else f" {unit}" * unit.startswith("bits")

    @property
    def _low(self) -> str:
        """The lower end, rounded out of the interval: no more is said than was proven."""
        return self._number(self.estimate.low, ROUND_FLOOR)

    @property
    def _high(self) -> str:
        """The upper end, rounded out of the interval."""
        return self._number(self.estimate.high, ROUND_CEILING)

    def _number(self, value: float, rounding: str, fewest: int = _FEWEST_DIGITS) -> str:
        """The value with the fewest digits that stand to every bound as the unrounded ends do."""
        digits = next((d for d in range(fewest, _MOST_DIGITS) if self._is_true(d)), _MOST_DIGITS)
        return self._rounded(value, digits, rounding)

    def _rounded(self, value: float, digits: int, rounding: str) -> str:
        exact = as_written(value) * self._scale
        if not exact.is_finite():
            return decimal(value)
        return decimal(float(rounded(exact, digits - 1 - exact.adjusted(), rounding)), digits)

    def _is_true(self, digits: int) -> bool:
        ends = ((self.estimate.low, ROUND_FLOOR), (self.estimate.high, ROUND_CEILING))
        middle = ((self.estimate.value, ROUND_HALF_EVEN),) if self._is_ratio else ()
        return all(
            _order(
                float(self._rounded(number, digits, rounding)), float(decimal(self._scale * limit))
            )
            == _order(number, limit)
            for number, rounding in (*ends, *middle)
            for limit in (bound.limit for bound in self.bounds)
        )


def repeats_to_keep(bound: Bound, estimate: Estimate, *, confidence: float) -> int | None:
    """Repeats, in all, that would probably prove an undecided bound of a ratio kept.

    With a power of 0.8, if the ratio and the spread of its logarithms are what was seen.

    Returns:
        Repeats, at most 1000; None where the ratio is not inside the bound.
    """
    from scipy.special import stdtrit

    if min(estimate.low, bound.limit) <= 0 or bound.sign * (estimate.value - bound.limit) <= 0:
        return None
    distance = abs(math.log(estimate.value / bound.limit))
    half_width = abs(math.log(estimate.value / bound.near))
    deviation = half_width * math.sqrt(estimate.n) / float(stdtrit(estimate.n - 1, confidence))
    for repeats in range(estimate.n + 1, _MOST_REPEATS):
        quantiles = float(stdtrit(repeats - 1, confidence) + stdtrit(repeats - 1, _POWER))
        if quantiles * deviation / math.sqrt(repeats) < distance:
            return repeats
    return _MOST_REPEATS


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things: '1 document', '1,200 documents'."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def decimal(value: float, digits: int = 10) -> str:
    """A number with so many significant digits, without exponent or trailing zeros."""
    return str(np.format_float_positional(value + 0.0, digits, fractional=False, trim="-"))


def confidence_text(confidence: float) -> str:
    """The confidence of a bound, what it leaves to chance with two digits: '95 % one-sided'."""
    return f"{confidence_percent(confidence)} % one-sided"


def confidence_percent(confidence: float) -> str:
    """A confidence in percent, what it leaves to chance with two digits at the least: '99.58'."""
    left = 100 * (1 - confidence)
    decimals = max(0, 1 - math.floor(math.log10(left))) if left > 0 else 0
    exact = decimal(100 * confidence)
    return exact if len(exact) <= _SHORT else f"{100 * confidence:.{decimals}f}"


def more_documents(missing: int) -> str:
    """How many more documents would settle it."""
    return (
        f"about {counted(_rounded_up(max(1, missing)), 'more document')} would probably settle it"
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _rounded_up(number: int) -> int:
    """The next number with two significant digits."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    return math.ceil(number / step) * step
