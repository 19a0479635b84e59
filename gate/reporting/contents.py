"""The parts of a report in their order, and what each has come to."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from gate.presentation import OUTCOME_WORDS, count
from gate.records import Record
from gate.reporting.sentences import blocking_checks
from gate.reporting.signoff_views import DECIDED
from gate.reporting.views import weights_views
from gate.result_records import CheckResult, Outcome
from gate.signoff import chain_faults


class Part(NamedTuple):
    """A part of a report.

    Attributes:
        id: its place in the page.
        title: its heading.
        state: the mark it is shown with; None where it is nothing that passes or fails.
        told: what it has come to, in two words; empty where there is nothing to tell.
    """

    id: str
    title: str
    state: Outcome | Literal["neutral"] | None = None
    told: str = ""


def contents(record: Record) -> tuple[Part, ...]:
    """The parts that this record's report has; states are of what is up for release."""
    return tuple(_parts(record))


def _parts(record: Record) -> Iterator[Part]:
    shipped = results_of_shipped(record)
    yield _checks(shipped)
    if any(result.slices for result in record.results):
        yield _slices(shipped)
    if any(result.looks for result in record.results):
        yield Part("looks", "Decisions")
    yield Part("variants", "Variants")
    if record.lineages:
        yield Part("lineage", "Lineage")
    if record.distributions:
        yield Part("distributions", "Distributions")
    if record.serving:
        yield Part("serving", "Serving")
    if record.noise:
        yield Part("noise", "Noise")
    if record.audits:
        yield _weights(record)
    yield Part("documents", "Documents")
    yield Part("provenance", "Provenance")
    yield _signoff(record)
    yield Part("terms", "Terms")


def results_of_shipped(record: Record) -> tuple[CheckResult, ...]:
    """The blocking checks that the verdicts of what is up for release rest on, each once."""
    verdicts = (found for found in record.verdicts if found.variant in record.ship)
    checks = {
        one.number: one.result for found in verdicts for one in blocking_checks(record, found)
    }
    return tuple(checks[number] for number in sorted(checks))


def _checks(shipped: Sequence[CheckResult]) -> Part:
    """How many checks have the gravest outcome there is."""
    outcomes = [result.outcome for result in shipped]
    gravest: tuple[Outcome, ...] = ("error", "fail", "inconclusive", "pass")
    for outcome in gravest:
        if outcome in outcomes:
            told = f"{count(outcomes.count(outcome))} {OUTCOME_WORDS[outcome]}"
            return Part("checks", "Checks", outcome, told)
    return Part("checks", "Checks", "error", "none blocks")


def _slices(shipped: Sequence[CheckResult]) -> Part:
    collapsed = sum(one.has_collapsed for result in shipped for one in result.slices)
    if collapsed:
        return Part("slices", "Slices", "fail", f"{count(collapsed)} collapsed")
    return Part("slices", "Slices", "pass", "none collapsed")


def _weights(record: Record) -> Part:
    states = [one.state for one in weights_views(record)]
    if "fail" in states:
        return Part("weights", "Weights", "fail", "not proven")
    if "error" in states:
        return Part("weights", "Weights", "error", "not audited")
    if "inconclusive" in states:
        return Part("weights", "Weights", "inconclusive", "not all audited")
    return Part("weights", "Weights", "pass", "proven")


def _signoff(record: Record) -> Part:
    """The last decision on the release; waivers are of single checks."""
    if chain_faults(record):
        return Part("sign-off", "Sign-off", "fail", "not reliable")
    decisions = [one.decision for one in record.signoff]
    last = next((one for one in reversed(decisions) if one != "waive"), None)
    told = DECIDED[last] if last else "not signed"
    return Part("sign-off", "Sign-off", "neutral", told)
