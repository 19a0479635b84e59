"""KL divergence by percentile of the tokens, with the mean and what checks ask of it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gate import presentation
from gate.figures import theme
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.records import Record
from gate.reporting.distribution_views import NAMES
from gate.reporting.divergence_lines import Line, Scales, TextLines, lines_by_text, scales_of
from gate.reporting.labels import spread

_MOST_TEXTS = 4
_HEIGHT, _APART, _LETTER, _NAME = 300, 16, 6.5, 24
_LEFT, _NARROW, _LEAST_ROOM = 44, 500, 104

_SHORTEST = -3
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(record: Record) -> tuple[Figure, ...]:
    """A figure for each text that distributions were compared on; four of them at the most."""
    texts = lines_by_text(record)
    shown = texts[:_MOST_TEXTS]
    others = len(texts) - len(shown)
    more = f" {presentation.count(others, 'more text')}: in the table." if others else ""
    return tuple(
        _figure(one, number, more if number == len(shown) else "")
        for number, one in enumerate(shown, start=1)
    )


def _figure(one: TextLines, number: int, more: str) -> Figure:
    left_out = f" {one.left_out:,} more: in the table." if one.left_out else ""
    caption = (
        "How far next-token distributions are apart, from the token where they are least to that "
        "where they are most; the scale is logarithmic. The mark on each line is the mean with its "
        "interval, shaped and coloured by the outcome of the check that bounds it; dashed: the "
        "bounds of such checks."
    )
    scales = scales_of(one.lines, height=_HEIGHT)
    data = [*_points(one.lines, scales), *_ends(one.lines, scales)]
    return Figure(
        id=f"figure-divergence-{number}",
        title=f"KL divergence by token percentile on {name(one.text)}",
        summary=typeset("; ".join(map(_words, one.lines)) + "."),
        caption=f"{caption if number == 1 else 'To be read as the first.'}{left_out}{more}",
        spec=theme.finish(_chart(one.lines, scales), datasets={"lines": data}),
    )


def _words(line: Line) -> str:
    found = line.found
    return f"{name(found.variant)} from {name(found.reference)}: mean KL {_mean_text(line)}"


def _mean_text(line: Line) -> str:
    if line.mean is None:
        return "without an interval"
    return f"{presentation.interval_text(line.mean)} nats a token"


def _chart(lines: Sequence[Line], scales: Scales) -> Any:
    import altair as alt

    room = _room(lines)
    x = _x(scales, room)
    chart = alt.layer(
        *_bounds(lines, scales),
        *_curves(x, scales),
        *_means(x, scales),
        _names(x, scales, room),
        width=theme.WIDTH,
        height=_HEIGHT,
        title=theme.axis_title("KL divergence, nats"),
    )
    chart.data = alt.NamedData("lines")
    return chart


def _room(lines: Sequence[Line]) -> str:
    """Pixels for the names beside the lines, as an expression."""
    longest = max((len(_label(line)) for line in lines), default=0)
    wide = round(16 + _LETTER * longest)
    return f"(width < {_NARROW} ? {min(wide, _LEAST_ROOM)} : {wide})"


def _label(line: Line) -> str:
    return name(line.found.variant, _NAME)


def _x(scales: Scales, room: str) -> Any:
    import altair as alt

    told = ",".join(f"'{_percentile(at)}'" for at in scales.percentiles)
    axis = alt.Axis(
        title="percentile of tokens",
        values=list(range(len(scales.percentiles))),
        labelExpr=f"[{told}][datum.value]",
        labelOverlap="greedy",
        labelSeparation=5,
        labelPadding=6,
        grid=False,
        domain=False,
        ticks=False,
    )
    span = alt.Scale(
        domain=[0, scales.last],
        range=[_LEFT, {"expr": f"width - {room}"}],
        nice=False,
        zero=False,
    )
    return alt.X("at:Q", axis=axis, scale=span)


def _percentile(at: float) -> str:
    return NAMES.get(f"{at:g}", f"{at:g}")


def _y(scales: Scales, field: str = "drawn") -> Any:
    """The axis of divergences, its labels above the grid's lines so that they take no width."""
    import altair as alt

    first, last = (math.log10(end) for end in (scales.low, scales.high))
    powers = range(round(first), math.floor(last) + 1)
    told = ",".join(f"'{_power(power)}'" for power in powers)
    least = f"datum.value < {scales.low * 2} ? '≤ ' : ''" if scales.is_cut else "''"
    axis = alt.Axis(
        title=None,
        values=[10.0**power for power in powers],
        labelExpr=f"({least}) + [{told}][round(log(datum.value) / LN10) - {powers.start}]",
        ticks=False,
        domain=False,
        labelAlign="left",
        labelBaseline="bottom",
        labelPadding=0,
        labelOffset=-2,
    )
    span = alt.Scale(type="log", domain=[scales.low, scales.high], nice=False)
    return alt.Y(f"{field}:Q", axis=axis, scale=span)


