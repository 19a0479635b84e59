"""The views of a trend: values of several variants, and a variant's changes with their margins."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gate.figures.courses import Changes, Judged, Line, Point
from gate.figures.lettering import name, typeset
from gate.figures.theme import COLOURS, PALETTE, SHAPES, WIDTH
from gate.figures.trend_axes import Span, across, span, upwards
from gate.presentation import MISSING, OUTCOME_WORDS, printable

if TYPE_CHECKING:
    import altair

_TALL, _LOW = 190, 110
_LONG_NAME = 14
_COLOURS = tuple(PALETTE[colour] for colour in ("soft", "link", "fall", "error", "ink"))
_MARKS = ("circle", "square", "diamond", "triangle-up", "triangle-down")

_Row = dict[str, Any]
Datasets = dict[str, list[_Row]]
"""{name: rows} of what a figure's charts draw, kept beside them: Altair is slow to copy rows."""


def view_lines(
    lines: Sequence[Line],
    runs: Sequence[str],
    *,
    title: str,
    datasets: Datasets,
    suffix: str = "",
    least: float | None = None,
    breaks: Mapping[int, str] | None = None,
    is_named: bool = True,
) -> "altair.LayerChart":
    """Values with their intervals, the variants beside each other, joined where comparable.

    Args:
        lines: one a variant.
        runs: a name for each run.
        title: what the values are.
        datasets: where the rows that are drawn are put.
        suffix: what stands behind a number on the axis.
        least: where the axis begins; None where it begins near the values.
        breaks: {place of a run: what is not as it was before}.
        is_named: whether the runs are named below.
    """
    import altair

    rows = [row for line in lines for row in _rows(line, runs)]
    ends = [row[end] for row in rows for end in ("low", "high")]
    reach = span(ends if least is None else [*ends, least], least=least)
    names = [name(line.variant) for line in lines]
    chart = _chart(datasets, rows).encode(
        x=across(runs, is_named=is_named),
        xOffset=altair.XOffset("variant:N", sort=names, title=None),
        color=_variants("Color", names, _COLOURS),
    )
    y = upwards("value", reach, suffix)
    joined = chart.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, detail="part:N")
    shape = _variants("Shape", names, _MARKS)
    told = ("Run", "Variant", "Value", "Interval", "Documents")
    layers = [
        *_breaks(breaks or {}, runs, datasets, is_named=is_named),
        joined,
        *_intervals(chart, reach, shape, told, suffix=suffix),
    ]
    return altair.layer(*layers).properties(width=WIDTH, height=_TALL, title=_title(title))


def view_changes(
    changes: Changes, runs: Sequence[str], *, datasets: Datasets, is_named: bool
) -> "altair.LayerChart":
    """A variant's changes, each over what the margin of its run allows.

    Args:
        changes: of one variant against one reference.
        runs: a name for each run.
        datasets: where the rows that are drawn are put.
        is_named: whether the runs are named below.
    """
    import altair

    ends = [end for one in changes.judged for end in _ends(one)]
    reach = span([0.0, *ends])
    found = [_told(one, runs) for one in changes.judged if one.point is not None]
    missing = [_told(one, runs) for one in changes.judged if one.point is None]
    chart = _chart(datasets, found).encode(
        x=across(runs, is_named=is_named, gap=0.0), color=_outcomes("Color", COLOURS)
    )
    shape = _outcomes("Shape", SHAPES)
    told = ("Run", "Value", "Interval", "Documents", "Bound", "Outcome")
    layers = [
        *_allowed(changes, runs, reach, datasets, is_named=is_named),
        *_intervals(chart, reach, shape, told),
    ]
    if missing:
        at_foot = chart.properties(data=_named(datasets, missing)).mark_point(filled=True, size=62)
        tooltip = _tooltip(("Run", "Value", "Bound"))
        layers.append(at_foot.encode(y=altair.value(_LOW - 8), shape=shape, tooltip=tooltip))
    counted = f", {changes.unit}" if changes.unit else ""
    title = _title(f"Change of {changes.title}{counted}")
    return altair.layer(*layers).properties(width=WIDTH, height=_LOW, title=title)


def _chart(datasets: Datasets, rows: Sequence[_Row]) -> "altair.Chart":
    import altair

    return altair.Chart(_named(datasets, rows))


def _named(datasets: Datasets, rows: Sequence[_Row]) -> "altair.NamedData":
    """The rows under a name of their own."""
    import altair

    key = f"rows-{len(datasets)}"
    datasets[key] = list(rows)
    return altair.NamedData(key)


def _rows(line: Line, runs: Sequence[str]) -> Iterable[_Row]:
    """A row for each point; a part of the line begins where a point is not joined to the last."""
    variant, part = name(line.variant), 0
    for point in line.points:
        part += not point.is_joined
        yield _row(point, runs) | {
            "variant": variant,
            "Variant": variant,
            "part": f"{part} {variant}",
        }


