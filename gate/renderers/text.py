"""What the terminal says at the end of a run: verdict, scores, and what did not pass."""

import textwrap
from collections.abc import Iterable

from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    VERDICT_SENTENCES,
    count,
    interval_text,
    one_line,
    rule_text,
    score_text,
    size,
    task_text,
)
from gate.records import Record
from gate.reporting.advice import advice
from gate.reporting.concerns import failed_stages
from gate.reporting.derivations import evidence
from gate.reporting.distribution_views import distribution_rows
from gate.reporting.lineage_views import lineage_table
from gate.reporting.sentences import NO_REASON, settling, verdict_sentence
from gate.reporting.sequential_views import saved_text
from gate.reporting.serving_views import serving_table
from gate.reporting.signoff_views import signoff_lines
from gate.reporting.views import (
    artifact_of,
    collapsed_slices,
    not_passed,
    policy_lines,
    score_of,
    tally,
    weights_views,
)
from gate.result_records import CheckResult

COLUMNS = 100
"""No line is longer."""

_NAME_COLUMNS = 24
_FAULTS = 10


def render(record: Record) -> str:
    """The record as plain text of at most 100 columns, without colour or escape sequences."""
    blocks = [
        _filled(f"{record.release}: {record.verdict.upper()}"),
        _filled(f"This candidate {VERDICT_SENTENCES[record.verdict]}."),
        "\n".join(_policy(record)),
        "\n".join(_verdicts(record)),
        "\n".join(_filled(f"signed: {line}", hang=8) for line in signoff_lines(record)),
        "\n".join(_failed_stages(record)),
        "\n\n".join(_tables(record)),
        "\n\n".join(_lineages(record)),
        "\n\n".join(_distributions(record)),
        "\n\n".join(_serving(record)),
        "\n".join(_advice(record)),
        "\n".join(_weights(record)),
        "\n".join(_open_checks(record)),
        "\n".join(_collapsed(record)),
        _filled(saved_text(record)) if saved_text(record) else "",
        "\n".join(_filled(f"note: {warning}", hang=6) for warning in record.warnings),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _policy(record: Record) -> Iterable[str]:
    lines = policy_lines(record)
    if record.policy is not None and record.policy.notice:
        yield _filled(f"{record.policy.notice}:")
        yield from (_filled(f"- {line}", indent=2, hang=2) for line in lines)


def _verdicts(record: Record) -> Iterable[str]:
    """Each variant's verdict in a sentence, the reasons as recorded, and what would settle it."""
    for found in record.verdicts:
        reasons = found.reasons or (NO_REASON,)
        sentence = verdict_sentence(record, found)
        aside = "" if found.variant in record.ship else " (not up for release)"
        yield _filled(f"{found.verdict}{aside}: {sentence}", indent=2, hang=2)
        yield from (_filled(f"- {reason}", indent=4, hang=2) for reason in reasons)
        ways = settling(record, found)
        yield from (_filled(f"- to settle it: {way}", indent=4, hang=2) for way in ways)


def _failed_stages(record: Record) -> Iterable[str]:
    stages = failed_stages(record)
    yield from (_filled(f"stage failed: {line}", hang=2) for line in stages[:_FAULTS])
    if len(stages) > _FAULTS:
        yield f"and {count(len(stages) - _FAULTS, 'more stage')} in record.json"


def _tables(record: Record) -> Iterable[str]:
    """Variants by tasks: as many tasks side by side as fit, then the next ones below."""
    names = [
        ("* " if variant.name in record.ship else "  ") + one_line(variant.name, _NAME_COLUMNS)
        for variant in record.variants
    ]
    columns = [("variant", "", *names), ("kind", "", *(v.kind for v in record.variants))]
    for task in record.tasks:
        scores = (score_text(score_of(record, v.name, task.name)) for v in record.variants)
        heading = one_line(task.name, _NAME_COLUMNS), one_line(task.metric, _NAME_COLUMNS)
        columns.append((*heading, *scores))
    artifacts = (artifact_of(record, variant.name) for variant in record.variants)
    columns.append(("on disk", "", *(size(a.size_bytes) if a else MISSING for a in artifacts)))
    yield from _side_by_side(columns[:2], columns[2:])
    if record.ship:
        yield "* up for release"


def _lineages(record: Record) -> Iterable[str]:
    """What each cause changed: point estimates, as the intervals are in the report."""
    table = lineage_table(record)
    if table is None:
        return
    yield "Where each change comes from (intervals in the report)."
    names = (one_line(row.variant, _NAME_COLUMNS) for row in table.rows)
    tasks = (one_line(row.task, _NAME_COLUMNS) for row in table.rows)
    columns = [
        (cause, *(_point(row.cells[place]) for row in table.rows))
        for place, cause in enumerate(table.causes)
    ]
    columns.append(("total", *(_point(row.total) for row in table.rows)))
    yield from _side_by_side([("variant", *names), ("task", *tasks)], columns)


def _distributions(record: Record) -> Iterable[str]:
    rows = distribution_rows(record)
    if not rows:
        return
    yield "Distributions, candidate against reference on texts."
    fixed = [
        (name, *(one_line(getattr(row, field), _NAME_COLUMNS) for row in rows))
        for name, field in (("text", "text"), ("candidate", "variant"), ("against", "reference"))
    ]
    columns = [
        ("KL, nats a token", *(row.kl for row in rows)),
        ("same top", *(_point(row.same_top) for row in rows)),
        ("ln PPL ratio", *(row.ratio for row in rows)),
    ]
    yield from _side_by_side(fixed, columns)


def _point(text: str) -> str:
    """An estimate without its interval."""
    return text.partition(" (")[0]


def _collapsed(record: Record) -> Iterable[str]:
    for one in collapsed_slices(record):
        result = one.result
        if result.outcome == "fail":  # the sentence of the check tells of its slices
            continue
        yield _filled(
            f"slice {one.slice} of {result.task} collapsed: {result.variant} vs "
            f"{result.reference}: {one.check}: {one.estimate}, n = {one.n}",
            hang=2,
        )


def _serving(record: Record) -> Iterable[str]:
    """What each variant costs to serve: medians, without how far the repeats lay apart."""
    table = serving_table(record)
    if table is None:
        return
    yield _filled(f"Quality, size and speed. {table.settings}")
    names = (one_line(row.variant.name, _NAME_COLUMNS) for row in table.rows)
    columns = [
        (column.group.lower(), column.name, *(row.cells[place].value for row in table.rows))
        for place, column in enumerate(table.columns)
        if column.is_vital
    ]
    yield from _side_by_side([("variant", "", *names)], columns)


def _advice(record: Record) -> Iterable[str]:
    told = advice(record)
    if told:
        yield "When not to merge: advice, which changes no verdict."
        yield from (_filled(f"- {sentence}", indent=2, hang=2) for sentence in told)


def _side_by_side(fixed: list[tuple[str, ...]], rest: list[tuple[str, ...]]) -> Iterable[str]:
    """Columns beside the fixed ones, as many as fit, then the next ones below."""
    while rest:
        taken = [rest.pop(0)]
        while rest and _width([*fixed, *taken, rest[0]]) <= COLUMNS:
            taken.append(rest.pop(0))
        yield _aligned([*fixed, *taken], names=len(fixed))


def _weights(record: Record) -> Iterable[str]:
    for found in weights_views(record):
        yield _filled(f"{found.label}: {found.sentence}", hang=2)
        yield from (_filled(f"- {fault}", indent=2, hang=2) for fault in found.faults[:_FAULTS])
        if len(found.faults) > _FAULTS:
            yield f"  - and {count(len(found.faults) - _FAULTS, 'more fault')} in record.json"


def _width(columns: list[tuple[str, ...]]) -> int:
    return sum(max(map(len, column)) for column in columns) + 2 * (len(columns) - 1)


def _aligned(columns: list[tuple[str, ...]], *, names: int) -> str:
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    lines = (
        "  ".join(
            cell.rjust(width) if place >= names else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _open_checks(record: Record) -> Iterable[str]:
    results = not_passed(record)
    yield _filled(f"{count(len(record.results), 'check')}: {tally(record.results)}")
    for result in results:
        yield from _finding(result)


def _finding(result: CheckResult) -> Iterable[str]:
    warns = ", warns only" if result.check.level == "warn" else ""
    on_task = f" on {task_text(result)}" if result.task else ""
    yield _filled(
        f"{OUTCOME_WORDS[result.outcome]}{warns}: {result.variant} vs {result.reference}{on_task}: "
        f"{rule_text(result)}",
        indent=2,
        hang=2,
    )
    if result.estimate is not None:
        found = interval_text(result.estimate, result.check)
        yield _filled(f"{found}, n = {count(result.estimate.n)}", indent=6)
        yield _filled("; ".join(evidence(result)), indent=6)
    yield _filled(result.reason, indent=6)


def _filled(text: str, *, indent: int = 0, hang: int = 0) -> str:
    line = one_line(text, 20 * COLUMNS)
    return textwrap.fill(
        line,
        COLUMNS,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_on_hyphens=False,
    )
