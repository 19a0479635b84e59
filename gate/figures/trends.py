"""Trends: a task's scores and changes, and sizes on disk, from one run to the next."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from gate.figures.courses import Line, Sizes, Trend
from gate.figures.figure import Figure
from gate.figures.lettering import name
from gate.figures.theme import finish
from gate.figures.trend_views import Datasets, view_changes, view_lines
from gate.presentation import OUTCOME_WORDS, count, printable

if TYPE_CHECKING:
    import altair

_READ_BREAKS = (
    "Where a line breaks, the scores before and after it are of other questions and cannot be "
    "compared."
)
_READ_SIZES = (
    "All files of what would be deployed. An adapter on its base is no artifact of the run, and "
    "has no size here."
)


def draw_trend(trend: Trend, *, number: int) -> Figure:
    """A task's scores with their intervals, and below them each change with its margin."""
    datasets: Datasets = {}
    scores = view_lines(
        trend.lines,
        trend.runs,
        title=f"{name(trend.task)}: {name(trend.metric)}",
        datasets=datasets,
        suffix=trend.suffix,
        breaks=trend.breaks,
        is_named=not trend.changes,
    )
    changes = (
        view_changes(one, trend.runs, datasets=datasets, is_named=one is trend.changes[-1])
        for one in trend.changes
    )
    return Figure(
        id=f"figure-trend-{number}",
        title=f"{name(trend.task)} over {count(len(trend.runs), 'run')}",
        summary=_summary(trend),
        caption=_sentences(
            _READ_BREAKS if trend.breaks else "",
            trend.left_out,
        ),
        spec=_stacked([scores, *changes], datasets),
    )


def draw_sizes(sizes: Sizes, *, number: int) -> Figure:
    """The sizes on disk of the shipped variants."""
    datasets: Datasets = {}
    title = f"Size on disk, {sizes.unit}"
    view = view_lines(sizes.lines, sizes.runs, title=title, datasets=datasets, least=0.0)
    return Figure(
        id=f"figure-sizes-{number}",
        title=f"Size on disk over {count(len(sizes.runs), 'run')}",
        summary=printable(f"Size on disk by run: {'; '.join(map(_told, sizes.lines))}."),
        caption=_sentences(_READ_SIZES, sizes.left_out),
        spec=_stacked([view], datasets),
    )


def _summary(trend: Trend) -> str:
    latest = (
        f"{one.title} {OUTCOME_WORDS[one.judged[-1].outcome]} in {trend.runs[one.judged[-1].run]}"
        for one in trend.changes
        if one.judged
    )
    told: Iterable[str] = chain(map(_told, trend.lines), latest)
    return printable(f"{name(trend.task)} by run: {'; '.join(told)}.")


def _told(line: Line) -> str:
    return f"{name(line.variant)} from {line.points[0].text} to {line.points[-1].text}"


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _stacked(views: "Sequence[altair.LayerChart]", datasets: Datasets) -> str:
    import altair

    stacked = altair.vconcat(*views, spacing=20).resolve_scale(
        x="independent", color="independent", shape="independent"
    )
    return finish(stacked, datasets=datasets)
