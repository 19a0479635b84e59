"""What reports say of lineages: what training gained and what each step to release cost."""

from collections.abc import Iterator
from typing import NamedTuple

from gate.lineage_records import Lineage
from gate.presentation import interval_text, unit_label
from gate.records import Record
from gate.result_records import Estimate

NO_STEP = "no such step"
"""What stands under a cause that a line does not have."""


class LineageRow(NamedTuple):
    """One task of one variant: what each cause changed, in words, and all of them together.

    Attributes:
        variant: the last of the line.
        task: the task.
        unit: what the numbers count.
        cells: one a column of the table.
        total: from the first of the line to the variant.
        changes: what the cells tell, unrounded; None where the line has no such step.
        whole: what the total tells, unrounded.
        documents: how many all variants of the line were asked.
    """

    variant: str
    task: str
    unit: str
    cells: tuple[str, ...]
    total: str
    documents: int
    changes: tuple[Estimate | None, ...]
    whole: Estimate


class LineageTable(NamedTuple):
    """The lineages of a record; `causes` head the columns between task and total."""

    causes: tuple[str, ...]
    rows: tuple[LineageRow, ...]


def lineage_table(record: Record) -> LineageTable | None:
    """Every lineage in a row; None where the record has none.

    A column is a cause, or several where no variant that was asked stands between them.
    """
    if not record.lineages:
        return None
    causes = tuple(_causes(record.lineages))
    return LineageTable(causes, tuple(_row(one, causes) for one in record.lineages))


def _causes(lineages: tuple[Lineage, ...]) -> Iterator[str]:
    """The causes that occur, in the order of the line."""
    order = ("training", "merge", "runtime", "quantization")
    found = {step.causes: order.index(step.cause) for one in lineages for step in one.steps}
    yield from sorted(found, key=lambda causes: (found[causes], len(causes)))


def _row(one: Lineage, causes: tuple[str, ...]) -> LineageRow:
    found = {step.causes: step.change for step in one.steps}
    changes = tuple(found.get(cause) for cause in causes)
    return LineageRow(
        variant=one.variant,
        task=one.task,
        unit=unit_label(one.total.unit),
        cells=tuple(NO_STEP if change is None else interval_text(change) for change in changes),
        total=interval_text(one.total),
        documents=one.documents,
        changes=changes,
        whole=one.total,
    )
