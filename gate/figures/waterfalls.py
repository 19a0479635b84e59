"""Lineage waterfalls: from the base to what ships, a bar for each step, for each task."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gate import presentation
from gate.figures import theme
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.records import Record
from gate.reporting.lineage_levels import Level, Span, TaskLevels, levels_by_task, span

_MOST_TASKS = 6
_ROW, _BAR, _TOP, _APART = 36, 11, 17, 14
_FILLS = {"gain": "link", "loss": "fall", "whole": "soft"}


class _Row(NamedTuple):
    """A level with the top of its row, in pixels from the top of the figure."""

    level: Level
    y: int


def draw(record: Record) -> tuple[Figure, ...]:
    """A figure for each task with a line of more than one step; six of them at the most.

    Where there are more, those of tasks with a check that did not pass come first.
    """
    found = levels_by_task(record)
    troubled = {result.task for result in record.results if result.outcome != "pass"}
    first = sorted(found, key=lambda one: one.task not in troubled)[:_MOST_TASKS]
    shown = [one for one in found if one in first]
    return tuple(
        _figure(one, number, _left_out(found, shown) if number == len(shown) else "")
        for number, one in enumerate(shown, start=1)
    )


def _left_out(found: Sequence[TaskLevels], shown: Sequence[TaskLevels]) -> str:
    others = len(found) - len(shown)
    return f" {presentation.count(others, 'more task')}: in the table." if others else ""


def _figure(one: TaskLevels, number: int, left_out: str) -> Figure:
    return Figure(
        id=f"figure-lineage-{number}",
        title=f"{name(one.task)}: from {name(one.first)} to release",
        summary=typeset("; ".join(map(_words, one.levels)) + "."),
        caption=(
            "A bar runs from the level before a step to the level after it, blue where the metric "
            "rose and brown where it fell; dot and line: the level after it, with the interval of "
            f"the step. A step that several variants share stands there once.{left_out}"
        )
        if number == 1
        else f"To be read as the first.{left_out}",
        spec=theme.finish(_chart(one), datasets={"rows": _data(one)}),
    )


def _words(level: Level) -> str:
    return f"{_name(level)} {presentation.interval_text(level.change)}"


def _name(level: Level) -> str:
    return f"{level.causes or 'all steps'} → {name(level.variant)}"


def _chart(one: TaskLevels) -> Any:
    import altair as alt

    axis = _Axis(one)
    layers = [*axis.zero_line(), _joints(axis), *_bars(axis), *_texts()]
    chart = alt.layer(
        *layers,
        width=theme.WIDTH,
        height=_rows(one)[-1].y + _ROW,
        title=alt.TitleParams(name(one.task), offset=10),
    )
    chart.data = alt.NamedData("rows")
    return chart


def _data(one: TaskLevels) -> list[dict[str, Any]]:
    rows, scale = _rows(one), span(one.levels)
    return [_datum(row, rows, scale) for row in rows]


def _rows(one: TaskLevels) -> list[_Row]:
    """The steps below each other; the totals a little apart from them."""
    apart = len(one.steps)
    return [
        _Row(level, place * _ROW + (_APART if place >= apart else 0))
        for place, level in enumerate(one.levels)
    ]


class _Axis:
    """The horizontal axis that all marks of a figure share."""

    def __init__(self, one: TaskLevels) -> None:
        import altair as alt

        self.span = span(one.levels)
        is_share = one.unit.startswith("share")
        self._scale = alt.Scale(domain=list(self.span), nice=False, zero=False)
        self._axis = alt.Axis(
            title=f"{name(presentation.unit_label(one.unit))}, from {name(one.first, 24)}",
            labelExpr="format(datum.value * 100, '~g')" if is_share else alt.Undefined,
            tickCount=5,
            grid=False,
        )

    def x(self, field: str) -> Any:
        """The place of a field."""
        import altair as alt

        return alt.X(f"{field}:Q", axis=self._axis, scale=self._scale)

    def zero_line(self) -> Iterator[Any]:
        """Where the first of the line stands, unless the axis leaves that out."""
        import altair as alt

        if self.span.low <= 0.0 <= self.span.high:
            soft = theme.PALETTE["soft"]
            rule = alt.Chart(alt.Data(values=[{"end": 0}])).mark_rule(
                color=soft, strokeDash=[1, 3], y=0, y2="height"
            )
            yield rule.encode(x=self.x("end"))


def _datum(row: _Row, rows: Sequence[_Row], scale: Span) -> dict[str, Any]:
    level = row.level
    low, high = level.ends
    kind = "gain" if level.change.value >= 0 else "loss"
    return {
        "y": row.y,
        "joint": _joint(row, rows),
        "name": _name(level),
        "change": typeset(presentation.interval_text(level.change)),
        "step": f"{name(level.reference)} → {name(level.variant)}",
        "documents": presentation.count(level.change.n),
        "method": typeset(level.change.method),
        "start": level.start,
        "end": level.end,
        "low": low,
        "high": high,
        "fill": theme.PALETTE[_FILLS[kind if level.causes else "whole"]],
        "weight": "normal" if level.causes else "bold",
        "cut": not scale.low <= level.start <= scale.high,
    }


def _joint(row: _Row, rows: Sequence[_Row]) -> int | None:
    """Where the row ends that this one follows; None of the first, and of totals."""
    start = row.level.reference, row.level.start
    before = [
        other.y + _TOP + _BAR
        for other in rows
        if other.y < row.y and (other.level.variant, other.level.end) == start
    ]
    return before[-1] if before and row.level.causes else None


def _at(below: float) -> dict[str, str]:
    """A pixel so far below the top of the row."""
    return {"expr": f"datum.y + {below}"}


def _joints(axis: _Axis) -> Any:
    import altair as alt

    rule = (
        alt.Chart()
        .transform_filter("datum.joint !== null")
        .mark_rule(color=theme.PALETTE["soft"], y={"expr": "datum.joint"}, y2=_at(_TOP))
    )
    return rule.encode(x=axis.x("start"))


def _bars(axis: _Axis) -> Iterator[Any]:
    import altair as alt

    ink, paper = theme.PALETTE["ink"], theme.PALETTE["paper"]
    middle = _at(_TOP + _BAR / 2)
    yield (
        alt.Chart()
        .mark_rect(clip=True, opacity=0.55, y=_at(_TOP), y2=_at(_TOP + _BAR))
        .encode(
            x=axis.x("start"),
            x2=alt.X2("end:Q"),
            fill=alt.Fill("fill:N", scale=None),
            tooltip=_tooltip(),
        )
    )
    yield (
        alt.Chart()
        .transform_filter("datum.cut")
        .mark_rule(color=paper, strokeWidth=4, y=_at(_TOP + _BAR + 2), y2=_at(_TOP - 2))
        .encode(x=alt.XValue(14), x2=alt.X2Value(19))
    )
    yield (
        alt.Chart()
        .mark_rule(color=ink, strokeWidth=2, y=middle)
        .encode(x=axis.x("low"), x2=alt.X2("high:Q"))
    )
    yield (
        alt.Chart()
        .mark_circle(color=ink, opacity=1, size=46, y=middle)
        .encode(x=axis.x("end"), tooltip=_tooltip())
    )


def _tooltip() -> list[Any]:
    import altair as alt

    names = {
        "name": "Step",
        "step": "Variants",
        "change": "Change (interval)",
        "documents": "Documents",
        "method": "Method",
    }
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in names.items()]


def _texts() -> Iterator[Any]:
    """The step at the left and its change at the right, on paper that keeps lines off them."""
    import altair as alt

    letters = "(width - 10) / 5.8 - length(datum.change)"
    told = {"expr": f"truncate(datum.name, {letters})"}
    left: dict[str, Any] = {"align": "left", "x": 0, "text": told}
    right: dict[str, Any] = {"align": "right", "x": "width"}
    above: dict[str, Any] = {"baseline": "alphabetic", "y": _at(_TOP - 5)}
    halo: dict[str, Any] = {"stroke": theme.PALETTE["paper"], "strokeWidth": 4}
    for style in (halo, {}):
        yield (
            alt.Chart()
            .mark_text(fontWeight={"expr": "datum.weight"}, **left, **above, **style)
            .encode(detail=alt.Detail("y:Q"))
        )
        yield alt.Chart().mark_text(**right, **above, **style).encode(text=alt.Text("change:N"))
