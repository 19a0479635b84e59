"""A check's finding as one sentence, with digits enough never to contradict the outcome."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gate.bounds import Bound, documents_to_keep
from gate.records import Estimate, Outcome

_FEWEST_DIGITS, _MOST_DIGITS = 2, 17


class Finding(NamedTuple):
    """An estimate against its bounds, to be put in words.

    Attributes:
        estimate: what was measured; a unit that begins with 'share' is told in percent.
        bounds: those of the check, one at the least.
        confidence: one-sided confidence of each end of the interval.
        is_difference: a change, told as losing and gaining, in points of a share; else a level.
    """

    estimate: Estimate
    bounds: tuple[Bound, ...]
    confidence: float
    is_difference: bool

    def sentence(self, outcome: Outcome) -> str:
        """What was found, where it stands to the bounds, and what it rests on."""
        if outcome == "inconclusive":
            return self._undecided([bound for bound in self.bounds if not bound.is_kept])
        if outcome == "pass":
            ends = [self._end(bound.near, is_lower=bound.sign > 0) for bound in self.bounds]
            places = [self._place(bound, is_kept=True) for bound in self.bounds]
        else:
            broken = [bound for bound in self.bounds if bound.is_broken]
            ends = [self._end(bound.far, is_lower=bound.sign < 0) for bound in broken]
            places = [self._place(bound, is_kept=False) for bound in broken]
        found = f"{' and '.join(ends)} ({confidence_text(self.confidence)})"
        return f"{self._subject}{found}, {_listed(places)}; {self.evidence}"

    @property
    def evidence(self) -> str:
        """What the finding rests on: '3 gains, 5 losses in 400 documents'."""
        documents = counted(self.estimate.n, "document")
        if self.estimate.flips is None:
            return documents
        gains, losses = self.estimate.flips.gains, self.estimate.flips.losses
        return f"{counted(gains, 'gain')}, {counted(losses, 'loss', 'losses')} in {documents}"

    def _undecided(self, bounds: Sequence[Bound]) -> str:
        low = self._number(self.estimate.low)
        high = self._quantity(self._number(self.estimate.high))
        changes = "changes by " if self.is_difference else ""
        return (
            f"{self._subject}{changes}{low} to {high} ({confidence_text(self.confidence)}), "
            f"across {_listed([self._name(bound) for bound in bounds])}; "
            f"{self._outlook(bounds)}; {self.evidence}"
        )

    def _outlook(self, bounds: Sequence[Bound]) -> str:
        """How many more documents would settle it, or that more will not help."""
        most = 0
        for bound in bounds:
            needed = documents_to_keep(bound, self.estimate, confidence=self.confidence)
            if needed is None:
                return "the estimate itself is not inside, so more documents are unlikely to help"
            most = max(most, needed)
        missing = _rounded_up(max(1, most - self.estimate.n))
        return f"about {counted(missing, 'more document')} would probably settle it"

    @property
    def _subject(self) -> str:
        return "" if self.is_difference else f"{self.estimate.unit}: "

    @property
    def _scale(self) -> int:
        return 100 if self.estimate.unit.startswith("share") else 1

    def _end(self, value: float, *, is_lower: bool) -> str:
        """One end of the interval, as what it says of the truth."""
        if not self.is_difference:
            return f"at {'least' if is_lower else 'most'} {self._quantity(self._number(value))}"
        is_gain = value >= 0
        limit = "least" if is_lower == is_gain else "most"
        size = self._quantity(self._number(value).removeprefix("-"))
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
            return number
        if not self.is_difference:
            return f"{number} %"
        return f"{number} {'point' if number == '1' else 'points'}"

    def _number(self, value: float) -> str:
        """The value with the fewest digits that stand to every bound as the unrounded ends do."""
        digits = next(
            (d for d in range(_FEWEST_DIGITS, _MOST_DIGITS) if self._is_true(d)), _MOST_DIGITS
        )
        return decimal(self._scale * value, digits)

    def _is_true(self, digits: int) -> bool:
        return all(
            _order(float(decimal(self._scale * end, digits)), float(decimal(self._scale * limit)))
            == _order(end, limit)
            for end in (self.estimate.low, self.estimate.high)
            for limit in (bound.limit for bound in self.bounds)
        )


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things: '1 document', '1,200 documents'."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def decimal(value: float, digits: int = 10) -> str:
    """A number with so many significant digits, without exponent or trailing zeros."""
    return str(np.format_float_positional(value + 0.0, digits, fractional=False, trim="-"))


def confidence_text(confidence: float) -> str:
    """The confidence of a bound: '95 % one-sided'."""
    return f"{decimal(100 * confidence)} % one-sided"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(words))


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _rounded_up(number: int) -> int:
    """The next number with two significant digits."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    return math.ceil(number / step) * step
