"""The evidence beside scores and checks as plain tables, for reports that are text."""

from typing import NamedTuple

from gate.presentation import OUTCOME_WORDS, count
from gate.records import Record
from gate.reporting.distribution_views import distribution_rows
from gate.reporting.lineage_views import lineage_table
from gate.reporting.sequential_views import decisions
from gate.reporting.views import collapsed_slices


class Table(NamedTuple):
    """A table of plain text; without rows there is nothing to tell."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def policy_table(record: Record) -> Table:
    """What of the policy has changed since the last release."""
    changes = record.policy.changes if record.policy else ()
    return Table(
        ("Check", "Before", "→ After"),
        tuple(
            (one.check, one.before or "was not there", one.after or "taken away") for one in changes
        ),
    )


def slices_table(record: Record) -> Table:
    """The slices that collapsed, beside what all documents say."""
    return Table(
        ("Slice", "Variants", "Task", "Rule", "Estimate (interval)", "n", "All documents"),
        tuple(
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
        ),
    )


def lineages_table(record: Record) -> Table:
    """What each cause changed, for each variant and task."""
    found = lineage_table(record)
    causes = found.causes if found else ()
    return Table(
        ("Variant", "Task", *causes, "total", "n"),
        tuple(
            (row.variant, row.task, *row.cells, row.total, count(row.documents))
            for row in (found.rows if found else ())
        ),
    )


def distributions_table(record: Record) -> Table:
    """How far each candidate's next tokens are from its reference's."""
    return Table(
        ("Text", "Variants", "Mean KL, nats", "Same top", "ln PPL ratio", "Δp RMS", "At"),
        tuple(
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
        ),
    )


def decisions_table(record: Record) -> Table:
    """How many documents each sequential check took."""
    return Table(
        ("Check", "Outcome", "Documents", "Looks", "Estimate (interval)", "Bound"),
        tuple(
            (
                f"{one.label}: {one.check}",
                one.outcome,
                count(one.documents),
                count(one.looks),
                one.estimate,
                one.method,
            )
            for one in decisions(record)
        ),
    )
