"""A sheet as a specification, whose places follow from the width it is drawn in."""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from gate.figures.sheet import Area, Band, Level, Mark, Rule, Sheet, Told, Words
from gate.figures.theme import COLOURS, PALETTE, SHAPES, WIDTH, finish
from gate.presentation import printable

if TYPE_CHECKING:
    import altair

LEAST_WIDE = 600
"""Pixels of width from which on the words stand beside the plots."""

_FOUND = 186
_SETTINGS = {
    "isWide": f"width >= {LEAST_WIDE}",
    "plotLeft": "isWide ? clamp(0.27 * width, 180, 300) : 7",
    "plotSpan": f"(isWide ? width - {_FOUND} : width - 7) - plotLeft",
}
"""Signals of the drawing: which of the two layouts it has, and where its plots are."""

_ACROSS = (
    "datum.column == 'plot' ? plotLeft + datum.{x} * plotSpan / 100 : "
    "datum.column == 'left' ? datum.{x} : width - datum.{x}"
)
_DOWN = "isWide ? datum.{y} : datum.{narrow}"
_START = {"px": _ACROSS.format(x="x"), "py": _DOWN.format(y="y", narrow="n")}
_END = {"px2": _ACROSS.format(x="x2"), "py2": _DOWN.format(y="y2", narrow="n2")}
_TEXT = {"shown": "isWide ? datum.text : datum.short"}
_ROOM = (
    "datum.fitted == null ? 0 : datum.isLabel ? (isWide ? plotLeft - 12 : width - 120) : "
    "isWide ? width - datum.free : width"
)
"""Pixels that a text may take; 0, for one that is fitted already, is as many as it needs."""

_LABEL = 0.27 * WIDTH - 8
_NARROW_LETTERS, _BROAD_LETTERS = set("iljtfrI.,:;|!'()[] -"), set("mwMWGOQ@%&—")
_LETTERS = (3.8, 6.5, 10.0)
"""Pixels that a narrow, a usual and a broad letter take, or a little less."""


