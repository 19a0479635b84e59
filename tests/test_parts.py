"""Figures in parts: what fits on a sheet of paper, and how the rest goes on."""

from gate.figures.figure import Figure
from gate.figures.parts import MOST_HEIGHT, fill, in_parts
from gate.figures.strips import Axis, Limits, Panel, Strip, height_of

STRIP = Strip("a", "b", "a b", None, Limits(None, None), "pass", "", "", "", {})


def panel(title: str, rows: int) -> Panel:
    axis = Axis("share difference", -1.0, 1.0)
    return Panel(title, title, "points", axis, Limits(None, None), (STRIP,) * rows)


def test_panels_stay_in_their_order_and_no_part_is_higher_than_a_page():
    parts = list(fill([panel(str(number), 9) for number in range(7)], head=34))
    assert [one.title for part in parts for one in part] == list("0123456")
    assert len(parts) > 1
    assert all(34 + height_of(part) <= MOST_HEIGHT for part in parts)


def test_a_panel_that_is_too_high_goes_on_in_the_next_part():
    parts = list(fill([panel("long", 60)]))
    assert [one.title for part in parts for one in part] == [
        "long",
        "long, continued",
        "long, continued",
    ]
    assert sum(len(one.strips) for part in parts for one in part) == 60
    assert all(height_of(part) <= MOST_HEIGHT for part in parts)


def test_one_part_is_the_figure_itself():
    figure = Figure("figure-a", "A", "what it shows", "how to read it", "")
    assert in_parts(figure, ["{}"]) == (figure._replace(spec="{}"),)


def test_later_parts_have_ids_and_titles_of_their_own():
    figure = Figure("figure-a", "A", "what it shows", "how to read it", "")
    _, second, third = in_parts(figure, ["1", "2", "3"])
    assert (second.id, second.title) == ("figure-a-2", "A, part 2 of 3")
    assert (third.id, third.title, third.spec) == ("figure-a-3", "A, part 3 of 3", "3")
    assert second.caption == "To be read as the first part."
