"""A check with what it is judged on: its comparison can be asked at any confidence and look."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from gate.distribution_records import Distribution
from gate.errors import StageError
from gate.extensions import Extension
from gate.judging.bounds import bounds_of
from gate.judging.noise import EngineNoise
from gate.judging.pairing import Arms, Pair
from gate.judging.reasons import Finding
from gate.paired import at_look
from gate.result_records import Estimate
from gate.stats.sequential import Looks
from gate.terms import Check, ResolvedCheck


class Moment(NamedTuple):
    """When a check is judged: on all documents, or at one of the planned looks.

    Attributes:
        arms: what is compared then.
        looks: the look; None where all documents are judged once.
        slices: the same on each slice of the task, by name.
    """

    arms: Arms
    looks: Looks | None = None
    slices: Callable[[], Mapping[str, Pair]] = dict


class Case:
    """A check, the function that compares, and what it compares.

    Attributes:
        resolved: the check.
        comparison: the function.
        moments: when it is judged, first to last; one at the least.
        noise: the same comparison of each engine with itself.
        choices: {document: how many answers it offers}, for the level of chance; None where the
            documents of the task are missing.
    """

    def __init__(
        self,
        resolved: ResolvedCheck,
        comparison: Extension,
        moments: Sequence[Callable[[], Moment]],
        *,
        noise: tuple[EngineNoise, ...] = (),
        choices: Callable[[], Mapping[int, int] | None] = lambda: None,
    ) -> None:
        """Nothing is compared before it is asked for."""
        self.resolved = resolved
        self.comparison = comparison
        self.moments = tuple(moments)
        self.noise = noise
        self.choices = choices
        self._measured = cache(self._measure)

    @property
    def check(self) -> Check:
        """The check as the suite has it."""
        return self.resolved.check

    def measure(self, at: int, *, confidence: float) -> Estimate:
        """The comparison at a moment, with an interval that holds at all of them together.

        Args:
            at: number of the moment.
            confidence: one-sided.

        Raises:
            StageError: it cannot be computed, or gives what is no estimate.
        """
        return self._measured(at, confidence)

    def finding(self, at: int) -> Finding:
        """The comparison at a moment against the check's bounds, at its own confidence.

        Raises:
            StageError: as `measure`, or the check has no bound.
        """
        estimate = self.measure(at, confidence=self.check.confidence)
        return self.hold(estimate, self.check.confidence, looks=self.moments[at]().looks)

    def hold(self, estimate: Estimate, confidence: float, *, looks: Looks | None = None) -> Finding:
        """An estimate against the check's bounds.

        Raises:
            StageError: the check has no bound.
        """
        bounds = bounds_of(self.check, estimate)
        if not bounds:
            raise StageError(
                f"the {self.check.compare} of {self.check.of} has no bound to be held against"
            )
        is_difference = self.comparison.constant("MEASURES", "level") == "difference"
        return Finding(estimate, bounds, confidence, is_difference, looks)

    def _measure(self, at: int, confidence: float) -> Estimate:
        return measure(self.check, self.comparison, self.moments[at](), confidence=confidence)


def measure(check: Check, comparison: Extension, moment: Moment, *, confidence: float) -> Estimate:
    """A check's comparison at one moment.

    A comparison that has the keyword `looks` chooses its own bound for a look; any other is asked
    at O'Brien and Fleming's confidence.

    Args:
        check: the check.
        comparison: its function.
        moment: what is compared, and at which look.
        confidence: one-sided, over all looks.

    Raises:
        StageError: it cannot be computed, or gives what is no estimate.
    """
    arms, looks = moment.arms, moment.looks
    options: dict[str, Any] = dict(check.compare.params)
    chooses = looks is not None and comparison.takes("looks")
    level = confidence if looks is None or chooses else looks.confidence_at(confidence)
    both = (arms,) if isinstance(arms, Distribution) else tuple(arms)
    options |= {"looks": looks} if chooses else {}
    try:
        estimate: Estimate = comparison.function(*both, confidence=level, **options)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StageError(f"{check.compare} gave no usable {field}: {first['msg']}") from error
    except (ArithmeticError, ValueError) as error:
        raise StageError(f"{check.compare} could not be computed: {error}") from error
    return estimate if looks is None or chooses else at_look(estimate, looks, confidence=confidence)