def compose(sheet: Sheet, *, width: int = WIDTH, padding: int = 0) -> str:
    """The sheet as a specification, so wide where no page says otherwise, with room around it."""
    spec = json.loads(_spec())
    size = {"width": width, "height": sheet.height, "padding": padding}
    filled = spec | size | {"datasets": _values(sheet)}
    return json.dumps(filled, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@cache
def _spec() -> str:
    """What all sheets have in common; Altair would take long to look at their values."""
    import altair

    layers = (_areas(), _rules(), _bands(), _marks(), _words(), _told())
    settings = (altair.param(name=name, expr=how) for name, how in _SETTINGS.items())
    return finish(
        altair.layer(*layers)
        .properties(width=WIDTH, usermeta={"texts": ["text"]})
        .add_params(*settings)
    )


def _values(sheet: Sheet) -> dict[str, list[dict[str, Any]]]:
    """{layer: what is drawn in it}."""
    return {
        "areas": [_area_value(one) for one in sheet.areas],
        "rules": [_rule_value(one) for one in sheet.rules],
        "bands": [_band_value(one) for one in sheet.bands],
        "marks": [_mark_value(one) for one in sheet.marks],
        "words": [_words_value(one) for one in sheet.words],
        "told": [_told_value(one) for one in sheet.told],
    }


def _area_value(one: Area) -> dict[str, Any]:
    return _from(one.x, one.y) | _to(one.x2, one.y2)


def _rule_value(one: Rule) -> dict[str, Any]:
    drawn = {"colour": one.colour, "width": one.width, "dash": one.dash}
    return _from(one.x, one.y) | _to(one.x2, one.y2) | drawn


def _band_value(one: Band) -> dict[str, Any]:
    return {"y": one.top, "y2": one.bottom}


def _mark_value(one: Mark) -> dict[str, Any]:
    drawn = {"colour": COLOURS[one.state], "shape": one.shape or SHAPES[one.state]}
    return _from(one.x, one.y, one.column) | drawn


def _words_value(one: Words) -> dict[str, Any]:
    text = printable(one.text)
    room = _LABEL if one.is_label else one.free and WIDTH - one.free
    return _from(one.x, one.y, one.column) | {
        "text": text,
        "fitted": _fitted(text, room) if room else None,
        "short": printable(one.short),
        "align": one.align,
        "colour": one.colour,
        "weight": "bold" if one.is_bold else "normal",
        "isLabel": one.is_label,
        "free": one.free,
    }


def _fitted(text: str, room: float) -> str:
    """As much of a text as is sure to fit, where nothing measures its letters."""
    taken = 0.0
    for place, letter in enumerate(text):
        taken += _LETTERS[1 + (letter in _BROAD_LETTERS) - (letter in _NARROW_LETTERS)]
        if taken > room:
            return f"{text[: place - 1]}…"
    return text


def _told_value(one: Told) -> dict[str, Any]:
    facts = {name: printable(fact) for name, fact in one.facts.items()}
    return {"y": one.top, "y2": one.bottom, "facts": facts}


def _from(x: float, y: Level, column: str = "plot") -> dict[str, Any]:
    return {"x": x, "column": column, "y": y.wide, "n": y.narrow}


def _to(x: float, y: Level) -> dict[str, Any]:
    return {"x2": x, "y2": y.wide, "n2": y.narrow}


def _areas() -> "altair.Chart":
    chart = _chart("areas", **_START, **_END).mark_rect(color=PALETTE["allowed"])
    return chart.encode(x2="px2", y2="py2")


def _rules() -> "altair.Chart":
    drawn = _as_given(color="colour:N", strokeWidth="width:Q", strokeDash="dash:N")
    return _chart("rules", **_START, **_END).mark_rule().encode(x2="px2", y2="py2", **drawn)


def _bands() -> "altair.Chart":
    chart = _stretches("bands").transform_filter("!isWide")
    return chart.mark_rect(color=PALETTE["paper"])


def _marks() -> "altair.Chart":
    drawn = _as_given(color="colour:N", shape="shape:N")
    return _chart("marks", **_START).mark_point(filled=True, size=72, opacity=1).encode(**drawn)


def _words() -> "altair.Chart":
    import altair

    marked = (
        _chart("words", **_START, **_TEXT)
        .transform_filter("datum.shown")
        .mark_text(
            baseline="middle",
            align=altair.expr("datum.align"),
            fontWeight=altair.expr("datum.weight"),
            limit=altair.expr(_ROOM),
        )
    )
    return marked.encode(text="shown:N", **_as_given(color="colour:N"))


def _told() -> "altair.Chart":
    """Invisible, over all else, so that any place in a row tells of it."""
    import altair

    return _stretches("told").mark_rect(opacity=0, tooltip=altair.expr("datum.facts"))


def _chart(values: str, **calculated: str) -> "altair.Chart":
    """A layer of named values at the places that follow from the width."""
    import altair

    return (
        altair.Chart(altair.NamedData(values))
        .transform_calculate(**calculated)
        .encode(
            x=altair.X("px:Q", scale=None, axis=None), y=altair.Y("py:Q", scale=None, axis=None)
        )
    )


def _stretches(values: str) -> "altair.Chart":
    """A layer of named values as wide as the sheet."""
    import altair

    return altair.Chart(altair.NamedData(values)).encode(
        y=altair.Y("y:Q", scale=None, axis=None),
        y2="y2",
        x=altair.value(0),
        x2=altair.value("width"),
    )


def _as_given(**fields: str) -> Mapping[str, Any]:
    """Channels whose fields say what is drawn themselves: colours, shapes, widths."""
    import altair

    return {
        channel: getattr(altair, channel[0].upper() + channel[1:])(field, scale=None, legend=None)
        for channel, field in fields.items()
    }
