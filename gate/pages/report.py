"""The release report as a page: the verdict, the evidence and where it came from."""

from collections.abc import Callable, Iterable, Mapping

from markupsafe import Markup

from gate.figures import (
    decisions,
    divergences,
    fronts,
    intervals,
    noise,
    slices,
    waterfalls,
    weights,
)
from gate.figures.drawn import Draw, draw_sections
from gate.pages.page import render_page
from gate.records import Record
from gate.reporting import (
    derivations,
    distribution_views,
    findings,
    lineage_views,
    reproduction,
    sentences,
    sequential_views,
    serving_views,
    signoff_views,
    views,
)
from gate.reporting.advice import advice
from gate.reporting.concerns import bearing
from gate.reporting.contents import Part, contents, results_of_shipped
from gate.reporting.document_data import pack_documents
from gate.reporting.document_views import changed_documents
from gate.reporting.formulas import DOCUMENTATION
from gate.reporting.glossary import GLOSSARY
from gate.signoff import chain_faults

_FIGURES: Mapping[str, Draw] = {
    "checks": intervals.draw,
    "slices": slices.draw,
    "looks": decisions.draw,
    "lineage": waterfalls.draw,
    "distributions": divergences.draw,
    "serving": fronts.draw,
    "noise": noise.draw,
    "weights": weights.draw,
}
"""{section: what draws its figures}."""

_ASSETS = ("page", "figures", "tables", "terms", "differences", "answers", "documents", "signoff")

_WITH_TABLE = {
    "checks",
    "slices",
    "looks",
    "variants",
    "lineage",
    "distributions",
    "serving",
    "provenance",
}


def make_report(record: Record, hole: Callable[[str], str]) -> str:
    """The record as one HTML page that loads nothing and can be read without its scripts.

    Args:
        record: what it shows.
        hole: what stands in the place of a text that is filled in afterwards, by its name:
            'judged', the moment; 'run', what the folder of the run is called; 'taken', how many
            stages the store had before; 'ran0' and so on, what came to each of them.
    """
    drawn = draw_sections(record, _FIGURES)
    parts = contents(record)
    changes = changed_documents(record)
    return render_page(
        "report.html.j2",
        parts=_ASSETS,
        figures=(figure for figures in drawn.values() for figure in figures),
        islands={"documents": pack_documents(record, changes)} if changes else {},
        record=record,
        hole=lambda name: Markup(hole(name)),
        drawn=drawn,
        tables=_numbered(parts),
        contents=parts,
        shipped=results_of_shipped(record),
        bearing=bearing(record),
        advice=advice(record),
        documentation=DOCUMENTATION,
        glossary=GLOSSARY,
        again_by=reproduction,
        changes=changes,
        look=views,
        findings=findings,
        verdicts=sentences,
        signing=signoff_views,
        chain_faults=chain_faults(record),
        proofs=derivations,
        sequence=sequential_views,
        lines=lineage_views,
        reads=distribution_views,
        costs=serving_views,
    )


def _numbered(parts: Iterable[Part]) -> dict[str, str]:
    """{part: 'Table 3'} of the parts whose table has a number, in their order."""
    there = (part.id for part in parts if part.id in _WITH_TABLE)
    return {part: f"Table {number}" for number, part in enumerate(there, start=1)}
