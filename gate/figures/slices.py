"""Slices: each check on a task that names them, on all documents and on each slice of them."""

from collections.abc import Iterable, Sequence

from gate.figures.composing import compose
from gate.figures.facts import (
    Numbered,
    check_facts,
    estimate_facts,
    found_text,
    numbered,
    value_text,
)
from gate.figures.figure import Figure
from gate.figures.lettering import name
from gate.figures.parts import fill, in_parts
from gate.figures.sheet import State, join, legend
from gate.figures.strips import Panel, Strip, draw_panels, span
from gate.presentation import OUTCOME_WORDS, count, unit_label
from gate.records import Record
from gate.result_records import CheckResult, Estimate

MOST_ROWS = 60
"""Rows of the figure; checks for which there is no room are in the table only."""

_LEGEND = 34.0


def draw(record: Record) -> tuple[Figure, ...]:
    """The figure: a panel for each check that has slices, those with one that collapsed first.

    Of either, what is not up for release comes last.
    """
    sliced = [one for one in numbered(record) if one.result.slices and one.result.estimate]
    if not sliced:
        return ()
    sliced.sort(key=lambda one: (not _collapsed(one.result), one.is_aside))
    shown = tuple(_first(sliced))
    panels = [_panel(one) for one in shown]
    states = {strip.state for panel in panels for strip in panel.strips}
    collapsed = sum(_collapsed(one.result) for one in sliced)
    figure = Figure(
        id="figure-slices",
        title="Checks by slice",
        summary=f"{count(len(sliced), 'check')} on all documents and on each slice of them; "
        f"{count(collapsed, 'slice')} collapsed. The table of slices has the same numbers.",
        caption=_caption(len(sliced) - len(shown)),
        spec="",
    )
    key = legend(states, top=0)
    sheets = (join((key, draw_panels(part, top=_LEGEND))) for part in fill(panels, head=_LEGEND))
    return in_parts(figure, tuple(map(compose, sheets)))


def _collapsed(result: CheckResult) -> int:
    return sum(one.has_collapsed for one in result.slices)


def _first(sliced: Sequence[Numbered]) -> Iterable[Numbered]:
    """The first of them, as many as there is room for; one at the least."""
    rows = 0
    for place, one in enumerate(sliced):
        rows += 1 + len(one.result.slices)
        if place and rows > MOST_ROWS:
            return
        yield one


def _caption(left_out: int) -> str:
    more = f" {count(left_out, 'check')} without room here: in the table." if left_out else ""
    return (
        "All documents first, then each slice, those that collapsed before the others. The "
        "intervals of slices are wider, as they hold for all slices of a task at once. A square "
        f"decides nothing: its slice has not collapsed.{more}"
    )


def _panel(one: Numbered) -> Panel:
    result = one.result
    slices = sorted(result.slices, key=lambda part: not part.has_collapsed)
    whole = [result.estimate] if result.estimate else []
    found = [*whole, *(part.estimate for part in slices)]
    strips = [
        _strip(one, "all documents", estimate, result.outcome, OUTCOME_WORDS[result.outcome])
        for estimate in whole
    ]
    strips += [
        _strip(one, name(part.slice), part.estimate, "fail", "collapsed")
        if part.has_collapsed
        else _strip(one, name(part.slice), part.estimate, "neutral", "not collapsed")
        for part in slices
    ]
    return Panel(
        title=one.title,
        short=one.short_title,
        aside=unit_label(found[0].unit),
        axis=span(result.check, found, found[0].unit, is_whole=True),
        bounds=one.limits,
        strips=tuple(strips),
    )


def _strip(one: Numbered, of: str, found: Estimate, state: State, words: str) -> Strip:
    check = one.result.check
    documents = count(found.n, "document")
    facts = {"Slice": of, "State": words} | check_facts(one) | estimate_facts(found, check)
    return Strip(
        name=of,
        detail=documents,
        short=f"{of} · {documents}",
        estimate=found,
        limits=one.limits,
        state=state,
        found=found_text(found, check),
        value=value_text(found, check),
        words=words,
        facts=facts,
    )
