"""junit.xml: one test case a check result, so that a CI system shows what did not pass.

A check that only warns never fails its test case: its finding stands in system-out. One more test
case carries the verdict, so that the file is red exactly when the release may not go out.
"""

from collections import Counter
from collections.abc import Iterator
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
from gate.reporting.derivations import derive, evidence
from gate.reporting.views import policy_lines, tally, weights_views
from gate.result_records import CheckResult, Verdict
from gate.serving_records import BatchKind, SpeedMeasure

_FIRMNESS = ("tolerance", "needed")
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
    root = Element("testsuites", name=printable(record.release))
    checks = SubElement(root, "testsuite", name=printable(f"{record.release} checks"))
    properties = SubElement(checks, "properties")
    for key, value in (
        ("verdict", record.verdict),
        ("suite", record.suite),
        ("suite_digest", record.suite_digest),
        ("created_at", record.provenance.created_at.isoformat()),
        ("gate_version", record.provenance.gate_version),
        *_policy(record),
        *_serving(record),
    ):
        SubElement(properties, "property", name=printable(key), value=printable(value))
    seen: Counter[str] = Counter()
    for result in record.results:
        name = case_name(result)
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        _add_case(checks, unique, result)
    suites = [checks]
    if record.audits:
        weights = SubElement(root, "testsuite", name=printable(f"{record.release} weights"))
        _add_weights(weights, record)
        suites.append(weights)
    verdict = SubElement(root, "testsuite", name=printable(f"{record.release} verdict"))
    _add_verdict(verdict, record)
    for suite in (*suites, verdict):
        _count(suite, suite)
    _count(root, root)
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def case_name(result: CheckResult) -> str:
    """A check result as a test's name: 'q4_k_m-vs-merged[desk_intent]:delta'."""
    part = f"/{result.check.slice}" if result.check.slice else ""
    task = f"[{result.task}{part}]" if result.task else ""
    return printable(f"{result.variant}-vs-{result.reference}{task}:{result.check.compare.name}")


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


def _add_case(suite: Element, name: str, result: CheckResult) -> None:
    case = SubElement(suite, "testcase", classname=printable(f"gate.{result.variant}"), name=name)
    details = _details(result)
    if result.outcome != "pass" and result.check.level == "warn":
        found = f"warning, {OUTCOME_WORDS[result.outcome]}: {printable(result.reason)}"
        SubElement(case, "system-out").text = f"{found}\n{details}"
    elif result.outcome == "pass":
        SubElement(case, "system-out").text = details
    else:
        _add_problem(case, result.outcome, printable(result.reason), details)


def _add_weights(suite: Element, record: Record) -> None:
    for found in weights_views(record):
        case = SubElement(suite, "testcase", classname="gate.weights", name=printable(found.label))
        if found.state == "pass":
            SubElement(case, "system-out").text = printable(found.sentence)
        else:
            details = printable("\n".join(found.faults))
            _add_problem(case, found.state, printable(found.sentence), details)


def _add_verdict(suite: Element, record: Record) -> None:
    case = SubElement(suite, "testcase", classname="gate", name="verdict")
    sentence = f"{record.release} {VERDICT_SENTENCES[record.verdict]}"
    types: dict[Verdict, str] = {"block": "fail", "inconclusive": "inconclusive", "error": "error"}
    if record.verdict in types:
        _add_problem(
            case, types[record.verdict], printable(sentence), f"checks: {tally(record.results)}"
        )


def _add_problem(case: Element, kind: str, message: str, details: str) -> None:
    tag = "error" if kind == "error" else "failure"
    SubElement(case, tag, type=kind, message=message).text = details


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


def _count(element: Element, within: Element) -> None:
    """Write the numbers of cases, failures and errors that readers of JUnit expect."""
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        element.set(attribute, str(sum(1 for _ in within.iter(tag))))
