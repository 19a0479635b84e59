"""How firm a pass is: the documents that could still change before it would be undone."""

from collections.abc import Callable
from typing import NamedTuple

from gate.judging.bounds import Bound
from gate.judging.cases import Case
from gate.judging.deciding import Decision
from gate.judging.reasons import counted
from gate.stats.intervals import Interval


class Tolerance(NamedTuple):
    """So many documents could change for the worse, and the check would still pass.

    Attributes:
        documents: how many.
        change: what each of them would do: loss, gain or flip.
    """

    documents: int
    change: str

    @property
    def sentence(self) -> str:
        """'2 more losses would undo it'."""
        change = f"more {self.change}"
        plural = f"{change}es" if self.change == "loss" else f"{change}s"
        return f"{counted(self.documents + 1, change, plural)} would undo it"


def find_tolerance(case: Case, decision: Decision) -> Tolerance | None:
    """How many unchanged documents could change before a pass would be undone.

    A loss counts against a lower bound, a gain against an upper bound of a change, and a flip
    against one of a level. The comparison says with `interval` what other counts would give.

    Returns:
        The smallest over the bounds; None where it is no count of documents, or where no number
        of them undoes it.
    """
    interval = getattr(case.comparison.module, "interval", None)
    flips, clusters = decision.finding.estimate.flips, decision.finding.estimate.clusters
    if decision.outcome != "pass" or flips is None or clusters is not None or interval is None:
        return None
    found = (_tolerated(case, decision, bound, interval) for bound in decision.finding.bounds)
    tolerated = (one for one in found if one is not None)
    return min(tolerated, key=lambda one: one.documents, default=None)


def _tolerated(
    case: Case, decision: Decision, bound: Bound, interval: Callable[..., Interval]
) -> Tolerance | None:
    finding, looks = decision.finding, decision.moment.looks
    estimate, flips = finding.estimate, finding.estimate.flips
    if flips is None:
        return None
    change = "loss" if bound.sign > 0 else "gain" if finding.is_difference else "flip"
    confidence, options = finding.confidence, {}
    if looks is not None and case.comparison.takes("looks"):
        options = {"looks": looks}
    elif looks is not None:
        confidence = looks.confidence_at(confidence)

    def is_kept(more: int) -> bool:
        gains = flips.gains + (more if change == "gain" else 0)
        losses = flips.losses + (0 if change == "gain" else more)
        found = interval(gains, losses, n=estimate.n, confidence=confidence, **options)
        return bound._replace(near=found.low if bound.sign > 0 else found.high).is_kept

    unchanged = estimate.n - flips.gains - flips.losses
    return None if is_kept(unchanged) else Tolerance(_last_true(is_kept, unchanged), change)


def _last_true(is_true: Callable[[int], bool], false_at: int) -> int:
    """The largest number for which a claim is true, that is true of 0 and false from there on."""
    low, high = 0, false_at
    while high - low > 1:
        middle = (low + high) // 2
        if is_true(middle):
            low = middle
        else:
            high = middle
    return low
