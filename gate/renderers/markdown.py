"""summary.md: the verdict and what did not pass, sized and escaped for a pull-request comment."""

import re
from collections.abc import Iterable, Sequence

from gate.presentation import (
    MISSING,
    VERDICT_SENTENCES,
    amount,
    count,
    interval_text,
    moment,
    one_line,
    rule_text,
    score_text,
    size,
    task_text,
)
from gate.records import Record
from gate.reporting.derivations import evidence
from gate.reporting.evidence_tables import (
    Table,
    decisions_table,
    distributions_table,
    lineages_table,
    policy_table,
    slices_table,
)
from gate.reporting.sequential_views import saved_text
from gate.reporting.serving_views import Cell, serving_table
from gate.reporting.views import (
    artifact_of,
    noise_rows,
    not_passed,
    score_of,
    tally,
    weights_views,
)
from gate.result_records import CheckResult, Outcome, Verdict
from gate.terms import Variant

MOST_CHARACTERS = 65_536
"""What a comment on GitHub holds."""

_MOST_ROWS = (40, 10, 3)
_MOST_TEXT = 240
_SIGNS: dict[Outcome | Verdict, str] = {
    "pass": "✅ passed",
    "fail": "❌ failed",
    "inconclusive": "❔ inconclusive",
    "error": "⚠️ error",
    "promote": "✅ promote",
    "block": "❌ block",
}
_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_LINKING = re.compile(r"([@#]|(?<=[a-z]):(?=//)|(?<=www)\.)", re.IGNORECASE)


def render(record: Record) -> str:
    """The record as GitHub-flavoured Markdown, every name and answer in it escaped.

    Tables and lists are cut, and say so, until the whole fits in a comment.
    """
    drafts = (_draft(record, rows) for rows in _MOST_ROWS)
    return next((text for text in drafts if len(text) <= MOST_CHARACTERS), _heading(record))


