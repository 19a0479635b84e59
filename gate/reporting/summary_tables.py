"""The tables of summary.md, each of at most so many rows, and empty where there is nothing."""

from collections.abc import Iterable

from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    bits,
    count,
    interval_text,
    moment,
    rule_text,
    score_text,
    size,
    task_text,
)
from gate.records import Record
from gate.reporting.derivations import evidence
from gate.reporting.distribution_views import distribution_rows
from gate.reporting.lineage_views import lineage_table
from gate.reporting.markup import escape, grid, plain_grid
from gate.reporting.sequential_views import decisions
from gate.reporting.serving_views import Cell, serving_table
from gate.reporting.views import (
    TAKEN_AWAY,
    WAS_NOT_THERE,
    artifact_of,
    collapsed_slices,
    noise_rows,
    score_of,
    weights_views,
)
from gate.result_records import CheckResult, Outcome, Verdict
from gate.terms import Variant

SIGNS: dict[Outcome | Verdict, str] = {
    "pass": "✅ passed",
    "fail": "❌ failed",
    "inconclusive": "❔ inconclusive",
    "error": "⚠️ error",
    "promote": "✅ promote",
    "block": "❌ block",
}
"""Each outcome and verdict, with a sign that is told apart without colour."""


def variants_grid(record: Record, rows: int) -> str:
    """Each variant's scores and size."""
    tasks = [f"{escape(task.name)} ({escape(task.metric)})" for task in record.tasks]
    cells = [_variant_row(record, variant) for variant in record.variants]
    return grid(("Variant", "Kind", *tasks, "On disk", "Bits per weight"), cells, rows)


def _variant_row(record: Record, variant: Variant) -> tuple[str, ...]:
    name = escape(variant.name)
    artifact = artifact_of(record, variant.name)
    return (
        f"**{name}** (up for release)" if variant.name in record.ship else name,
        variant.kind,
        *(_score(record, variant.name, task.name) for task in record.tasks),
        size(artifact.size_bytes) if artifact else MISSING,
        bits(artifact.report.bits_per_weight) if artifact else MISSING,
    )


def _score(record: Record, variant: str, task: str) -> str:
    score = score_of(record, variant, task)
    number = score_text(score)
    return f"{number} (n = {count(len(score.samples))})" if score and score.samples else number


def serving_grid(record: Record, rows: int) -> str:
    """What each variant costs to serve; empty where nothing was measured."""
    table = serving_table(record)
    if table is None:
        return ""
    cells = [
        (escape(row.variant.name), escape(row.variant.backend.name), *map(_cell, row.cells))
        for row in table.rows
    ]
    header = ("Variant", "Engine", *(column.title for column in table.columns))
    return (
        f"{escape(table.settings)} In brackets the smallest and the largest.\n\n"
        f"{grid(header, cells, rows)}"
    )


def _cell(cell: Cell) -> str:
    return f"{cell.value} ({escape(cell.remark)})" if cell.remark else cell.value


def weights_grid(record: Record, rows: int) -> str:
    """What the audits of the weights came to."""
    cells = [
        (escape(one.label), SIGNS[one.state], escape("; ".join((one.sentence, *one.faults))))
        for one in weights_views(record)
    ]
    return grid(("Weights", "Proof", "What was found"), cells, rows)


def policy_grid(record: Record, rows: int) -> str:
    """What of the policy has changed since the last release."""
    changes = record.policy.changes if record.policy else ()
    cells = [(one.check, one.before or WAS_NOT_THERE, one.after or TAKEN_AWAY) for one in changes]
    return plain_grid(("Check", "Before", "→ After"), cells, rows)


def slices_grid(record: Record, rows: int) -> str:
    """The slices that collapsed, beside what all documents say."""
    header = ("Slice", "Variants", "Task", "Rule", "Estimate (interval)", "n", "All documents")
    cells = [
        (
            one.slice,
            f"{one.result.variant} vs {one.result.reference}",
            one.result.task,
            one.check,
            one.estimate,
            one.n,
            OUTCOME_WORDS[one.result.outcome],
        )
        for one in collapsed_slices(record)
    ]
    return plain_grid(header, cells, rows)


def lineages_grid(record: Record, rows: int) -> str:
    """What each cause changed, for each variant and task."""
    found = lineage_table(record)
    if found is None:
        return ""
    cells = [
        (row.variant, row.task, *row.cells, row.total, count(row.documents)) for row in found.rows
    ]
    return plain_grid(("Variant", "Task", *found.causes, "total", "n"), cells, rows)


def distributions_grid(record: Record, rows: int) -> str:
    """How far each candidate's next tokens are from its reference's."""
    header = ("Text", "Variants", "Mean KL, nats", "Same top", "ln PPL ratio", "Δp RMS", "At")
    cells = [
        (
            f"{row.text} ({row.tokens})",
            f"{row.variant} vs {row.reference}",
            row.kl,
            row.same_top,
            row.ratio,
            row.delta_p,
            row.compared,
        )
        for row in distribution_rows(record)
    ]
    return plain_grid(header, cells, rows)


def decisions_grid(record: Record, rows: int) -> str:
    """How many documents each sequential check took."""
    header = ("Check", "Outcome", "Documents", "Looks", "Estimate (interval)", "Bound")
    cells = [
        (
            f"{one.label}: {one.check}",
            one.outcome,
            count(one.documents),
            count(one.looks),
            one.estimate,
            one.method,
        )
        for one in decisions(record)
    ]
    return plain_grid(header, cells, rows)


def noise_grid(record: Record, rows: int) -> str:
    """What each engine changes by itself."""
    header = ("Engine", "Task", "Asked twice", "Changed", "Change", "Largest nats", "KL nats")
    return plain_grid(header, noise_rows(record), rows)


def checks_grid(results: Iterable[CheckResult], rows: int) -> str:
    """Checks with their outcomes, numbers and reasons."""
    header = ("Outcome", "Variants", "Task", "Rule", "Estimate (interval)", "n", "Reason")
    return grid(header, [_check_row(result) for result in results], rows)


def _check_row(result: CheckResult) -> tuple[str, ...]:
    estimate, found = result.estimate, map(escape, evidence(result))
    return (
        SIGNS[result.outcome] + (" (warns only)" if result.check.level == "warn" else ""),
        f"{escape(result.variant)} vs {escape(result.reference)}",
        escape(task_text(result)),
        escape(rule_text(result)),
        "<br>".join((interval_text(estimate, result.check), *found)) if estimate else MISSING,
        count(estimate.n) if estimate else MISSING,
        escape(result.reason),
    )


def provenance_list(record: Record, rows: int) -> str:
    """What was judged, by what, where and when."""
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
