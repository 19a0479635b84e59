"""What did not pass, one by one and by importance, for systems that list findings."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from gate.descent import lineage_of
from gate.presentation import OUTCOME_WORDS, VERDICT_SENTENCES, one_line
from gate.records import Record
from gate.reporting.signoff_views import waivers_of_check
from gate.reporting.views import weights_views
from gate.result_records import DECIDED_BY, LISTING_ORDER, CheckResult, Outcome, labels_of

Effect = Literal["blocks", "warns", "aside"]

ASIDE = "not up for release"
"""What is said of what decides nothing, because it is of a variant that is not offered."""

_MOST_TEXT = 1_000
_ORDER: tuple[Effect, ...] = ("blocks", "warns", "aside")


class NamedResult(NamedTuple):
    """A check's result under the name that a list knows it by.

    Attributes:
        name: unique within the run: 'q4_k_m-vs-merged[desk_intent]:delta'.
        result: what the check found.
        effect: whether it blocks the release where it does not pass, warns, or stands aside,
            because it is of a variant that is not up for release.
    """

    name: str
    result: CheckResult
    effect: Effect


class Concern(NamedTuple):
    """One thing that did not pass.

    Attributes:
        name: unique within the run, and the same in every run of the same checks.
        outcome: how it did not pass.
        effect: what that does to the release.
        text: the outcome and the reason, on one line.
    """

    name: str
    outcome: Outcome
    effect: Effect
    text: str


def named_results(record: Record) -> Iterator[NamedResult]:
    """Every check under its name, in the order of the checks."""
    names = bearing(record)
    for name, result in zip(labels_of(record.results), record.results, strict=True):
        yield NamedResult(name, result, _effect(result, names))


def concerns(record: Record) -> tuple[Concern, ...]:
    """What did not pass: the verdict, failed stages, weights and checks, those that failed first.

    What blocks comes before what warns, and that before what stands aside.

    Empty only of a release that may go out, and of which nothing is to be said.
    """
    found = (*_of_verdict(record), *_of_stages(record), *_of_weights(record), *_of_checks(record))
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.effect)))


def failed_stages(record: Record) -> tuple[str, ...]:
    """Each stage that failed, with the reason: 'evaluate q8_0 intent: killed: out of memory'."""
    return tuple(f"{one.label}: {one.error}" for one in record.stages if one.error is not None)


def bearing(record: Record) -> frozenset[str]:
    """The variants whose checks bear on the verdict; all of them where none is up for release."""
    names = {
        name
        for variant in record.variants
        if variant.name in record.ship
        for name in lineage_of(variant, record.variants, record.results)
    }
    return frozenset(names or (result.variant for result in record.results))


def _effect(result: CheckResult, names: frozenset[str]) -> Effect:
    if result.variant not in names:
        return "aside"
    return "blocks" if result.check.level == "block" else "warns"


def _of_verdict(record: Record) -> Iterator[Concern]:
    if record.verdict != "promote":
        text = f"{record.release} {VERDICT_SENTENCES[record.verdict]}"
        outcome = DECIDED_BY[record.verdict]
        yield Concern("verdict", outcome, "blocks", one_line(text, _MOST_TEXT))


def _of_stages(record: Record) -> Iterator[Concern]:
    effect: Effect = "blocks" if record.verdict == "error" else "warns"
    for stage in record.stages:
        if stage.error is not None:
            text = one_line(f"stage failed: {stage.error}", _MOST_TEXT)
            yield Concern(one_line(stage.label, _MOST_TEXT), "error", effect, text)


def _of_weights(record: Record) -> Iterator[Concern]:
    names = bearing(record)
    for audit, view in zip(record.audits, weights_views(record), strict=True):
        if view.state != "pass":
            effect: Effect = "blocks" if names & {*audit.variants} else "aside"
            text = one_line("; ".join((view.sentence, *view.faults)), _MOST_TEXT)
            yield Concern(one_line(view.label, _MOST_TEXT), view.state, effect, text)


def _of_checks(record: Record) -> Iterator[Concern]:
    found = [one for one in named_results(record) if one.result.outcome != "pass"]
    found.sort(key=lambda one: LISTING_ORDER.index(one.result.outcome))
    for name, result, effect in found:
        aside = f", {ASIDE}" if effect == "aside" else ""
        reason = "; ".join((result.reason, *waivers_of_check(record, name)))
        text = one_line(f"{OUTCOME_WORDS[result.outcome]}{aside}: {reason}", _MOST_TEXT)
        yield Concern(one_line(name, _MOST_TEXT), result.outcome, effect, text)
