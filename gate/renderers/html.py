"""report.html: one self-contained page with the verdict, the evidence and where it came from."""

import re
from collections.abc import Mapping

from gate.figures.timeless import content_id, keep_made, without_moment
from gate.presentation import moment
from gate.records import Record, StageRecord
from gate.reporting.report_files import run_name

_MOST_KEPT = 12
"""Pages that are kept: some 1.5 MB each with a thousand documents."""


def render(record: Record) -> str:
    """The record as one HTML page that loads nothing and can be read without its scripts.

    The page of an earlier run that found the same is taken over, but for what tells the two apart.
    """
    # a sign-off is of all that the record holds, the moment too
    shown = record if record.signoff else without_moment(record)
    content = content_id(shown)

    def make() -> str:
        from gate.pages.report import make_report  # a page that is kept needs none of it

        return make_report(shown, lambda name: f"{content}/{name}.")

    page = keep_made("pages", content, make, most=_MOST_KEPT)
    told = _told_of_the_run(record)
    # nothing that a record holds can be mistaken for a hole: it would hold its own hash
    return re.sub(rf"{content}/(\w+)\.", lambda hole: told[hole[1]], page)


def _told_of_the_run(record: Record) -> Mapping[str, str]:
    """{hole: what fills it}: when the run was, and which stages the store had before it."""
    taken = sum(stage.is_cached for stage in record.stages)
    return {
        "judged": moment(record.provenance.created_at),
        "run": run_name(record),
        "taken": str(taken),
        **{f"ran{place}": _ran(stage) for place, stage in enumerate(record.stages)},
    }


def _ran(stage: StageRecord) -> str:
    """What came to a stage, in a word or two."""
    if stage.is_cached:
        return "cached"
    if stage.error:
        return "failed"
    return "not run" if stage.skipped else "ran"
