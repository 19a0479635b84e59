"""Checks and scores in, outcomes and verdicts out: a pure function, and the only place of both.

Whatever could not be measured is an error, whatever the interval leaves open is inconclusive,
and everything but a pass blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from pydantic import ValidationError

from gate.audit_records import ArtifactAudit
from gate.errors import GateError, StageError
from gate.evaluation_records import Corpus, Score
from gate.extensions import Extension, find
from gate.judging.bounds import Bound, bounds_of
from gate.judging.noise import Noise, find_noise, noise_doubt
from gate.judging.pairing import Pair, ServingPair, pair_scores, pair_serving
from gate.judging.reasons import Finding, confidence_text, counted, decimal
from gate.result_records import CheckResult, Estimate, Outcome, VariantVerdict, Verdict
from gate.serving_records import Serving
from gate.stats import proportions
from gate.terms import Check, ResolvedCheck

Arms = Pair | ServingPair
"""What a check compares: the answers of two variants to a task, or what they cost to serve."""

_SEVERITY: tuple[Verdict, ...] = ("error", "block", "inconclusive", "promote")
_VERDICTS: dict[Outcome, Verdict] = {
    "error": "error",
    "fail": "block",
    "inconclusive": "inconclusive",
    "pass": "promote",
}


def judge(
    checks: Sequence[ResolvedCheck],
    scores: Mapping[tuple[str, str], Score],
    corpora: Mapping[str, Corpus],
    failures: Mapping[tuple[str, str], str],
    *,
    noise: Noise | None = None,
    serving: Mapping[str, Serving] | None = None,
) -> tuple[CheckResult, ...]:
    """One result for each check, in the order of the checks.

    A comparison that gives `flips` promises that its numbers are means over documents of
    something that is 0 where a document did not flip and 1 or -1 where it did. Its checks are
    also held to the fewest documents that can prove their margin. A check that bounds a loss is
    held to a reference that is above chance, where a loss could show. A bound that is clearly
    broken is a fail all the same.

    Where an engine was asked twice, its two answers must keep what the check asks of two
    variants: if they do not, the margin lies inside the engine's own noise. A fail then stands
    only where it goes beyond the bound by more than the noise does.

    Args:
        checks: what to judge.
        scores: {(variant, task): score}.
        corpora: {task: its documents}, for the level of chance.
        failures: {(variant, task): why there is no score}, and {(variant, ""): why it was not
            measured what it costs to serve}.
        noise: what the engines change by themselves; None where none was asked twice.
        serving: {variant: what it costs to serve}.
    """

    @cache
    def pair_of(reference: str, candidate: str, task: str) -> Pair:
        return pair_scores(scores, failures, reference=reference, candidate=candidate, task=task)

    def arms_of(one: ResolvedCheck) -> Arms:
        if one.task:
            return pair_of(one.reference, one.variant, one.task)
        return pair_serving(serving or {}, failures, reference=one.reference, candidate=one.variant)

    return tuple(_result(one, arms_of, corpora=corpora, noise=noise) for one in checks)


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
    if not any(result.variant == variant and result.task for result in blocking):
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
        return "error", f"{one.label}: {one.error or 'it was not run'}"
    faults = one.audit.faults
    if not faults:
        return "promote", f"{one.label}: proven"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return "block", f"{one.label}: {faults[0]}{more}"


def verdict_of_run(verdicts: Sequence[VariantVerdict]) -> Verdict:
    """The worst verdict of those that are to ship; inconclusive where nothing is."""
    return _worst([one.verdict for one in verdicts]) if verdicts else "inconclusive"


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts, key=_SEVERITY.index)


def _reason(result: CheckResult) -> str:
    resolved = ResolvedCheck(
        check=result.check, variant=result.variant, reference=result.reference, task=result.task
    )
    return f"{resolved.label}: {result.reason}"


def _result(
    resolved: ResolvedCheck,
    arms_of: Callable[[ResolvedCheck], Arms],
    *,
    corpora: Mapping[str, Corpus],
    noise: Noise | None,
) -> CheckResult:
    check = resolved.check
    estimate: Estimate | None = None
    outcome: Outcome
    try:
        pair = arms_of(resolved)
        comparison = find("comparisons", check.compare.name)
        estimate = _estimate(check, pair, comparison=comparison)
        finding = _finding(check, estimate, comparison=comparison)
        outcome = _outcome(finding.bounds)
        reason = finding.sentence(outcome)
        if isinstance(pair, Pair):
            stirred = find_noise(
                resolved, noise, lambda twice: _estimate(check, twice, comparison=comparison)
            )
            doubt = noise_doubt(finding, check, stirred, outcome=outcome)
            if outcome != "fail":
                doubt = _doubt(finding, pair.reference, corpora=corpora) or doubt
            if doubt is not None:
                outcome, reason = "inconclusive", f"{doubt}; {finding.evidence}"
    except GateError as error:
        outcome, reason = "error", error.problem
    return CheckResult(
        check=check,
        variant=resolved.variant,
        reference=resolved.reference,
        task=resolved.task,
        outcome=outcome,
        reason=reason,
        estimate=estimate,
    )


def _estimate(check: Check, pair: Arms, *, comparison: Extension) -> Estimate:
    try:
        estimate: Estimate = comparison.function(
            pair.reference, pair.candidate, confidence=check.confidence, **check.compare.params
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StageError(f"{check.compare} gave no usable {field}: {first['msg']}") from error
    except (ArithmeticError, ValueError) as error:
        raise StageError(f"{check.compare} could not be computed: {error}") from error
    return estimate


def _finding(check: Check, estimate: Estimate, *, comparison: Extension) -> Finding:
    bounds = bounds_of(check, estimate)
    if not bounds:
        raise StageError(f"the {check.compare} of {check.of} has no bound to be held against")
    is_difference = comparison.constant("MEASURES", "level") == "difference"
    return Finding(estimate, bounds, check.confidence, is_difference)


def _outcome(bounds: Sequence[Bound]) -> Outcome:
    if any(bound.is_broken for bound in bounds):
        return "fail"
    return "pass" if all(bound.is_kept for bound in bounds) else "inconclusive"


def _doubt(finding: Finding, reference: Score, *, corpora: Mapping[str, Corpus]) -> str | None:
    """Why an interval inside the bounds would prove nothing, or None."""
    estimate, confidence = finding.estimate, finding.confidence
    margins = [bound.margin for bound in finding.bounds if bound.margin > 0]
    if estimate.flips is not None and margins:
        fewest = proportions.floor_documents(min(margins), confidence=confidence)
        if estimate.n < fewest:
            return (
                f"{counted(estimate.n, 'document')} cannot prove a margin of "
                f"{decimal(100 * min(margins))} % even if none changes: that takes {fewest:,} "
                f"({confidence_text(confidence)})"
            )
    if any(bound.sign > 0 and bound.margin > 0 for bound in finding.bounds):
        return _chance(reference, corpora, confidence=confidence)
    return None


def _chance(reference: Score, corpora: Mapping[str, Corpus], *, confidence: float) -> str | None:
    """That the reference is no better than guessing, so that a loss could not show, or None."""
    values = [sample.value for sample in reference.samples]
    if not reference.is_binary:
        if reference.higher_is_better and not any(values):
            return f"{reference.variant} scores 0 on every document: a loss could not show"
        return None
    if reference.task not in corpora:
        raise StageError(f"the documents of {reference.task} are missing: chance is unknown")
    offered = [len(document.choices) for document in corpora[reference.task].documents]
    chance = sum(1 / choices for choices in offered if choices) / max(1, len(offered))
    correct = sum(value == float(reference.higher_is_better) for value in values)
    if proportions.above_chance_p_value(correct, len(values), chance=chance) <= 1 - confidence:
        return None
    return (
        f"{reference.variant} is right on {correct:,} of {counted(len(values), 'document')}, not "
        f"significantly above chance ({decimal(100 * chance, 3)} %): a loss could not show"
    )