def _draft(record: Record, rows: int) -> str:
    parts = (
        _heading(record),
        _policy(record, rows),
        _verdicts(record, rows),
        _notes(record, rows),
        _variants(record, rows),
        _serving(record, rows),
        _weights(record, rows),
        _open_checks(record, rows),
        _headed("Slices that collapsed", _plain(slices_table(record), rows)),
        _folded("Lineage: what each step gained or cost", _plain(lineages_table(record), rows)),
        _folded("Distributions over texts", _plain(distributions_table(record), rows)),
        _folded(
            f"Documents to a decision. {saved_text(record)}", _plain(decisions_table(record), rows)
        ),
        _folded("Noise of the engines", _noise(record, rows)),
        _folded(f"All {count(len(record.results), 'check')}", _checks(record.results, rows)),
        _folded("Provenance", _provenance(record, rows)),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(record: Record) -> str:
    return (
        f"## {escape(record.release)}: {_SIGNS[record.verdict]}\n\n"
        f"This candidate {VERDICT_SENTENCES[record.verdict]}. "
        f"{count(len(record.results), 'check')} of suite {escape(record.suite)}: "
        f"{tally(record.results)}."
    )


def escape(text: str) -> str:
    """Untrusted text as inert Markdown on one line.

    A mention, an issue number and a bare address get a zero-width space, because GitHub links
    them after Markdown's own escapes are gone.
    """
    line = _MARKUP.sub(r"\\\1", one_line(text, _MOST_TEXT))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKING.sub("\\1\N{ZERO WIDTH SPACE}", line)


def _policy(record: Record, rows: int) -> str:
    notice = record.policy.notice if record.policy else None
    return _headed(f"⚠️ {escape(notice)}", _plain(policy_table(record), rows)) if notice else ""


def _verdicts(record: Record, rows: int) -> str:
    lines = []
    for found in record.verdicts[:rows]:
        lines.append(f"- **{escape(found.variant)}**: {_SIGNS[found.verdict]}")
        lines += [f"  - {escape(reason)}" for reason in found.reasons[:5]]
        if len(found.reasons) > 5:  # noqa: PLR2004 - as many as the line above shows
            lines.append(f"  - and {count(len(found.reasons) - 5, 'more reason')}")
    if len(record.verdicts) > rows:
        lines.append(f"- and {count(len(record.verdicts) - rows, 'more variant')}")
    return "\n".join(lines)


def _notes(record: Record, rows: int) -> str:
    lines = [f"- note: {escape(warning)}" for warning in record.warnings[:rows]]
    if len(record.warnings) > rows:
        lines.append(f"- and {count(len(record.warnings) - rows, 'more note')} in record.json")
    return "\n".join(lines)


def _variants(record: Record, rows: int) -> str:
    tasks = [f"{escape(task.name)} ({escape(task.metric)})" for task in record.tasks]
    cells = [_variant_row(record, variant) for variant in record.variants]
    return _table(("Variant", "Kind", *tasks, "On disk", "Bits per weight"), cells, rows)


def _serving(record: Record, rows: int) -> str:
    table = serving_table(record)
    if table is None:
        return ""
    cells = [
        (escape(row.variant.name), escape(row.variant.backend.name), *map(_cell, row.cells))
        for row in table.rows
    ]
    header = ("Variant", "Engine", *(column.title for column in table.columns))
    return (
        f"### Quality, size and speed\n\n{escape(table.settings)} In brackets the smallest and the "
        f"largest.\n\n{_table(header, cells, rows)}"
    )


def _cell(cell: Cell) -> str:
    return f"{cell.value} ({escape(cell.remark)})" if cell.remark else cell.value


def _weights(record: Record, rows: int) -> str:
    cells = [
        (escape(one.label), _SIGNS[one.state], escape("; ".join((one.sentence, *one.faults))))
        for one in weights_views(record)
    ]
    return _table(("Weights", "Proof", "What was found"), cells, rows)


def _noise(record: Record, rows: int) -> str:
    cells = [tuple(map(escape, row)) for row in noise_rows(record)]
    header = ("Engine", "Task", "Asked twice", "Changed", "Change", "Largest nats", "KL nats")
    return _table(header, cells, rows)


def _variant_row(record: Record, variant: Variant) -> tuple[str, ...]:
    name = escape(variant.name)
    artifact = artifact_of(record, variant.name)
    return (
        f"**{name}** (up for release)" if variant.name in record.ship else name,
        variant.kind,
        *(_score(record, variant.name, task.name) for task in record.tasks),
        size(artifact.size_bytes) if artifact else MISSING,
        amount(artifact.report.bits_per_weight, "") if artifact else MISSING,
    )


def _score(record: Record, variant: str, task: str) -> str:
    score = score_of(record, variant, task)
    number = score_text(score)
    return f"{number} (n = {count(len(score.samples))})" if score and score.samples else number


def _open_checks(record: Record, rows: int) -> str:
    return _headed("Did not pass", _checks(not_passed(record), rows))


def _checks(results: Iterable[CheckResult], rows: int) -> str:
    cells = [
        (
            _SIGNS[result.outcome] + (" (warns only)" if result.check.level == "warn" else ""),
            f"{escape(result.variant)} vs {escape(result.reference)}",
            escape(task_text(result)),
            escape(rule_text(result)),
            "<br>".join((interval_text(result.estimate, result.check), *_evidence(result)))
            if result.estimate
            else MISSING,
            count(result.estimate.n) if result.estimate else MISSING,
            escape(result.reason),
        )
        for result in results
    ]
    header = ("Outcome", "Variants", "Task", "Rule", "Estimate (interval)", "n", "Reason")
    return _table(header, cells, rows)


def _evidence(result: CheckResult) -> tuple[str, ...]:
    return tuple(map(escape, evidence(result)))


def _provenance(record: Record, rows: int) -> str:
    machine = record.provenance
    base = record.base.commit or record.base.digest
    lines = [
        f"- base model: {escape(record.base.given)}, {escape(base)}",
        *(
            f"- adapter {escape(name)}: {escape(source.given)}, {escape(source.digest)}"
            for name, source in record.adapters.items()
        ),
        f"- training run: {escape(record.candidate.training_run or 'not given')}",
        *(
            f"- artifact {escape(artifact.name)}: {escape(artifact.digest)}"
            for artifact in record.artifacts[:rows]
        ),
        f"- suite {escape(record.suite)}: {escape(record.suite_digest)}",
        *([f"- policy: {escape(record.policy.digest)}"] if record.policy else []),
        f"- judged {moment(machine.created_at)} by mergegate {escape(machine.gate_version)}, "
        f"git commit {escape(machine.git_commit or 'not known')}, "
        f"on {escape(machine.cpu)}, {escape(', '.join(machine.gpus) or 'no GPU')}",
    ]
    return "\n".join(lines)


def _table(header: tuple[str, ...], cells: Sequence[tuple[str, ...]], rows: int) -> str:
    if not cells:
        return ""
    lines = [header, ("---",) * len(header), *cells[:rows]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if len(cells) > rows:
        text += f"\n\n{count(len(cells) - rows, 'more row')} in record.json."
    return text


def _plain(table: Table, rows: int) -> str:
    """A table of plain text, every cell of it escaped."""
    return _table(table.header, [tuple(map(escape, row)) for row in table.rows], rows)


def _headed(title: str, body: str) -> str:
    return f"### {title}\n\n{body}" if body else ""


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if body else ""
