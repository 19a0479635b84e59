"""Quality against cost: what each variant keeps, what serving it takes, the efficient front."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gate.figures import theme
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.presentation import amount, percent, size, unit_of_sizes
from gate.records import Record
from gate.reporting.front_layout import HEIGHT, Dot, Frame, Layout, lay_out
from gate.reporting.serving_views import Better, Point, points, serving_table
from gate.result_records import DECIDED_BY

_WIDTHS = (theme.WIDTH, 340)
_WORDS: dict[str, str] = {
    **{outcome: verdict for verdict, outcome in DECIDED_BY.items()},
    "neutral": "no verdict of its own",
}


class _Cost(NamedTuple):
    """A cost of serving, and how it is told."""

    id: str
    name: str
    better: Better
    of: Callable[[Point], float | None]
    say: Callable[[float], str]


_COSTS = (
    _Cost(
        "size",
        "size on disk",
        "smaller",
        lambda point: point.size_bytes,
        lambda value: size(round(value)),
    ),
    _Cost(
        "throughput",
        "decode throughput",
        "larger",
        lambda point: point.decode,
        lambda value: f"{amount(value, '')} tokens/s",
    ),
)


def draw(record: Record) -> tuple[Figure, ...]:
    """Quality against size on disk and against decode throughput; none of what has no points."""
    found = points(record)
    laid = [(cost, lay_out(found, cost.of, better=cost.better, widths=_WIDTHS)) for cost in _COSTS]
    there = [(cost, layout) for cost, layout in laid if layout is not None]
    return tuple(
        _figure(record, layout, cost, is_first=number == 0)
        for number, (cost, layout) in enumerate(there)
    )


def _figure(record: Record, layout: Layout, cost: _Cost, *, is_first: bool) -> Figure:
    facts = _Facts(record)
    caption = (
        "What each variant keeps of the adapter's score, on the task that lost most. Dotted line: "
        "all of it. Blue steps and bold names: the efficient front, where no other costs less "
        "without keeping less; what was blocked is no choice. An arrow down: it keeps less than "
        "the axis shows. These are point estimates; whether a loss is proven small, checks say."
    )
    return Figure(
        id=f"figure-{cost.id}",
        title=f"Quality against {cost.name}",
        summary=typeset(_summary(layout, cost)),
        caption=caption if is_first else "To be read as the one of size.",
        spec=theme.finish(_chart(layout, cost, facts.titles), datasets=_data(layout, facts)),
    )


def _summary(layout: Layout, cost: _Cost) -> str:
    told = [
        f"{name(dot.point.variant)} keeps {percent(dot.point.kept.share)} at {cost.say(dot.cost)}"
        f"{', on the efficient front' if dot.is_efficient else ''}"
        for dot in layout.dots
    ]
    return "; ".join(told) + "."


def _chart(layout: Layout, cost: _Cost, titles: Sequence[str]) -> Any:
    import altair as alt

    there = {_word(dot) for dot in layout.dots}
    chart = alt.layer(
        *_lines(layout.frame, cost),
        *_marks(layout.frame, cost, titles, [word for word in _WORDS.values() if word in there]),
        *_names(layout.frame, cost),
        width=theme.WIDTH,
        height=HEIGHT,
        title=theme.axis_title("↑ better: kept of the adapter's score, worst task"),
    )
    chart.data = alt.NamedData("dots")
    return chart


def _data(layout: Layout, facts: "_Facts") -> dict[str, list[dict[str, Any]]]:
    """The dots, those of the front last and so above the others, and the corners of its line."""
    return {
        "dots": [
            _datum(dot, layout.frame) | facts.of(dot.point.variant)
            for dot in sorted(layout.dots, key=lambda dot: dot.is_efficient)
        ],
        "stairs": [
            {"at": at, "cost": corner, "share": share}
            for at, (corner, share) in enumerate(layout.stairs)
        ],
    }


class _Facts:
    """Everything measured of each variant, as the rows of a tooltip."""

    def __init__(self, record: Record) -> None:
        table = serving_table(record)
        self.titles = tuple(column.title for column in table.columns) if table else ()
        self._rows = {row.variant.name: row.cells for row in table.rows} if table else {}

    def of(self, variant: str) -> dict[str, str]:
        """{field: what was measured} of a variant."""
        return {
            f"fact{number}": typeset(f"{cell.value} ({cell.remark})" if cell.remark else cell.value)
            for number, cell in enumerate(self._rows[variant])
        }


def _datum(dot: Dot, frame: Frame) -> dict[str, Any]:
    return {
        "variant": name(dot.point.variant),
        "verdict": _word(dot),
        "cost": dot.cost,
        "share": max(dot.point.kept.share, frame.low),
        "beyond": dot.is_beyond,
        "label": typeset(dot.label),
        "weight": "bold" if dot.is_efficient else "normal",
        **dot.place._asdict(),
    }


def _word(dot: Dot) -> str:
    verdict = dot.point.verdict
    return verdict or _WORDS["neutral"]


def _lines(frame: Frame, cost: _Cost) -> Iterator[Any]:
    """Where all is kept, the efficient front, and lines to the names that stand away."""
    import altair as alt

    x, y = _x(frame, cost), _y(frame)
    soft, link = theme.PALETTE["soft"], theme.PALETTE["link"]
    whole = alt.Chart(alt.Data(values=[{"share": 1.0}]))
    yield whole.mark_rule(color=soft, strokeDash=[1, 4], strokeWidth=1.5).encode(y=y)
    stairs = alt.Chart(alt.NamedData("stairs"))
    yield stairs.mark_line(color=link, opacity=0.75).encode(x=x, y=y, order=alt.Order("at:Q"))
    leaders = alt.Chart().transform_filter("datum.is_led")
    ends = {"x2Offset": {"expr": "datum.dx"}, "y2Offset": {"expr": "datum.dy - 4"}}
    yield leaders.mark_rule(color=soft, strokeWidth=0.8, **ends).encode(
        x=x, y=y, x2=alt.X2("cost:Q"), y2=alt.Y2("share:Q")
    )


def _marks(frame: Frame, cost: _Cost, titles: Sequence[str], there: Sequence[str]) -> Iterator[Any]:
    """A mark for each variant: its verdict's, or an arrow where it is below the axis."""
    import altair as alt

    words = list(_WORDS.values())
    legend = alt.Legend(
        title=None, values=list(there), columns={"expr": "width < 500 ? 2 : 5"}, symbolSize=90
    )
    told = [
        alt.Tooltip("variant:N", title="Variant"),
        alt.Tooltip("verdict:N", title="Verdict"),
        *(alt.Tooltip(f"fact{number}:N", title=title) for number, title in enumerate(titles)),
    ]
    colours = alt.Scale(domain=words, range=list(theme.COLOURS.values()))
    colour = alt.Color("verdict:N", scale=colours, legend=legend)
    shapes = alt.Scale(domain=words, range=list(theme.SHAPES.values()))
    shape = alt.Shape("verdict:N", scale=shapes, legend=legend)
    common = {"x": _x(frame, cost), "y": _y(frame), "tooltip": told, "color": colour}
    style: dict[str, Any] = {"filled": True, "opacity": 1}
    yield (
        alt.Chart()
        .transform_filter("!datum.beyond")
        .mark_point(size=90, **style)
        .encode(shape=shape, **common)
    )
    yield (
        alt.Chart()
        .transform_filter("datum.beyond")
        .mark_point(size=110, shape="triangle-down", **style)
        .encode(**common)
    )


