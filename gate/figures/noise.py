"""Noise: what each engine changes by itself on a task, against the margins of its checks."""

from collections.abc import Sequence
from typing import NamedTuple

from gate import axes
from gate.figures.composing import compose
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.figures.parts import fill, in_parts
from gate.figures.strips import Axis, Limits, Panel, Strip, draw_panels
from gate.presentation import (
    MISSING,
    count,
    exact,
    interval_text,
    no_difference,
    short_unit,
    unit_label,
)
from gate.records import Record
from gate.reporting.findings import is_change
from gate.result_records import NoiseFloor

MOST_ROWS = 48
"""Engines and tasks in the figure; the others are in the table only."""


class _Row(NamedTuple):
    """An engine's noise on a task, and the narrowest margins there."""

    noise: NoiseFloor
    limits: Limits

    @property
    def is_inside(self) -> bool:
        """Whether all of the interval is within the margins."""
        low, high = self.limits
        found = self.noise.delta
        return (low is None or found.low >= low) and (high is None or found.high <= high)


def draw(record: Record) -> tuple[Figure, ...]:
    """The figure: a row for each engine and task that was asked twice, a panel for each unit."""
    rows = [_Row(one, _margins(record, one)) for one in record.noise]
    if not rows:
        return ()
    shown = sorted(rows, key=lambda row: row.is_inside)[:MOST_ROWS]
    units = dict.fromkeys(row.noise.delta.unit for row in shown)
    panels = [_panel([row for row in shown if row.noise.delta.unit == unit]) for unit in units]
    reaching = sum(not row.is_inside for row in rows)
    figure = Figure(
        id="figure-noise",
        title="Noise of the engines against the margins",
        summary=f"{count(len(rows), 'comparison')} of an engine with itself on a task; "
        f"{count(reaching)} not inside the margins. The table of noise has the same numbers.",
        caption=_caption(len(rows) - len(shown)),
        spec="",
    )
    return in_parts(figure, [compose(draw_panels(part)) for part in fill(panels)])


def _margins(record: Record, noise: NoiseFloor) -> Limits:
    """The narrowest margins of the checks of this change that the engine takes part in.

    As in judging, a bound that allows no loss or asks for a gain is no margin.
    """
    engines = {variant.name: variant.backend.name for variant in record.variants}
    checks = [
        result.check
        for result in record.results
        if result.task == noise.task
        and is_change(result.check)
        and noise.engine in (engines.get(result.variant), engines.get(result.reference))
    ]
    lower = [one.at_least for one in checks if one.at_least is not None and one.at_least < 0]
    upper = [one.at_most for one in checks if one.at_most is not None and one.at_most > 0]
    return Limits(max(lower, default=None), min(upper, default=None))


def _caption(left_out: int) -> str:
    more = f" {count(left_out, 'more row')} in the table only." if left_out else ""
    return (
        "What a metric changed by when one variant was asked the same documents twice, in batches "
        "of another size and in another order; 95 % confidence on each side. Shaded: the "
        "narrowest margin of the checks that this engine takes part in on the task. A check can "
        f"tell a loss from noise only where the noise is well inside its margin.{more}"
    )


def _panel(rows: Sequence[_Row]) -> Panel:
    unit = rows[0].noise.delta.unit
    ends = [bound for row in rows for bound in row.limits if bound is not None]
    low, high = axes.span(ends, [row.noise.delta for row in rows], neutral=no_difference(unit))
    return Panel(
        title="An engine against itself",
        short="An engine against itself",
        aside=unit_label(unit),
        axis=Axis(unit, low, high),
        bounds=Limits(None, None),
        strips=tuple(map(_strip, rows)),
    )


def _strip(row: _Row) -> Strip:
    noise, found = row.noise, row.noise.delta
    found_text = typeset(interval_text(found))
    margin = _margin_text(row.limits, found.unit)
    return Strip(
        name=f"{name(noise.engine)} · {name(noise.task)}",
        detail=margin,
        short=f"{name(noise.engine)} · {name(noise.task)}",
        estimate=found,
        limits=row.limits,
        state="neutral" if row.is_inside else "inconclusive",
        found=found_text,
        value=found_text.partition(" (")[0],
        words=_words(row),
        facts=_facts(row, margin),
    )


def _words(row: _Row) -> str:
    if row.limits == (None, None):
        return "no margin"
    return "inside the margin" if row.is_inside else "not inside the margin"


def _margin_text(limits: Limits, unit: str) -> str:
    low, high = (None if end is None else exact(end, short_unit(unit)) for end in limits)
    if low and high:
        text = f"margins {low.removesuffix(' points')} to {high}"
    else:
        text = f"margin {low or high}" if low or high else "no margin"
    return typeset(text)


def _facts(row: _Row, margin: str) -> dict[str, str]:
    noise, found = row.noise, row.noise.delta
    flips = found.flips
    changed = MISSING if flips is None else count(flips.gains + flips.losses)
    return {
        "Engine": name(noise.engine),
        "Task": name(noise.task),
        "Asked twice": name(noise.variant),
        "Changed answers": f"{changed} of {count(found.n)}",
        "Change (interval)": f"{typeset(interval_text(found))} {unit_label(found.unit)}",
        "Narrowest margin": margin,
        "State": _words(row),
        "Method": found.method,
    }
