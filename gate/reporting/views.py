"""What reports look up in a record: scores, artifacts, documents, what changed between two arms."""

from collections.abc import Iterable
from typing import NamedTuple

from gate.aggregates import value_of
from gate.audit_records import ArtifactAudit, Audit
from gate.descent import lineage_of
from gate.errors import StageError
from gate.evaluation_records import Document, Score
from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    amount,
    bits,
    count,
    interval_text,
    percent,
    quantity,
    rule_text,
)
from gate.records import Artifact, Record
from gate.result_records import LISTING_ORDER, CheckResult, NoiseFloor, Outcome
from gate.tables import ById, Table
from gate.terms import Variant

WAS_NOT_THERE, TAKEN_AWAY = "was not there", "taken away"
"""What stands for a check's bounds where the policy had none before, and where it has none now."""

_WORST = 8
_LEAST_NATS = 1e-6


def tally(results: Iterable[CheckResult]) -> str:
    """How many checks had which outcome: '18 passed, 2 failed, 1 inconclusive'."""
    outcomes = [result.outcome for result in results]
    counts = {outcome: outcomes.count(outcome) for outcome in OUTCOME_WORDS}
    said = [f"{counts[outcome]} {word}" for outcome, word in OUTCOME_WORDS.items()]
    return ", ".join(words for words in said if not words.startswith("0 ")) or "no checks"


def not_passed(record: Record) -> tuple[CheckResult, ...]:
    """Results that did not pass: blocking ones first, failures before what is undecided."""
    results = [result for result in record.results if result.outcome != "pass"]
    order = LISTING_ORDER.index
    return tuple(sorted(results, key=lambda r: (r.check.level == "warn", order(r.outcome))))


def scores_of(record: Record) -> tuple[Score, ...]:
    """Every score that a check compares: the run's own, and those of the last release."""
    return (*record.scores, *(record.released.scores if record.released else ()))


def score_of(record: Record, variant: str, task: str) -> Score | None:
    """How a variant did on a task; None where that was not measured."""
    found = (s for s in scores_of(record) if s.variant == variant and s.task == task)
    return next(found, None)


def exact_score(score: Score) -> float | None:
    """What `presentation.score_text` tells, unrounded; None where it was not measured."""
    if not score.samples:
        return None
    if score.is_binary and score.aggregate == "mean":
        return score.mean
    try:
        return value_of(score)
    except StageError:
        return None


def artifact_of(record: Record, variant: str) -> Artifact | None:
    """The checkpoint behind a variant; None for one served from the base and adapters as given."""
    return next((a for a in record.artifacts if a.variant == variant), None)


class WeightsView(NamedTuple):
    """What an audit came to, for a reader.

    Attributes:
        label: the stage: 'audit merge merged'.
        state: pass where it is proven, fail where it is not, error where it could not be done,
            inconclusive where it was not begun.
        sentence: what was found, in one sentence.
        faults: each fault.
        worst: tensors with the least of the change kept, or the largest error, worst first.
    """

    label: str
    state: Outcome
    sentence: str
    faults: tuple[str, ...]
    worst: tuple[str, ...]


def weights_views(record: Record) -> tuple[WeightsView, ...]:
    """What each audit of the run's artifacts came to."""
    return tuple(_weights_view(one) for one in record.audits)


def _weights_view(one: ArtifactAudit) -> WeightsView:
    audit = one.audit
    if audit is None and one.is_skipped:
        return WeightsView(one.label, "inconclusive", f"not done: {one.error}", (), ())
    if audit is None:
        return WeightsView(one.label, "error", f"could not be done: {one.error}", (), ())
    if audit.faults:
        sentence = f"not proven: {count(len(audit.faults), 'fault')}"
        return WeightsView(one.label, "fail", sentence, audit.faults, _worst(audit))
    sentence = _quantized(audit) if one.of == "quantize" else _merged(audit)
    return WeightsView(one.label, "pass", f"proven: {sentence}", (), _worst(audit))


def _merged(audit: Audit) -> str:
    changed = [one for one in audit.tensors if one.delta_share is not None]
    shares = [one.kept_share for one in changed if one.kept_share is not None]
    kept = f", at least {percent(min(shares))} of each change kept" if shares else ""
    schedule = f"; schedule: {audit.schedule}" if audit.schedule else ""
    others = len(audit.tensors) - len(changed)
    return (
        f"{count(len(changed), 'changed tensor')}{kept}, "
        f"{count(others, 'other')} as in the base{schedule}"
    )


def _quantized(audit: Audit) -> str:
    if not audit.quantized:
        return "nothing to compare"
    errors = [one.relative_error for one in audit.quantized]
    least, most = (percent(end, decimals=2) for end in (min(errors), max(errors)))
    found = f"relative error {least} to {most}" if any(errors) else "all exact"
    types = sorted({one.type for one in audit.quantized})
    return f"{count(len(audit.quantized), 'tensor')} as {', '.join(types)}; {found}"


