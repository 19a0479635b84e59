"""junit.xml: one test case a check result, so that a CI system shows what did not pass.

The file is red exactly when the release may not go out, which one more test case tells. A check
that only warns passes, with its finding in system-out; one of a variant that is not up for release
is skipped where it did not pass. The shape is that of Jenkins' schema, junit-10.xsd of its xUnit
plugin. GitLab shows a failure's text and not its message, so that the reason stands in both.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    VERDICT_SENTENCES,
    interval_text,
    printable,
    rule_text,
)
from gate.records import Record
from gate.reporting.concerns import NamedResult, failed_stages, named_results
from gate.reporting.derivations import derive, evidence
from gate.reporting.report_files import RECORD_FILE
from gate.reporting.signoff_views import signoff_lines, waivers_of_check
from gate.reporting.views import policy_lines, tally, weights_views
from gate.result_records import DECIDED_BY, CheckResult
from gate.serving_records import BatchKind, SpeedMeasure

_FIRMNESS = ("tolerance", "needed")
_COUNTED = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
_SPEEDS: tuple[tuple[str, SpeedMeasure, BatchKind], ...] = (
    ("load_seconds", "load", "many"),
    ("first_token_seconds", "first_token", "many"),
    ("prefill_tokens_per_second.one", "prefill", "one"),
    ("prefill_tokens_per_second.many", "prefill", "many"),
    ("decode_tokens_per_second.one", "decode", "one"),
    ("decode_tokens_per_second.many", "decode", "many"),
    ("peak_memory_bytes", "memory", "many"),
)


def render(record: Record) -> str:
    """The record as JUnit XML, without the characters that XML cannot hold."""
    spent = sum(stage.seconds for stage in record.stages if not stage.is_cached)
    root = Element("testsuites", name=printable(record.release), time=f"{spent:.3f}")
    checks = _suite(root, record, "checks")
    _add_properties(checks, record)
    for named in named_results(record):
        _add_case(checks, named, waivers_of_check(record, named.name))
    if record.audits:
        _add_weights(_suite(root, record, "weights"), record)
    _add_verdict(_suite(root, record, "verdict"), record)
    for suite in root:
        _count(suite, ("tests", "failures", "errors", "skipped"))
    _count(root, ("tests", "failures", "errors"))
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, record: Record, part: str) -> Element:
    made_at = record.provenance.created_at.astimezone(UTC)
    return SubElement(
        root,
        "testsuite",
        name=printable(f"{record.release} {part}"),
        timestamp=made_at.strftime("%Y-%m-%dT%H:%M:%S"),
        file=RECORD_FILE,
    )


def _add_properties(suite: Element, record: Record) -> None:
    properties = SubElement(suite, "properties")
    for key, value in (
        ("verdict", record.verdict),
        ("suite", record.suite),
        ("suite_digest", record.suite_digest),
        ("created_at", record.provenance.created_at.isoformat()),
        ("gate_version", record.provenance.gate_version),
        *_policy(record),
        *_serving(record),
        *((f"signoff.{at}", line) for at, line in enumerate(signoff_lines(record), start=1)),
    ):
        SubElement(properties, "property", name=printable(key), value=printable(value))


def _policy(record: Record) -> Iterator[tuple[str, str]]:
    """What the run was judged by, and each change since the last release."""
    if record.policy is not None:
        yield "policy_digest", record.policy.digest
        for number, line in enumerate(policy_lines(record), start=1):
            yield f"policy_change.{number}", line


def _serving(record: Record) -> Iterator[tuple[str, str]]:
    """What each variant costs to serve, in bytes, seconds and tokens a second, unrounded."""
    for one in record.serving:
        sizes = (
            ("size_bytes", one.size_bytes),
            ("weight_bytes", one.weight_bytes),
            ("bits_per_weight", one.bits_per_weight),
        )
        speeds = (
            (name, spread.median)
            for name, measure, batch in _SPEEDS
            if (spread := one.over_runs(measure, batch)) is not None
        )
        for name, value in (*sizes, *speeds):
            if value is not None:
                yield f"serving.{one.variant}.{name}", repr(value)


def _add_case(suite: Element, named: NamedResult, waivers: Iterable[str]) -> None:
    """A check as a test case; judging takes no time that could be told.

    What is waived fails as before, and says that it is waived.
    """
    result = named.result
    case = _case(suite, f"gate.{result.variant}", named.name, seconds=0.0)
    reason = printable("; ".join((result.reason, *waivers)))
    details = _details(result)
    if result.outcome == "pass":
        SubElement(case, "system-out").text = details
    elif named.effect == "aside":
        found = f"not up for release; {OUTCOME_WORDS[result.outcome]}: {reason}"
        _add_problem(case, "skipped", found, details)
    elif named.effect == "warns":
        found = f"warning, {OUTCOME_WORDS[result.outcome]}: {reason}"
        SubElement(case, "system-out").text = f"{found}\n{details}"
    else:
        _add_problem(case, result.outcome, reason, details)


def _add_weights(suite: Element, record: Record) -> None:
    took = {stage.label: stage.seconds for stage in record.stages}
    for found in weights_views(record):
        case = _case(suite, "gate.weights", found.label, seconds=took.get(found.label, 0.0))
        if found.state == "pass":
            SubElement(case, "system-out").text = printable(found.sentence)
        else:
            details = printable("\n".join(found.faults))
            _add_problem(case, found.state, printable(found.sentence), details)


def _add_verdict(suite: Element, record: Record) -> None:
    case = _case(suite, "gate", "verdict", seconds=0.0)
    sentence = printable(f"{record.release} {VERDICT_SENTENCES[record.verdict]}")
    lines = [f"checks: {tally(record.results)}"]
    lines += [f"stage failed: {line}" for line in failed_stages(record)]
    if record.verdict != "promote":
        _add_problem(case, DECIDED_BY[record.verdict], sentence, printable("\n".join(lines)))


def _case(suite: Element, classname: str, name: str, *, seconds: float) -> Element:
    return SubElement(
        suite,
        "testcase",
        classname=printable(classname),
        name=printable(name),
        time=f"{seconds:.3f}",
    )


def _add_problem(case: Element, kind: str, message: str, details: str) -> None:
    tag = kind if kind in ("error", "skipped") else "failure"
    problem = SubElement(case, tag, type=kind, message=message)
    problem.text = f"{message}\n{details}".rstrip()


def _details(result: CheckResult) -> str:
    estimate = result.estimate
    if estimate is None:
        return printable(f"rule: {rule_text(result)}\nestimate: {MISSING}")
    lines = [
        f"rule: {rule_text(result)}",
        f"estimate: {interval_text(estimate, result.check)}, {estimate.unit}",
        f"n: {estimate.n}",
        f"method: {'; '.join(evidence(result))}",
    ]
    proof = derive(result)
    if proof is not None:
        lines += [f"{fact.name}: {fact.value}" for fact in proof.facts if fact.name in _FIRMNESS]
        lines += proof.steps
    lines += [
        f"slice {one.slice}{' COLLAPSED' if one.has_collapsed else ''}: "
        f"{interval_text(one.estimate, result.check)}, n: {one.estimate.n}"
        for one in result.slices
    ]
    lines += [
        f"look at {look.documents}: {interval_text(look.estimate, result.check)}"
        for look in result.looks
    ]
    return printable("\n".join(lines))


def _count(element: Element, attributes: Iterable[str]) -> None:
    """Write how many cases there are, and how many of each kind, as readers of JUnit expect."""
    for attribute in attributes:
        number = sum(1 for _ in element.iter(_COUNTED[attribute]))
        element.set(attribute, str(number))
