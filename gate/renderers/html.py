"""report.html: one self-contained page with the verdict, the evidence and where it came from."""

from gate.pages.page import render_page
from gate.records import Record
from gate.reporting import (
    derivations,
    distribution_views,
    lineage_views,
    panels,
    plots,
    sequential_views,
    serving_views,
    views,
    waterfalls,
)
from gate.reporting.document_views import task_changes
from gate.reporting.formulas import DOCUMENTATION


def render(record: Record) -> str:
    """The record as one HTML page that loads nothing and can be read without its scripts."""
    return render_page(
        "report.html.j2",
        parts=("page", "figures", "tables", "documents", "signoff"),
        figures=(),
        islands={},
        record=record,
        tables=_numbered(record),
        documentation=DOCUMENTATION,
        changes=tuple(task_changes(record)),
        look=views,
        panels=panels,
        proofs=derivations,
        sequence=sequential_views,
        lines=lineage_views,
        reads=distribution_views,
        costs=serving_views,
        plots=plots,
        falls=waterfalls,
    )


def _numbered(record: Record) -> dict[str, str]:
    """{part: 'Table 3'} of the parts that have a table in this record, in their order."""
    parts = {
        "checks": True,
        "slices": any(result.slices for result in record.results),
        "looks": any(result.looks for result in record.results),
        "variants": True,
        "lineage": bool(record.lineages),
        "distributions": bool(record.distributions),
        "serving": bool(record.serving),
        "artifacts": True,
    }
    there = [part for part, is_there in parts.items() if is_there]
    return {part: f"Table {number}" for number, part in enumerate(there, start=1)}
