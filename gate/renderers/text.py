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
)
from gate.records import Record
from gate.result_records import CheckResult
from gate.serving_views import serving_table
from gate.views import artifact_of, not_passed, score_of, tally, weights_views

COLUMNS = 100
"""No line is longer."""

_NAME_COLUMNS = 24
_FAULTS = 10


def render(record: Record) -> str:
    """The record as plain text of at most 100 columns, without colour or escape sequences."""
    blocks = [
        _filled(f"{record.release}: {record.verdict.upper()}"),
        _filled(f"This candidate {VERDICT_SENTENCES[record.verdict]}."),
        "\n".join(_verdicts(record)),
        "\n\n".join(_tables(record)),
        "\n\n".join(_serving(record)),
        "\n".join(_weights(record)),
        "\n".join(_open_checks(record)),
        "\n".join(_filled(f"note: {warning}", hang=6) for warning in record.warnings),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _verdicts(record: Record) -> Iterable[str]:
    for found in record.verdicts:
        reasons = found.reasons or ("no reason was recorded",)
        yield _filled(f"{one_line(found.variant, _NAME_COLUMNS)}: {found.verdict}", indent=2)
        yield from (_filled(f"- {reason}", indent=4, hang=2) for reason in reasons)


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
    on_task = f" on {result.task}" if result.task else ""
    yield _filled(
        f"{OUTCOME_WORDS[result.outcome]}{warns}: {result.variant} vs {result.reference}{on_task}: "
        f"{rule_text(result)}",
        indent=2,
        hang=2,
    )
    if result.estimate is not None:
        found = interval_text(result.estimate, result.check)
        yield _filled(f"{found}, n = {count(result.estimate.n)}", indent=6)
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
