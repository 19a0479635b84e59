"""Weight audits as heat maps, layer by module: what merges kept, and quantizations left out."""

from collections.abc import Iterator, Sequence
from typing import Any

from gate.figures import theme
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.figures.weight_sheet import CELL, WeightSheet, lay_out, worst_text
from gate.records import Record
from gate.reporting.weight_maps import WeightMap, weight_maps

_MOST_RUNS = 900


def draw(record: Record) -> tuple[Figure, ...]:
    """One figure with a map for each audit; empty where no weights were audited."""
    maps = weight_maps(record)
    shown = _shown(maps)
    if not any(one.rows for one in shown):
        return ()
    others = [one.label for one in maps if one.rows and one not in shown]
    left_out = f" In the table alone: {name(', '.join(others), 200)}." if others else ""
    return (
        Figure(
            id="figure-weights",
            title="What merges kept and quantizations lost, by layer and module",
            summary=typeset("; ".join(map(_words, shown)) + "."),
            caption=(
                "A stretch of layers of one colour is told together, by its worst tensor; so are "
                "the experts of a layer. Modules that nothing was to be added to, or that are "
                "stored exactly, have no row. Dot: the worst tensor of a map. Dashed: not "
                f"measured. Cross: found to be wrong.{left_out}"
            ),
            spec=_spec(shown),
        ),
    )


def _shown(maps: Sequence[WeightMap]) -> list[WeightMap]:
    """The maps that there is room for, merges before quantizations."""
    shown: list[WeightMap] = []
    runs = 0
    for one in sorted(maps, key=lambda one: one.of):
        runs += sum(len(row.runs) for row in one.rows)
        if runs <= _MOST_RUNS or not shown:
            shown.append(one)
    return shown


def _words(one: WeightMap) -> str:
    return f"{name(one.label)}: {worst_text(one)}"


def _spec(maps: Sequence[WeightMap]) -> str:
    import altair as alt

    sheet, height = lay_out(maps)
    chart = alt.layer(*_layers(sheet), width=theme.WIDTH, height=height)
    return theme.finish(chart, datasets=sheet._asdict())


def _across(share: str = "s") -> dict[str, str]:
    return {"expr": f"datum.x + datum.{share} * (width - datum.x)"}


def _layers(sheet: WeightSheet) -> Iterator[Any]:
    import altair as alt

    fill = alt.Fill("fill:N", scale=None)
    box: dict[str, Any] = {
        "x": _across(),
        "x2": _across("s2"),
        "y": {"expr": "datum.y"},
        "y2": {"expr": f"datum.y + {CELL}"},
    }
    yield _of("cells").mark_rect(**box).encode(fill=fill, tooltip=_tooltip())
    ends = {"y": sheet.cells[0]["y"], "y2": sheet.cells[-1]["y"] + CELL}
    yield (
        _of("edges").mark_rule(color=theme.PALETTE["paper"], **ends).encode(x=alt.XValue(_across()))
    )
    edges = {side: {"expr": f"datum.{side}"} for side in ("x", "x2", "y", "y2")}
    yield _of("swatches").mark_rect(**edges).encode(fill=fill)
    if any(cell["state"] != "measured" for cell in sheet.cells):
        yield from _faults(box)
    yield from _dots()
    yield _texts()


def _of(part: str) -> Any:
    """A chart of a part of the sheet."""
    import altair as alt

    return alt.Chart(alt.NamedData(name=part))


def _faults(box: dict[str, Any]) -> Iterator[Any]:
    """A dashed frame around what was not measured, a cross on what is wrong."""
    import altair as alt

    soft, paper, fail = (theme.PALETTE[role] for role in ("soft", "paper", "fail"))
    frame = {**box, "filled": False, "stroke": soft, "strokeDash": [2, 2]}
    unknown = _of("cells").transform_filter("datum.state === 'not measured'")
    yield unknown.mark_rect(**frame).encode(detail=alt.Detail("y:Q"))
    middle = "datum.x + (datum.s + datum.s2) / 2 * (width - datum.x)"
    place = {"x": {"expr": middle}, "y": {"expr": f"datum.y + {CELL / 2}"}}
    wrong = _of("cells").transform_filter("datum.state === 'wrong'")
    for style in ({"stroke": paper, "strokeWidth": 4}, {}):
        text = wrong.mark_text(text="✕", fontWeight="bold", color=fail, **place, **style)
        yield text.encode(tooltip=_tooltip())


def _dots() -> Iterator[Any]:
    import altair as alt

    ink, paper = theme.PALETTE["ink"], theme.PALETTE["paper"]
    place = {"x": alt.XValue(_across()), "y": alt.YValue({"expr": "datum.y"})}
    dot = _of("dots").mark_point(size=34, filled=True, opacity=1, fill=ink, stroke=paper)
    yield dot.encode(**place)


def _texts() -> Any:
    import altair as alt

    style = {
        "align": {"expr": "datum.align"},
        "fontSize": {"expr": "datum.size"},
        "fontWeight": {"expr": "datum.weight"},
    }
    place = {"x": _across(), "y": {"expr": "datum.y"}, "baseline": "alphabetic"}
    return (
        _of("texts")
        .mark_text(**place, **style)
        .encode(text=alt.Text("text:N"), color=alt.Color("colour:N", scale=None))
    )


def _tooltip() -> list[Any]:
    import altair as alt

    names = {
        "map": "Stage",
        "where": "Where",
        "found": "Found",
        "worst": "Worst tensor",
        "tensors": "Tensors",
    }
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in names.items()]