def _row(point: Point, runs: Sequence[str]) -> _Row:
    return {
        "run": runs[point.run],
        "value": point.value,
        "low": point.value if point.low is None else point.low,
        "high": point.value if point.high is None else point.high,
        "Run": runs[point.run],
        "Value": typeset(point.text),
        "Interval": typeset(point.interval),
        "Documents": point.documents,
    }


def _told(judged: Judged, runs: Sequence[str]) -> _Row:
    """A change as a row, or a row that says that it was not measured."""
    found = {"run": runs[judged.run], "Run": runs[judged.run], "Value": MISSING}
    if judged.point is not None:
        found = _row(judged.point, runs)
    return found | {
        "outcome": judged.outcome,
        "Outcome": OUTCOME_WORDS[judged.outcome],
        "Bound": typeset(judged.bound),
    }


def _ends(judged: Judged) -> Iterable[float]:
    """All of a judged change that its view has to reach."""
    point = judged.point
    drawn = () if point is None else (point.value, point.low, point.high)
    return (end for end in (*drawn, judged.at_least, judged.at_most) if end is not None)


def _intervals(
    chart: "altair.Chart",
    reach: Span,
    shape: "altair.Shape",
    told: Sequence[str],
    *,
    suffix: str = "",
) -> "Iterable[altair.Chart]":
    """An interval and a mark for each row."""
    low, value = (upwards(field, reach, suffix) for field in ("low", "value"))
    yield chart.mark_rule(strokeWidth=1.75).encode(y=low, y2="high")
    marked = chart.mark_point(filled=True, size=62, opacity=1)
    yield marked.encode(y=value, shape=shape, tooltip=_tooltip(told))


def _allowed(
    changes: Changes, runs: Sequence[str], reach: Span, datasets: Datasets, *, is_named: bool
) -> "Iterable[altair.Chart]":
    """What the bounds of each run allow, the bounds themselves, and where nothing changes."""
    import altair

    start = across(runs, is_named=is_named, gap=0.0, band_position=0)
    end = altair.X2("run", bandPosition=1)
    areas, bounds = [], []
    for one in changes.judged:
        low = reach.low if one.at_least is None else one.at_least
        high = reach.high if one.at_most is None else one.at_most
        areas.append({"run": runs[one.run], "low": low, "high": high})
        there = (bound for bound in (one.at_least, one.at_most) if bound is not None)
        bounds += [{"run": runs[one.run], "value": bound} for bound in there]
    low_y, y = (upwards(field, reach) for field in ("low", "value"))
    area = _chart(datasets, areas).mark_rect(color=PALETTE["allowed"])
    yield area.encode(x=start, x2=end, y=low_y, y2="high")
    zero = _chart(datasets, [{"value": 0.0}]).mark_rule(strokeDash=[1, 4])
    yield zero.encode(y=y, color=altair.value(PALETTE["soft"]))
    bound = _chart(datasets, bounds).mark_rule(strokeWidth=1.5)
    yield bound.encode(x=start, x2=end, y=y, color=altair.value(PALETTE["ink"]))


def _breaks(
    breaks: Mapping[int, str], runs: Sequence[str], datasets: Datasets, *, is_named: bool
) -> "Iterable[altair.Chart]":
    """A dashed rule before each run that cannot be compared with those before, and why."""
    import altair

    soft = PALETTE["soft"]
    for is_late in {2 * place >= len(runs) for place in breaks}:
        rows = [
            {"run": runs[place], "words": printable(f"{words} →" if is_late else words)}
            for place, words in breaks.items()
            if (2 * place >= len(runs)) == is_late
        ]
        x = across(runs, is_named=is_named, band_position=0)
        chart = _chart(datasets, rows).encode(x=x)
        yield chart.mark_rule(strokeDash=[3, 3]).encode(color=altair.value(soft))
        aligned: _Row = {"align": "right", "dx": -5} if is_late else {"align": "left", "dx": 5}
        words = chart.mark_text(fontSize=11, baseline="top", **aligned)
        yield words.encode(y=altair.value(2), text="words:N", color=altair.value(soft))


def _variants(channel: str, names: Sequence[str], marks: Sequence[str]) -> Any:
    """A channel that tells the variants apart."""
    import altair

    columns = 2 if any(len(one) > _LONG_NAME for one in names) else 0
    legend = altair.Legend(title=None, columns=columns, labelLimit=300, symbolOpacity=1)
    scale = altair.Scale(domain=list(names), range=list(marks[: len(names)]))
    return getattr(altair, channel)("variant:N", scale=scale, legend=legend)


def _outcomes(channel: str, marks: Mapping[str, str]) -> Any:
    """A channel that tells the outcomes apart, as everywhere."""
    import altair

    scale = altair.Scale(domain=list(marks), range=list(marks.values()))
    return getattr(altair, channel)("outcome:N", scale=scale, legend=None)


def _tooltip(fields: Iterable[str]) -> "list[altair.Tooltip]":
    import altair

    return [altair.Tooltip(f"{field}:N") for field in fields]


def _title(text: str) -> "altair.TitleParams":
    import altair

    return altair.TitleParams(printable(text), fontSize=12, offset=12, limit=WIDTH)
