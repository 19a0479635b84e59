"""Checks and scores in, outcomes and verdicts out: a pure function, and the only place of both.

Whatever could not be measured is an error, whatever the interval leaves open is inconclusive,
and everything but a pass blocks.
"""

from collections.abc import Mapping, Sequence

from gate.audit_records import ArtifactAudit
from gate.distribution_records import Distribution
from gate.errors import GateError
from gate.evaluation_records import Corpus, Score
from gate.extensions import find
from gate.judging.cases import Case, Moment, measure
from gate.judging.correcting import Decided, correct
from gate.judging.deciding import Decision, Strictness, decide
from gate.judging.doubts import find_caution
from gate.judging.noise import Noise
from gate.judging.opening import Measured, Opener
from gate.judging.pairing import Pair, Unasked
from gate.judging.reasons import counted
from gate.judging.robustness import find_tolerance
from gate.judging.slicing import compare_slices, confidence_of_slice
from gate.result_records import (
    DECIDED_BY,
    CheckResult,
    Correction,
    Estimate,
    Outcome,
    SliceResult,
    VariantVerdict,
    Verdict,
)
from gate.serving_records import Serving
from gate.terms import ResolvedCheck

_SEVERITY: tuple[Verdict, ...] = ("error", "block", "inconclusive", "promote")
_VERDICTS: dict[Outcome, Verdict] = {outcome: found for found, outcome in DECIDED_BY.items()}


def judge(
    checks: Sequence[ResolvedCheck],
    scores: Mapping[tuple[str, str], Score],
    corpora: Mapping[str, Corpus],
    failures: Mapping[tuple[str, str], str],
    *,
    noise: Noise | None = None,
    serving: Mapping[str, Serving] | None = None,
    distributions: Mapping[tuple[str, str, str], Distribution] | None = None,
    looks: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[CheckResult, ...]:
    """One result for each check, in the order of the checks.

    **Pass.** Every bound of the check is kept by the whole interval. A run passes where all of
    its checks do, so that no check needs a correction for the others (an intersection of tests,
    Berger 1982). A kept bound proves nothing where documents, or clusters of them, are too few,
    or where the reference is not above chance, so that a loss could not show. Where the reference
    is right on every document a loss still could, and the pass says what it cannot have seen.

    **Fail.** A bound is broken by the whole interval, and still is at the confidence that Holm's
    correction asks for all checks of the run, blocking or not; each has its own alpha. A bound
    that is broken at the check's confidence alone is inconclusive. What is not asked yet counts as
    a check, so that what fails before it would still fail after it.

    **Noise.** Where an engine was asked twice, its two answers must keep what the check asks of
    two variants: if they do not, the margin lies inside the engine's own noise. A fail then stands
    only where it goes beyond the bound by more than the noise does.

    **Looks.** A task with planned looks is judged at each of them that has been reached, by
    intervals that hold at all of them together, on the first places of the seeded order. The first
    look at which a check passes or fails decides, and a doubt delays that.

    A comparison that gives `flips` promises that its numbers are means over documents of
    something that is 0 where a document did not flip and 1 or -1 where it did. Its checks are
    also held to the fewest documents that can prove their margin.

    Args:
        checks: what to judge.
        scores: {(variant, task): score}.
        corpora: {task: its documents}, for the level of chance.
        failures: {(variant, task): why there is no score}, {(variant, text): why it was not read}
            and {(variant, ""): why it was not measured what it costs to serve}; a NotRun makes
            a check inconclusive, every other reason an error.
        noise: what the engines change by themselves; None where none was asked twice.
        serving: {variant: what it costs to serve}.
        distributions: {(candidate, reference, text): how they read it}.
        looks: {task: documents at each planned look}, for tasks that are judged sequentially.
    """
    measured = Measured(
        scores, corpora, failures, noise, serving or {}, distributions or {}, looks or {}
    )
    opener = Opener(measured)
    opened = [_decided(one, opener) for one in checks]
    decided = {at: one for at, one in enumerate(opened) if not isinstance(one, CheckResult)}
    unasked = sum(isinstance(one, CheckResult) and one.outcome == "inconclusive" for one in opened)
    strictness = correct(decided, unasked=unasked)
    return tuple(
        one if isinstance(one, CheckResult) else _result(one, strictness.get(at))
        for at, one in enumerate(opened)
    )


def verdict_of(
    variant: str,
    lineage: Sequence[str],
    results: Sequence[CheckResult],
    audits: Sequence[ArtifactAudit] = (),
) -> VariantVerdict:
    """May this variant ship, by the blocking checks of every variant it descends from.

    Promote only if all of them pass, at least one is of the variant itself, and no audit of the
    weights on its way found a fault. Checks that warn are told among the reasons and change
    nothing.

    Args:
        variant: the variant up for release.
        lineage: names of the variants its verdict rests on; its own may be left out.
        results: of the whole run.
        audits: of the whole run.
    """
    related = [result for result in results if result.variant in {*lineage, variant}]
    blocking = [result for result in related if result.check.level == "block"]
    blocking.sort(key=lambda result: _SEVERITY.index(_VERDICTS[result.outcome]))
    about_weights = [_finding_of(one) for one in audits if {*lineage, variant} & {*one.variants}]
    verdicts = [verdict for verdict, _ in about_weights]
    verdicts += [_VERDICTS[result.outcome] for result in blocking]
    reasons = [reason for verdict, reason in about_weights if verdict != "promote"]
    reasons += [_reason(result) for result in blocking if result.outcome != "pass"]
    if not any(result.variant == variant and _is_of_answers(result) for result in blocking):
        verdicts.append("inconclusive")
        reasons.append(f"no blocking check was made of the answers of {variant}")
    warnings = [
        f"warning: {_reason(result)}"
        for result in related
        if result.check.level == "warn" and result.outcome != "pass"
    ]
    passed = f"passed {counted(len(blocking), 'blocking check')}"
    return VariantVerdict(
        variant=variant, verdict=_worst(verdicts), reasons=(*(reasons or [passed]), *warnings)
    )


def _finding_of(one: ArtifactAudit) -> tuple[Verdict, str]:
    """The verdict of an audit, and its first fault."""
    if one.audit is None:
        verdict: Verdict = "inconclusive" if one.is_skipped else "error"
        return verdict, f"{one.label}: {one.error or 'it was not run'}"
    faults = one.audit.faults
    if not faults:
        return "promote", f"{one.label}: proven"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return "block", f"{one.label}: {faults[0]}{more}"


def verdict_of_run(verdicts: Sequence[VariantVerdict]) -> Verdict:
    """The worst verdict of those that are to ship; inconclusive where nothing is."""
    return _worst([one.verdict for one in verdicts]) if verdicts else "inconclusive"


def _is_of_answers(result: CheckResult) -> bool:
    """Whether a check is of the answers to a task, and not of texts or of what serving costs."""
    return find("comparisons", result.check.compare.name).compares == "scores"


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts, key=_SEVERITY.index)


