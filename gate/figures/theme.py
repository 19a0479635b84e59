"""What all figures have in common: the palette, the type, the width, and how a page colours them.

Colours are written as they are on white paper. A page has its own, light and dark, in style sheet
variables of the same names; `for_page` puts those in their place.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair

WIDTH = 640
"""Width of a view in pixels; in a page every view of this width takes the width there is."""

PALETTE = {
    "paper": "#fffffe",
    "ink": "#1d1c1a",
    "soft": "#66625a",
    "rule": "#dcd7cc",
    "pass": "#1b6b47",
    "fail": "#a8232b",
    "inconclusive": "#8a5800",
    "error": "#5d3a94",
    "allowed": "#e4efe8",
    "link": "#234f8e",
    "fall": "#8a5a3c",
    "heat-0": "#f3f0e9",
    "heat-1": "#e3d3b4",
    "heat-2": "#d0ac77",
    "heat-3": "#b17f45",
    "heat-4": "#85542a",
    "heat-5": "#55301a",
}
"""{name: colour on white paper}; no two are alike, so that each can be told by its colour.

The last six are the steps of a heat map, from little to much.
"""

COLOURS: dict[str, str] = {
    name: PALETTE["soft" if name == "neutral" else name]
    for name in ("pass", "fail", "inconclusive", "error", "neutral")
}
"""{what a mark can say: its colour}."""

_SALTIRE = (
    "M-1.2,-.75L-.75,-1.2L0,-.45L.75,-1.2L1.2,-.75L.45,0"
    "L1.2,.75L.75,1.2L0,.45L-.75,1.2L-1.2,.75L-.45,0Z"
)

SHAPES: dict[str, str] = dict(
    zip(COLOURS, ("circle", _SALTIRE, "diamond", "triangle-up", "square"), strict=True)
)
"""{what a mark can say: its shape}, so that nothing is told by colour alone."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

_COLOUR = re.compile(f'(?<=")(?:{"|".join(map(re.escape, PALETTE.values()))})(?=")', re.IGNORECASE)
"""A colour as specifications and drawings have it: in quotes, which no colour in a text is."""

_NAMES = {colour: name for name, colour in PALETTE.items()}


def axis_title(text: str) -> "altair.TitleParams":
    """What a vertical axis measures, said level above its figure."""
    import altair

    return altair.TitleParams(text, fontSize=12, fontWeight="normal", color=PALETTE["soft"])


def finish(
    chart: "altair.TopLevelMixin", *, datasets: Mapping[str, Sequence[object]] | None = None
) -> str:
    """The chart as JSON in the figures' common style, ready to be drawn or to stand in a page.

    Args:
        chart: what is drawn.
        datasets: {name: values} of its `altair.NamedData`; hundreds of values inside the chart
            take Altair longer than all the rest.
    """
    spec = chart.to_dict()
    if datasets:
        spec["datasets"] = dict(datasets)
    own: dict[str, Any] = spec.get("config", {})
    spec["config"] = own | {
        key: own.get(key, {}) | value if isinstance(value, dict) else value
        for key, value in _config().items()
    }
    spec["background"] = PALETTE["paper"]
    spec["autosize"] = {"type": "pad", "contains": "padding"}
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def for_page(text: str) -> str:
    """A specification or a drawing in a page's own colours, light or dark as its reader has it."""
    return _COLOUR.sub(lambda found: f"var(--{_NAMES[found[0].lower()]})", text)


def _config() -> dict[str, Any]:
    ink, soft, rule = (PALETTE[name] for name in ("ink", "soft", "rule"))
    return {
        "aria": False,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": rule,
            "domainColor": rule,
            "tickColor": rule,
        },
        "header": {"labelColor": ink, "titleColor": soft, "labelFontSize": 13},
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "orient": "top",
        },
        "title": {
            "color": ink,
            "subtitleColor": soft,
            "fontSize": 13,
            "subtitleFontSize": 12,
            "anchor": "start",
            "fontWeight": "bold",
        },
        "text": {"color": ink, "fontSize": 12},
    }
