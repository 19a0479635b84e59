"""Whether words and marks can be told from what they stand on, in each of a page's colours."""

import json
import re
from importlib import resources

import pytest

from gate.figures.theme import PALETTE, for_page

WORDS = ("ink", "soft", "pass", "fail", "inconclusive", "error", "link")
GROUNDS = ("paper", "card", "allowed")
TEXT, GRAPHICS = 4.5, 3.0
"""WCAG 2.2, success criteria 1.4.3 and 1.4.11, level AA."""


def colours() -> dict[str, dict[str, str]]:
    """{theme: {name: colour}} of the style sheet, the dark and printed ones over the light one."""
    style = (resources.files("gate.pages") / "assets" / "page.css").read_text("utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    light, dark, paper = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in blocks)
    return {"light": light, "dark": light | dark, "print": light | paper}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour.removeprefix("#")
    pairs = re.findall("..", digits) if len(digits) > 3 else [2 * one for one in digits]
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (int(pair, 16) / 255 for pair in pairs)
    ]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_words_stand_out_from_every_ground(theme):
    found = colours()[theme]
    faint = [
        (word, ground)
        for word in WORDS
        for ground in GROUNDS
        if contrast(found[word], found[ground]) < TEXT
    ]
    assert faint == []


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_bars_stand_out_from_the_paper(theme):
    found = colours()[theme]
    assert contrast(found["fall"], found["paper"]) >= GRAPHICS


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_the_heat_map_goes_steadily_away_from_the_paper(theme):
    found = colours()[theme]
    steps = [contrast(found[f"heat-{step}"], found["paper"]) for step in range(6)]
    assert steps == sorted(steps)
    assert steps[-1] >= GRAPHICS


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_every_colour_of_the_figures_has_one_of_the_page(theme):
    assert set(PALETTE) <= set(colours()[theme])


def test_figures_have_the_same_colours_outside_a_page_as_in_a_light_one():
    light = colours()["light"]
    assert {name: light[name] for name in PALETTE} | {"paper": PALETTE["paper"]} == PALETTE


def test_a_colour_in_a_text_is_left_as_it_is():
    spec = json.dumps(
        {"color": PALETTE["pass"], "text": f'the code "{PALETTE["fail"]}" of a paint'}
    )
    assert json.loads(for_page(spec)) == {
        "color": "var(--pass)",
        "text": f'the code "{PALETTE["fail"]}" of a paint',
    }
