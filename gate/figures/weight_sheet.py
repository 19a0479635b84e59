"""Where the maps of weight audits stand below each other: cells, legends, names."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from gate import presentation
from gate.figures import theme
from gate.figures.lettering import name, typeset
from gate.reporting.tensor_places import place_of
from gate.reporting.weight_maps import ERROR_STEPS, LOST_STEPS, ModuleRow, Run, WeightMap

CELL = 13
"""Height of a cell, in pixels."""

_LEFT, _ROW, _HEAD, _FOOT, _APART, _LEGEND, _BLOCK = 100, 16, 22, 24, 14, 50, 38
_NAME, _SMALL = 16, 11
_MOST_EDGES = 48
"""Layers that are wide enough for a line between them."""

_MOST_NUMBERS = 10
"""Numbers of layers that a narrow page has room for."""

_LONE = 25
"""A tensor outside the layers takes one column in so many."""

_HEADINGS = {"merge": "Kept of the adapters' change", "quantize": "Relative error of a tensor"}
_UNITS = {"merge": "kept", "quantize": "relative error"}
_SOFT: dict[str, Any] = {"colour": "soft"}


class WeightSheet(NamedTuple):
    """What stands on the figure, in pixels (x, y) and shares of the width beyond them (s).

    Attributes:
        cells: a rectangle for each run of layers, with what is told of it.
        edges: between the layers.
        swatches: the colours of the legends.
        dots: on the worst tensor of each map.
        texts: all names and numbers.
    """

    cells: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    swatches: list[dict[str, Any]]
    dots: list[dict[str, Any]]
    texts: list[dict[str, Any]]


class Laid(NamedTuple):
    """A sheet and its height in pixels."""

    sheet: WeightSheet
    height: int


def lay_out(maps: Sequence[WeightMap]) -> Laid:
    """The maps below each other, each kind of them below its legend, the layers' numbers last."""
    sheet = WeightSheet([], [], [], [], [])
    depth = max((row.layers for one in maps for row in one.rows), default=0)
    top = 0
    for of, some in groupby(maps, key=lambda one: one.of):
        top = _add_legend(sheet, of, top)
        for one in some:
            top = _add_map(sheet, one, depth, top)
    edges = range(1, depth if depth <= _MOST_EDGES else 0)
    sheet.edges.extend({"x": _LEFT, "s": layer / depth} for layer in edges)
    return Laid(sheet, _add_layers(sheet, depth, top - _APART))


def _add_legend(sheet: WeightSheet, of: str, top: int) -> int:
    """The steps of the colours, with the values between them; gives where the next thing goes."""
    steps = LOST_STEPS if of == "merge" else ERROR_STEPS
    sheet.texts.append(_text(0, top + 10, _HEADINGS[of], colour="soft"))
    for number in range(len(steps) + 1):
        place = {"x": number * _BLOCK, "x2": (number + 1) * _BLOCK - 1}
        fill = theme.PALETTE[f"heat-{number}"]
        sheet.swatches.append(place | {"y": top + 17, "y2": top + 26, "fill": fill})
    for number, step in enumerate(steps, start=1):
        told = presentation.exact(1.0 - step if of == "merge" else step, "share")
        at = number * _BLOCK
        sheet.texts.append(_text(at, top + 38, told, colour="soft", align="center", size=11))
    return top + _LEGEND


def _add_map(sheet: WeightSheet, one: WeightMap, depth: int, top: int) -> int:
    sheet.texts.append(_text(0, top + 12, name(one.label, 34), weight="bold"))
    sheet.texts.append(_text(0, top + 12, worst_text(one), share=1.0, align="right", colour="soft"))
    top += _HEAD
    for row in one.rows:
        label = name(row.name if len(row.name) <= _NAME else f"…{row.name[1 - _NAME :]}", _NAME)
        at = _LEFT - 6
        sheet.texts.append(_text(at, top + 11, label, align="right", colour="soft", size=11))
        sheet.cells.extend(
            _cell(one, row, run) | _stretch(row, run, depth) | {"y": top} for run in row.runs
        )
        sheet.dots.extend(_dot(row, run, top, depth) for run in row.runs if run.worst == one.worst)
        top += _ROW
    return top + _APART


