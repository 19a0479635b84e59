"""What becomes of a check: the first moment at which it passes or fails, or why it does neither."""

from typing import NamedTuple

from gate.judging.bounds import documents_needed, documents_to_break
from gate.judging.cases import Case, Moment
from gate.judging.doubts import Doubt, find_doubt
from gate.judging.noise import noise_doubt
from gate.judging.reasons import Finding, confidence_percent, more_documents
from gate.result_records import Estimate, Look, Outcome
from gate.serving_records import RATIO


class Strictness(NamedTuple):
    """How strictly a broken bound is held, as it is one of many that could have broken by chance.

    Attributes:
        confidence: one-sided, at which the interval has to lie beyond the bound.
        hypotheses: checks of the run that could have failed.
    """

    confidence: float
    hypotheses: int


class Decision(NamedTuple):
    """What was found at the moment that decided, or at the last.

    Attributes:
        moment: that moment.
        finding: the comparison then, at the check's own confidence.
        outcome: pass, fail or inconclusive.
        doubt: why a kept or broken bound proves nothing.
        corrected: the comparison then, at the stricter confidence; None where none was asked.
        is_confirmed: whether a bound is broken at that confidence too.
        looks: every look up to that moment; none where documents are judged once.
    """

    moment: Moment
    finding: Finding
    outcome: Outcome
    doubt: Doubt | None
    corrected: Estimate | None
    is_confirmed: bool
    looks: tuple[Look, ...] = ()

    @property
    def sentence(self) -> str:
        """What was found, or the doubt and what it is about."""
        if self.doubt is None:
            return self.finding.sentence(self.outcome)
        return f"{self.doubt.why}; {self.finding.evidence}"

    @property
    def needed(self) -> int | None:
        """Documents in all that would probably settle what is inconclusive; None if none would."""
        finding = self.finding
        if self.outcome != "inconclusive" or finding.estimate.unit.startswith(RATIO):
            return None
        if self.doubt is not None:
            return self.doubt.needed
        return documents_needed(finding.bounds, finding.estimate, confidence=finding.confidence)


def decide(case: Case, *, strictness: Strictness | None = None) -> Decision:
    """The first moment at which a check passes or fails; the last one where it does neither.

    It passes where every bound is kept and nothing makes that doubtful. It fails where a bound is
    broken, at the stricter confidence if one is given, beyond what an engine changes by itself.

    Args:
        case: the check and what it is judged on.
        strictness: how strictly a broken bound is held; None for the check's own confidence.

    Raises:
        StageError: the comparison cannot be computed.
    """
    looks: list[Look] = []
    for at in range(len(case.moments)):
        decision = _decide_at(case, at, strictness)
        if decision.moment.looks is not None:
            sizes, at = decision.moment.looks
            looks.append(Look(documents=sizes[at], estimate=decision.finding.estimate))
        if decision.outcome != "inconclusive":
            break
    return decision._replace(looks=tuple(looks))


def _decide_at(case: Case, at: int, strictness: Strictness | None) -> Decision:
    moment, finding, corrected = case.moments[at](), case.finding(at), None
    is_broken = finding.is_broken
    if strictness is not None:
        corrected = case.measure(at, confidence=strictness.confidence)
        is_broken = case.hold(corrected, strictness.confidence).is_broken
    outcome = _outcome(finding, is_broken=is_broken)
    noisy = noise_doubt(finding, case.check, case.noise, outcome=outcome)
    doubt = None if noisy is None else Doubt(noisy)
    if strictness is not None and corrected is not None and finding.is_broken and not is_broken:
        doubt = _unconfirmed(finding, corrected, strictness)
    elif not is_broken:
        doubt = find_doubt(finding, moment.arms, case.choices) or doubt
    said: Outcome = "inconclusive" if doubt else outcome
    return Decision(moment, finding, said, doubt, corrected, is_confirmed=is_broken)


def _outcome(finding: Finding, *, is_broken: bool) -> Outcome:
    if is_broken:
        return "fail"
    return "pass" if all(bound.is_kept for bound in finding.bounds) else "inconclusive"


def _unconfirmed(finding: Finding, corrected: Estimate, strictness: Strictness) -> Doubt:
    """That a bound is broken by no more than chance breaks one of so many."""
    estimate, (confidence, hypotheses) = finding.estimate, strictness
    broken = [bound for bound in finding.bounds if bound.is_broken]
    ends = [bound._replace(far=_far(bound.sign, corrected)) for bound in broken]
    needed = [documents_to_break(bound, corrected, confidence=confidence) for bound in ends]
    fewest = min((one for one in needed if one is not None), default=None)
    why = (
        f"{finding.breach}, but not at the {confidence_percent(confidence)} % that Holm's "
        f"correction for {hypotheses:,} checks asks"
    )
    if fewest is None or estimate.unit.startswith(RATIO):
        return Doubt(why)
    fewest = max(fewest, estimate.n + 1)
    return Doubt(f"{why}; {more_documents(fewest - estimate.n)}", needed=fewest)


def _far(sign: int, estimate: Estimate) -> float:
    return estimate.high if sign > 0 else estimate.low