def _names(frame: Frame, cost: _Cost) -> Iterator[Any]:
    """Each name where it covers least, on paper that keeps the grid off it."""
    import altair as alt

    moved = {part: {"expr": f"datum.{part}"} for part in ("dx", "dy", "align")}
    for style in ({"stroke": theme.PALETTE["paper"], "strokeWidth": 4}, {}):
        text = alt.Chart().mark_text(
            baseline="alphabetic", fontWeight={"expr": "datum.weight"}, **moved, **style
        )
        yield text.encode(x=_x(frame, cost), y=_y(frame), text=alt.Text("label:N"))


def _x(frame: Frame, cost: _Cost) -> Any:
    import altair as alt

    is_size = cost.better == "smaller"
    unit, factor = unit_of_sizes(frame.widest) if is_size else ("tokens/s", 1.0)
    told = f"{cost.name}, {unit}"
    axis = alt.Axis(
        title=f"← better: {told}" if is_size else f"{told}: better →",
        labelExpr=f"format(datum.value / {factor}, ',~g')",
        tickCount=5,
        grid=False,
    )
    domain = alt.Scale(domain=[0, frame.widest], nice=False)
    return alt.X("cost:Q", axis=axis, scale=domain)


def _y(frame: Frame) -> Any:
    """The axis of shares, its labels above the grid's lines so that they take no width."""
    import altair as alt

    axis = alt.Axis(
        title=None,
        labelExpr="format(datum.value * 100, '~g') + ' %'",
        tickCount=5,
        ticks=False,
        domain=False,
        labelAlign="left",
        labelBaseline="bottom",
        labelPadding=0,
        labelOffset=-2,
    )
    return alt.Y(
        "share:Q",
        axis=axis,
        scale=alt.Scale(domain=[frame.low, frame.high], nice=False, zero=False),
    )
