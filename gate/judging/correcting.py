"""Holm's correction: of all the checks of a run, which are broken beyond what chance breaks."""

from collections.abc import Callable, Mapping

from gate.errors import GateError
from gate.judging.cases import Case
from gate.judging.deciding import Decision, Strictness, decide
from gate.stats.multiplicity import holm_confirmed

Decided = tuple[Case, Decision]


def correct(decided: Mapping[int, Decided], *, unasked: int = 0) -> dict[int, Strictness]:
    """How strictly each broken bound of a run is held.

    The hypotheses are the checks of the run, one for each check, variant and task: both bounds of
    a two-sided check are one, as not both can be true and nearly broken. They count whether they
    block or warn, so that a check's level changes no outcome. What was counted and not sampled
    (a size, whose interval has no width) is no hypothesis, and fails outright; neither is what
    could not be measured.

    Args:
        decided: {number of the check: case and decision at the check's own confidence}.
        unasked: checks that may still be measured, which count as hypotheses.

    Returns:
        {number of the check: how strictly it is held}, for those with a broken bound.
    """
    sampled = {at: one for at, one in decided.items() if is_sampled(one[1])}
    hypotheses = len(sampled) + unasked
    broken = {at: case for at, (case, found) in sampled.items() if found.finding.is_broken}
    held = holm_confirmed(
        [_breaker(case, hypotheses=hypotheses) for case in broken.values()],
        alphas=[1 - case.check.confidence for case in broken.values()],
        hypotheses=hypotheses,
    )
    confidences = (confidence for _, confidence in held)
    return {
        at: Strictness(confidence, hypotheses)
        for at, confidence in zip(broken, confidences, strict=True)
    }


def is_sampled(decision: Decision) -> bool:
    """Whether chance had a part in what was measured."""
    estimate = decision.finding.estimate
    return estimate.low < estimate.high


def _breaker(case: Case, *, hypotheses: int) -> Callable[[float], bool]:
    """Whether a check is broken at a confidence; not where it cannot be computed there."""

    def is_broken_at(confidence: float) -> bool:
        strictness = Strictness(confidence, hypotheses)
        try:
            return decide(case, strictness=strictness).is_confirmed
        except GateError:
            return False

    return is_broken_at