def _reason(result: CheckResult) -> str:
    resolved = ResolvedCheck(
        check=result.check, variant=result.variant, reference=result.reference, task=result.task
    )
    return f"{resolved.label}: {result.reason}"


def _decided(resolved: ResolvedCheck, opener: Opener) -> Decided | CheckResult:
    """A check decided at its own confidence, or its result where nothing can be decided."""
    try:
        case = opener.open(resolved)
        return case, decide(case)
    except Unasked as reason:
        return _unmeasured(resolved, "inconclusive", reason.problem)
    except GateError as error:
        return _unmeasured(resolved, "error", error.problem)


def _unmeasured(resolved: ResolvedCheck, outcome: Outcome, reason: str) -> CheckResult:
    return CheckResult(
        check=resolved.check,
        variant=resolved.variant,
        reference=resolved.reference,
        task=resolved.task,
        outcome=outcome,
        reason=reason,
    )


def _result(decided: Decided, strictness: Strictness | None) -> CheckResult:
    """The result of a check, a broken bound being held as strictly as the run asks."""
    case, decision = decided
    try:
        if strictness is not None:
            decision = decide(case, strictness=strictness)
        slices = _slices(case, decision.moment)
        tolerance = find_tolerance(case, decision)
    except GateError as error:
        return _unmeasured(case.resolved, "error", error.problem)
    told = [decision.sentence]
    if tolerance is not None:
        told.append(tolerance.sentence)
    if decision.outcome == "pass":
        told.append(find_caution(decision.finding, decision.moment.arms) or "")
    return CheckResult(
        check=case.check,
        variant=case.resolved.variant,
        reference=case.resolved.reference,
        task=case.resolved.task,
        outcome=decision.outcome,
        reason=_with_slices("; ".join(filter(None, told)), slices, case, decision),
        estimate=decision.finding.estimate,
        tolerance=None if tolerance is None else tolerance.documents,
        needed=decision.needed,
        correction=_correction(decision, strictness),
        slices=slices,
        looks=decision.looks,
    )


def _correction(decision: Decision, strictness: Strictness | None) -> Correction | None:
    if strictness is None or decision.corrected is None:
        return None
    return Correction(
        hypotheses=strictness.hypotheses,
        confidence=strictness.confidence,
        estimate=decision.corrected,
        is_confirmed=decision.is_confirmed,
    )


def _slices(case: Case, moment: Moment) -> tuple[SliceResult, ...]:
    def measure_slice(pair: Pair, confidence: float) -> Estimate:
        part = moment._replace(arms=pair)
        return measure(case.check, case.comparison, part, confidence=confidence)

    return compare_slices(case.check, moment.slices(), measure_slice)


def _with_slices(
    sentence: str, slices: Sequence[SliceResult], case: Case, decision: Decision
) -> str:
    """The sentence with the slices that collapsed, which an average does not show."""
    confidence = confidence_of_slice(case.check, len(slices))
    looks = decision.moment.looks
    collapsed = [
        (case.hold(one.estimate, confidence, looks=looks), one.slice)
        for one in slices
        if one.has_collapsed
    ]
    if not collapsed:
        return sentence
    worst, name = max(collapsed, key=lambda one: one[0].excess)
    told = f"slice {name} {worst.extent}"
    if len(collapsed) > 1:
        count = f"{len(collapsed)} of {len(slices)} slices"
        told = f"{count} are beyond the bound, the worst {name!r}: {worst.extent}"
    if decision.outcome == "pass":
        return f"passes on average, but {told}; {sentence}"
    return f"{sentence}; {told}"
