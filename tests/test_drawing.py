"""Figures drawn without a browser: for a page, and as they are."""

import json
import re

from gate.figures.composing import compose
from gate.figures.drawing import draw_for_page, draw_svg
from gate.figures.sheet import Level, Mark, Sheet, Words, join, legend


def sheet(text: str, **settings) -> Sheet:
    words = Words(0, Level(10, 10), text, text, "left", **settings)
    return Sheet(40, marks=(Mark(50, Level(20, 20), "fail"),), words=(words,))


def test_a_texts_of_a_page_are_what_they_are_on_paper():
    spec = compose(sheet("a < b & c"))
    assert ">a &lt; b &amp; c</text>" in draw_svg(spec)
    assert ">a &lt; b &amp; c</text>" in draw_for_page(spec)


def test_a_figure_is_drawn_the_same_whatever_was_drawn_before():
    values = [{"place": place} for place in (1, 2)]
    x = {"field": "place", "type": "quantitative"}
    spec = json.dumps(
        {"data": {"values": values}, "mark": {"type": "bar", "clip": True}, "encoding": {"x": x}}
    )
    first = draw_for_page(spec)
    assert first == draw_for_page(spec)
    (name,) = set(re.findall(r'id="(clip[^"]*)"', first))
    assert f"url(#{name})" in first


def test_places_are_rounded_and_numbers_in_texts_are_not():
    said = "0.00181 (0.00051 to 0.00333)"
    for words in (sheet(said), sheet(said, is_label=True)):
        spec = compose(words)
        for drawn in (draw_svg(spec), draw_for_page(spec)):
            assert f">{said}</text>" in drawn
            assert not re.search(r' (?:d|transform|x)="[^"]*\.\d{3}', drawn)


def test_an_axis_of_small_numbers_says_them_whole():
    values = [{"bound": bound} for bound in (0.001, 0.002, 0.005)]
    x = {
        "field": "bound",
        "type": "quantitative",
        "title": "at most 0.005",
        "axis": {"values": [0.005]},
    }
    drawn = draw_svg(json.dumps({"data": {"values": values}, "mark": "tick", "encoding": {"x": x}}))
    assert ">0.005</text>" in drawn
    assert ">at most 0.005</text>" in drawn


def test_colours_of_a_page_are_the_pages_own():
    drawn = draw_for_page(compose(sheet("kept #a8232b")))
    assert 'fill="var(--fail)"' in drawn
    assert ">kept #a8232b</text>" in drawn


def test_a_name_that_is_too_long_is_cut_on_paper_and_in_the_page():
    spec = compose(sheet("long " * 40, is_label=True))
    for drawn in (draw_svg(spec), draw_for_page(spec)):
        (shown,) = [part.partition("<")[0] for part in drawn.split(">") if "long" in part]
        assert shown.endswith("…")
        assert len(shown) < 40


def test_texts_that_are_hexadecimal_numbers_are_not_taken_for_tokens():
    several = join((sheet("1"), sheet("0"), sheet("beef")))
    drawn = draw_for_page(compose(several))
    assert drawn.index(">1</text>") < drawn.index(">0</text>") < drawn.index(">beef</text>")


def test_a_legend_names_the_outcomes_that_there_are():
    drawn = draw_for_page(compose(legend(["pass", "error", "pass", "neutral"], top=0)))
    assert drawn.count("<text") == 2
    assert ">passed</text>" in drawn
    assert ">error</text>" in drawn


def test_a_specification_stands_in_the_width_of_the_page():
    assert json.loads(compose(sheet("a")))["width"] == 640
