"""The key figure: the interval of every check against the bound that it must keep."""

import math
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
from gate.figures.lettering import name, typeset
from gate.figures.parts import fill, in_parts
from gate.figures.sheet import Sheet, join, legend
from gate.figures.strips import Panel, Strip, draw_panels, span
from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    bound_text,
    bounds,
    count,
    percent,
    short_unit,
    unit_label,
)
from gate.records import Record
from gate.reporting.concerns import ASIDE
from gate.reporting.views import tally
from gate.result_records import LISTING_ORDER, CheckResult

MOST_ROWS = 60
"""Checks in the page's figure, unless more than so many did not pass."""

_LEGEND = 34.0


def draw(record: Record) -> tuple[Figure, ...]:
    """The figure: a panel for each check and unit, those with what blocks first.

    What is not up for release comes last, in panels of its own.

    Where there are more than MOST_ROWS checks, those that passed with the most room are left out.
    """
    if not record.results:
        return ()
    unsettled = sum(result.outcome != "pass" for result in record.results)
    shown = choose(numbered(record), most=max(MOST_ROWS, unsettled))
    figure = Figure(
        id="figure-intervals",
        title="Every check against its bound",
        summary=f"The interval of each of {count(len(record.results), 'check')} against its "
        f"bound: {tally(record.results)}. The table of checks has the same numbers.",
        caption=_caption(shown, len(record.results) - len(shown)),
        spec="",
    )
    sheets = (_sheet(part, shown) for part in fill(_panels(shown), head=_LEGEND))
    return in_parts(figure, tuple(map(compose, sheets)))


def choose(checks: Iterable[Numbered], *, most: int) -> tuple[Numbered, ...]:
    """At most so many checks, in the record's order: what did not pass, then what is closest."""
    ranked = sorted(checks, key=lambda one: (_severity(one), _room(one.result)))
    return tuple(sorted(ranked[:most]))


def draw_sheet(shown: Sequence[Numbered], *, top: float = 0.0) -> Sheet:
    """The legend of the outcomes and all the panels, from a height on."""
    return _sheet(_panels(shown), shown, top=top)


def _sheet(panels: Iterable[Panel], shown: Sequence[Numbered], *, top: float = 0.0) -> Sheet:
    key = legend((one.result.outcome for one in shown), top=top)
    return join((key, draw_panels(panels, top=top + _LEGEND)))


def _severity(one: Numbered) -> tuple[bool, bool, bool, int]:
    """How early a reader has to see it: what blocks before what warns, what passed last."""
    outcome, level = one.result.outcome, one.result.check.level
    return outcome == "pass", one.is_aside, level == "warn", LISTING_ORDER.index(outcome)


def _room(result: CheckResult) -> float:
    """From the interval to the nearer bound, in widths of the interval."""
    found, check = result.estimate, result.check
    if found is None or not bounds(check):
        return math.inf
    below = math.inf if check.at_least is None else found.low - check.at_least
    above = math.inf if check.at_most is None else check.at_most - found.high
    return min(below, above) / ((found.high - found.low) or 1.0)


def _caption(shown: Iterable[Numbered], left_out: int) -> str:
    levels = sorted({one.result.check.confidence for one in shown})
    said = " or ".join(percent(level, decimals=0) for level in levels)
    more = (
        f" {count(left_out, 'check')} that passed with the most room: in the table only."
        if left_out
        else ""
    )
    return (
        f"Point: the estimate, candidate against reference on the same documents. Line: its "
        f"interval, {said} confidence on each side; an arrow where it goes on beyond the axis. "
        "Shaded: what the bound allows. Dotted: no difference. A check passes where its whole "
        f"interval is in the shaded region.{more}"
    )


def _panels(shown: Sequence[Numbered]) -> Iterable[Panel]:
    """The checks by rule and unit; one that was not measured is with the others of its rule."""
    units: dict[str, str] = {}
    for _, result, _ in shown:
        if result.estimate is not None:
            units.setdefault(result.check.model_dump_json(), result.estimate.unit)
    groups: dict[tuple[str, str, bool], list[Numbered]] = {}
    for one in shown:
        rule, found = one.result.check.model_dump_json(), one.result.estimate
        unit = units.get(rule, "") if found is None else found.unit
        groups.setdefault((rule, unit, one.is_aside), []).append(one)
    items = sorted(groups.items(), key=lambda item: (item[0][2], min(map(_severity, item[1]))))
    return (_panel(group, unit) for (_, unit, _), group in items)


def _panel(group: Sequence[Numbered], unit: str) -> Panel:
    check = group[0].result.check
    found = [one.result.estimate for one in group if one.result.estimate]
    subject = f"{name(check.of)} against {name(check.against)}: {check.compare}"
    notes = [f"slice {name(check.slice)}"] if check.slice else []
    if group[0].is_aside:
        notes.append(ASIDE)
    elif check.level == "warn":
        notes.append("warns only")
    bound = bound_text(check, short_unit(unit)) or "without a bound"
    return Panel(
        title=typeset(", ".join((f"{subject} {bound}", *notes))),
        short=typeset(", ".join((subject, *notes))),
        aside=unit_label(unit) or MISSING,
        axis=span(check, found, unit),
        bounds=group[0].limits,
        strips=tuple(map(_strip, group)),
    )


def _strip(one: Numbered) -> Strip:
    number, result, _ = one
    found, check = result.estimate, result.check
    task = f" · {one.task}" if one.task else ""
    return Strip(
        name=one.pair,
        detail=f"#{number}{task}",
        short=f"#{number} {name(result.variant)}{task}",
        estimate=found,
        limits=one.limits,
        state=result.outcome,
        found=found_text(found, check),
        value=value_text(found, check),
        words=OUTCOME_WORDS[result.outcome],
        facts=check_facts(one) | estimate_facts(found, check),
    )