def _power(power: int) -> str:
    """A power of ten: '0.01', '10⁻⁵'."""
    if power >= _SHORTEST:
        return f"{10.0**power:,g}"
    return f"10{str(power).translate(_RAISED)}"


def _points(lines: Sequence[Line], scales: Scales) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines):
        for at, nats in line.percentiles:
            yield {
                "part": "curve",
                "line": number,
                "at": scales.percentiles.index(at),
                "drawn": max(nats, scales.low),
                "told": f"{typeset(presentation.amount(nats, ''))} nats",
                "place": typeset(NAMES.get(f"{at:g}", f"{at:g} % of tokens")),
                **_style(line),
            }


def _ends(lines: Sequence[Line], scales: Scales) -> Iterator[dict[str, Any]]:
    """The name of each line at its end, where it covers no other, and its mean."""
    last = [line.percentiles[-1][1] if line.percentiles else line.mean_nats for line in lines]
    heights = [scales.y(nats) for nats in last]
    free = spread(heights, apart=_APART, top=6, bottom=_HEIGHT - 6)
    for line, nats, height, place in zip(lines, last, heights, free, strict=True):
        yield {
            "part": "name",
            "at": scales.last,
            "drawn": max(nats, scales.low),
            "dy": place - height,
            "label": _label(line),
            **_told_mean(line),
        }
        mean = line.mean_nats
        low, high = line.ends
        yield {
            "part": "mean",
            "at": scales.crossing(line),
            "drawn": max(mean, scales.low),
            "low": max(low, scales.low),
            "high": max(high, scales.low),
            "shape": theme.SHAPES[line.state],
            **_told_mean(line),
        }


def _told_mean(line: Line) -> dict[str, str]:
    return {"place": "mean", "told": typeset(_mean_text(line)), **_style(line)}


def _style(line: Line) -> dict[str, Any]:
    asked = "" if line.bound is None else f", at most {presentation.exact(line.bound, '')}"
    told = "no check" if line.state == "neutral" else presentation.OUTCOME_WORDS[line.state]
    return {
        "who": f"{name(line.found.variant)} from {name(line.found.reference)}",
        "check": f"{told}{asked}",
        "colour": theme.COLOURS[line.state],
    }


def _bounds(lines: Sequence[Line], scales: Scales) -> Iterator[Any]:
    import altair as alt

    found = sorted({line.bound for line in lines if line.bound is not None})
    values = [
        {"drawn": bound, "label": f"mean at most {presentation.exact(bound, '')}"}
        for bound in found
        if scales.low <= bound <= scales.high
    ]
    chart = alt.Chart(alt.Data(values=values))
    ink, paper = theme.PALETTE["ink"], theme.PALETTE["paper"]
    end = {"expr": f"width - {_room(lines)} + 8"}
    yield chart.mark_rule(color=ink, strokeDash=[5, 3], x=_LEFT, x2=end).encode(y=_y(scales))
    for style in ({"stroke": paper, "strokeWidth": 4}, {}):
        text = chart.mark_text(align="left", baseline="bottom", dy=-3, x=_LEFT + 4, **style)
        yield text.encode(y=_y(scales), text=alt.Text("label:N"))


def _curves(x: Any, scales: Scales) -> Iterator[Any]:
    import altair as alt

    place = {"x": x, "y": _y(scales), "color": alt.Color("colour:N", scale=None)}
    curves = alt.Chart().transform_filter("datum.part === 'curve'")
    yield curves.mark_line(strokeWidth=1.5).encode(detail=alt.Detail("line:N"), **place)
    yield curves.mark_circle(size=22, opacity=1).encode(tooltip=_tooltip(), **place)


def _means(x: Any, scales: Scales) -> Iterator[Any]:
    import altair as alt

    colour = alt.Color("colour:N", scale=None)
    means = alt.Chart().transform_filter("datum.part === 'mean'")
    yield means.mark_rule(strokeWidth=2).encode(
        x=x, y=_y(scales, "low"), y2=alt.Y2("high:Q"), color=colour
    )
    points = means.mark_point(
        filled=True, opacity=1, size=110, stroke=theme.PALETTE["paper"], strokeWidth=1
    )
    yield points.encode(
        x=x,
        y=_y(scales),
        fill=alt.Fill("colour:N", scale=None),
        shape=alt.Shape("shape:N", scale=None),
        tooltip=_tooltip(),
    )


def _names(x: Any, scales: Scales, room: str) -> Any:
    import altair as alt

    named = alt.Chart().transform_filter("datum.part === 'name'")
    beside: dict[str, Any] = {"align": "left", "baseline": "middle", "dx": 10}
    text = named.mark_text(limit={"expr": f"{room} - 12"}, dy={"expr": "datum.dy"}, **beside)
    return text.encode(
        x=x,
        y=_y(scales),
        color=alt.Color("colour:N", scale=None),
        text=alt.Text("label:N"),
        tooltip=_tooltip(),
    )


def _tooltip() -> list[Any]:
    import altair as alt

    names = {"who": "Comparison", "place": "At", "told": "KL", "check": "Check of the mean"}
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in names.items()]