def _cell(one: WeightMap, row: ModuleRow, run: Run) -> dict[str, Any]:
    return {
        "fill": theme.PALETTE["paper" if run.step is None else f"heat-{run.step}"],
        "state": run.state,
        "map": name(one.label),
        "where": _where(row, run),
        "found": typeset(_found(one, run)),
        "worst": name(run.tensor, 80),
        "tensors": presentation.count(run.tensors),
    }


def _stretch(row: ModuleRow, run: Run, depth: int) -> dict[str, float]:
    """From where to where a run reaches across the sheet."""
    if run.first is None or run.last is None:
        return {"x": _LEFT, "s": 0.0, "s2": max(1, round(depth / _LONE)) / max(1, depth)}
    return {"x": _LEFT, "s": run.first / row.layers, "s2": (run.last + 1) / row.layers}


def _dot(row: ModuleRow, run: Run, top: int, depth: int) -> dict[str, Any]:
    """The place of the worst tensor of a run."""
    layer = place_of(run.tensor).layer
    share = 0.5 / max(1, depth) if layer is None else (layer + 0.5) / row.layers
    return {"x": _LEFT, "s": share, "y": top + CELL / 2}


def _where(row: ModuleRow, run: Run) -> str:
    if run.first is None:
        return name(row.name)
    layers = f"layer {run.first}" if run.first == run.last else f"layers {run.first} to {run.last}"
    return f"{name(row.name)}, {layers} of {name(row.stack)}"


def _found(one: WeightMap, run: Run) -> str:
    wrong = "wrong; " if run.state == "wrong" else ""
    if run.least is None or run.worst is None:
        return f"{wrong}{presentation.MISSING}"
    return f"{wrong}{_between(run.least, run.worst, one.of)} {_UNITS[one.of]}"


def _add_layers(sheet: WeightSheet, depth: int, top: int) -> int:
    """The numbers of layers below the last map; gives the figure's height."""
    if not depth:
        return top
    apart = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if depth / step <= 10)  # noqa: PLR2004 - as many numbers as a narrow page has room for
    for layer in range(0, depth, apart):
        at = (layer + 0.5) / depth
        text = _text(_LEFT, top + 13, str(layer), share=at, align="center", colour="soft", size=11)
        sheet.texts.append(text)
    sheet.texts.append(_text(_LEFT - 6, top + 13, "layer", align="right", colour="soft", size=11))
    return top + _FOOT


def worst_text(one: WeightMap) -> str:
    """What the worst tensor of a map came to."""
    if one.error is not None:
        return f"{presentation.MISSING}: the audit could not be done"
    if one.worst is None:
        return presentation.MISSING
    if not one.rows:
        return f"{presentation.count(one.exact, 'tensor')}, all exact"
    if one.of == "merge":
        return f"at least {presentation.percent(1.0 - one.worst)} kept"
    return f"up to {presentation.percent(one.worst, decimals=2)} relative error"


def _between(least: float, worst: float, of: str) -> str:
    """A range of losses, told as what was kept of a merge's change."""
    ends = (1.0 - worst, 1.0 - least) if of == "merge" else (least, worst)
    low, high = (presentation.percent(end, decimals=1 if of == "merge" else 2) for end in ends)
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    share: float = 0.0,
    align: str = "left",
    colour: str = "ink",
    weight: str = "normal",
    size: int = 12,
) -> dict[str, Any]:
    """A text at x pixels and a share of what the plot's width is beyond them."""
    return {
        "x": x,
        "s": share,
        "y": y,
        "text": typeset(text),
        "align": align,
        "colour": theme.PALETTE[colour],
        "weight": weight,
        "size": size,
    }