def _worst(audit: Audit) -> tuple[str, ...]:
    kept = [(one.kept_share, one) for one in audit.tensors if one.kept_share is not None]
    kept.sort(key=lambda pair: (pair[0], pair[1].tensor))
    far = sorted(audit.quantized, key=lambda one: (-one.relative_error, one.tensor))
    return (
        *(f"{one.tensor}: {percent(share)} of the change kept" for share, one in kept[:_WORST]),
        *(
            f"{one.tensor}: {one.type}, {bits(one.bits_per_weight)} bits a weight, "
            f"error {percent(one.relative_error, decimals=2)}"
            for one in far[:_WORST]
        ),
    )


def documents_of(record: Record, task: str) -> ById[Document]:
    """The documents of a task by id; empty where the record has none."""
    found = next((c.documents for c in record.corpora if c.task == task), None)
    return ById(Table.of(Document, ()) if found is None else found)


def lineage(variant: Variant) -> tuple[str, ...]:
    """The steps from the base model to what is served: base, adapters, merge, quantization."""
    steps = ["base", *(f"+ {name}" for name in variant.adapters)]
    if variant.merge is not None:
        steps.append(f"merge {variant.merge}")
    if variant.quantize is not None:
        steps.append(f"quantize {variant.quantize}")
    return tuple(steps)


def relied_on(record: Record, variant: str) -> frozenset[str]:
    """The variants whose checks a variant's verdict rests on: itself, and what it descends from."""
    own = (one for one in record.variants if one.name == variant)
    ways = (lineage_of(one, record.variants, record.results) for one in own)
    return frozenset({variant}.union(*ways))


class Notes(NamedTuple):
    """The record's warnings: those on the release, and those on variants that do not ship."""

    on_release: tuple[str, ...]
    aside: tuple[str, ...]


def notes(record: Record) -> Notes:
    """Each warning of the record, by whether it is about what is up for release."""
    bearing = {name for ship in record.ship for name in relied_on(record, ship)}
    others = tuple(f"{one.name}: " for one in record.variants if one.name not in bearing)
    aside = tuple(one for one in record.warnings if one.startswith(others))
    return Notes(tuple(one for one in record.warnings if one not in aside), aside)


class CollapsedSlice(NamedTuple):
    """A slice of a task's documents on which a check's bound is broken.

    Attributes:
        slice: its name.
        check: the check's comparison and bound.
        result: the check, whatever its outcome is on all documents.
        estimate: the comparison on the slice, with its interval.
        n: its documents.
    """

    slice: str
    check: str
    result: CheckResult
    estimate: str
    n: str


def collapsed_slices(record: Record) -> tuple[CollapsedSlice, ...]:
    """Every slice that collapsed, in the order of the checks."""
    return tuple(
        CollapsedSlice(
            slice=one.slice,
            check=rule_text(result),
            result=result,
            estimate=interval_text(one.estimate, result.check),
            n=count(one.estimate.n),
        )
        for result in record.results
        for one in result.slices
        if one.has_collapsed
    )


def policy_lines(record: Record) -> tuple[str, ...]:
    """Each change of the policy since the last release, as 'check: before -> after'."""
    if record.policy is None:
        return ()
    return tuple(
        f"{one.check}: {one.before or WAS_NOT_THERE} -> {one.after or TAKEN_AWAY}"
        for one in record.policy.changes
    )


class NoiseRow(NamedTuple):
    """What an engine changed by itself on a task, in words; empty where it does not apply."""

    engine: str
    task: str
    variant: str
    changed: str
    change: str
    largest_change: str
    kl: str


def _divergence(nats: float) -> str:
    """A divergence; what floats alone can make up is told as less than a millionth."""
    return f"< {_LEAST_NATS:f}" if 0 < nats < _LEAST_NATS else amount(nats, "")


def noise_rows(record: Record) -> tuple[NoiseRow, ...]:
    """One row for each engine and task that was asked twice."""
    return tuple(map(_noise_row, record.noise))


def _noise_row(one: NoiseFloor) -> NoiseRow:
    flips, delta = one.delta.flips, one.delta
    changed = MISSING
    if flips is not None:
        changed = f"{flips.gains + flips.losses:,} of {count(delta.n, 'document')}"
    low, high = (amount(end, delta.unit) for end in (delta.low, delta.high))
    return NoiseRow(
        engine=one.engine,
        task=one.task,
        variant=one.variant,
        changed=changed,
        change=f"{quantity(delta.value, delta.unit)} ({low} to {high})",
        largest_change=MISSING if one.largest_change is None else f"{one.largest_change:.3g}",
        kl=MISSING if one.kl is None else _divergence(one.kl),
    )
