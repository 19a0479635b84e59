"""The figures of trends: lines that break, margins of each run, what was not measured."""

import json
import re

import pytest

from gate.figures.courses import Changes, Judged, Line, Point, Sizes, Trend
from gate.figures.drawing import draw_for_page, draw_svg
from gate.figures.theme import PALETTE
from gate.figures.trends import draw_sizes, draw_trend

RUNS = ("v1", "v2", "v3")


def point(run, value=90.0, **fields):
    given = {"text": f"{value} %", "low": value - 2, "high": value + 2, "interval": "88 to 92 %"}
    return Point(run, value, **(given | fields))


def judged(run, outcome="pass", **fields):
    given = {"point": point(run, -0.5), "at_least": -2.0, "at_most": None, "bound": "at least -2"}
    return Judged(run=run, outcome=outcome, **(given | fields))


def trend(**fields):
    given = {
        "task": "intent",
        "metric": "acc",
        "suffix": " %",
        "runs": RUNS,
        "lines": (Line("adapter", tuple(map(point, range(3)))),),
        "changes": (Changes("q8_0 against merged", "points", tuple(map(judged, range(3)))),),
        "breaks": {},
    }
    return Trend(**(given | fields))


def rows(figure, key):
    """The rows of the figure that have this field."""
    datasets = json.loads(figure.spec)["datasets"].values()
    return [row for dataset in datasets for row in dataset if key in row]


def words(figure):
    return re.findall(r"<text[^>]*>([^<]+)</text>", draw_svg(figure.spec))


def test_a_trend_names_its_runs_task_and_comparison():
    figure = draw_trend(trend(), number=3)
    assert figure.id == "figure-trend-3"
    assert figure.title == "intent over 3 runs"
    assert {"v1", "v2", "v3", "intent: acc", "Change of q8_0 against merged, points"} <= {
        *words(figure)
    }


def test_a_summary_tells_a_trend_to_who_cannot_see_it():
    assert draw_trend(trend(), number=1).summary == (
        "intent by run: adapter from 90.0 % to 90.0 %; q8_0 against merged passed in v3."
    )


def test_a_line_is_in_two_parts_where_a_point_is_not_joined():
    points = (point(0), point(1, is_joined=False), point(2))
    figure = draw_trend(
        trend(lines=(Line("adapter", points),), breaks={1: "other documents"}), number=1
    )
    parts = [row["part"] for row in rows(figure, "part")]
    assert parts[0] != parts[1] == parts[2]
    assert "other documents" in " ".join(words(figure))
    assert figure.caption.startswith("Where a line breaks, ")


def test_a_trend_without_a_break_does_not_explain_breaks():
    assert draw_trend(trend(), number=1).caption == ""


def test_each_run_has_the_margin_that_it_was_judged_by():
    both = judged(1, at_least=-1.0, at_most=1.0)
    changes = Changes("q8_0 against merged", "points", (judged(0), both))
    figure = draw_trend(trend(changes=(changes,)), number=1)
    allowed = [row for row in rows(figure, "low") if set(row) == {"run", "low", "high"}]
    assert [(row["run"], row["low"]) for row in allowed] == [("v1", -2.0), ("v2", -1.0)]
    assert allowed[1]["high"] == 1.0


def test_a_change_that_was_not_measured_has_a_mark_and_no_value():
    changes = Changes("q8_0 against merged", "points", (judged(0, "error", point=None),))
    figure = draw_trend(trend(changes=(changes,)), number=1)
    (row,) = (row for row in rows(figure, "outcome") if row["outcome"] == "error")
    assert row["Value"] == "not measured"
    assert "value" not in row
    assert draw_svg(figure.spec)


def test_scores_without_an_interval_or_a_change_are_drawn():
    line = Line("adapter", (point(0, low=None, high=None, interval="not measured"),))
    figure = draw_trend(trend(lines=(line,), changes=()), number=1)
    assert rows(figure, "Interval")[0]["Interval"] == "not measured"
    assert "v1" in words(figure)


def test_sizes_begin_at_nothing():
    line = Line("q8_0", (Point(0, 148.0, "148 MB"), Point(2, 150.0, "150 MB", is_joined=False)))
    figure = draw_sizes(Sizes("MB", RUNS, (line,)), number=1)
    assert "0" in words(figure)
    assert figure.summary == "Size on disk by run: q8_0 from 148 MB to 150 MB."


@pytest.mark.parametrize("runs", [1, 24])
def test_a_trend_is_drawn_of_few_and_of_many_runs_in_little_room(runs):
    lines = tuple(Line(name, tuple(map(point, range(runs)))) for name in ("adapter", "q8_0", "q4"))
    changes = tuple(
        Changes(f"{name} against merged", "points", tuple(map(judged, range(runs))))
        for name in ("q8_0", "q4")
    )
    named = tuple(f"v{run}" for run in range(runs))
    figure = draw_trend(trend(runs=named, lines=lines, changes=changes), number=1)
    assert len(draw_svg(figure.spec)) < 120_000


def test_a_page_colours_all_of_a_trend():
    drawn = draw_for_page(draw_trend(trend(breaks={1: "other documents"}), number=1).spec)
    left = set(re.findall(r"#[0-9a-fA-F]{6}", drawn))
    assert left == set()
    assert f"var(--{next(iter(PALETTE))})" in drawn
