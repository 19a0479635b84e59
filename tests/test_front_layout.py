"""The layout of quality against cost: axes, front, names."""

import pytest

from gate.reporting.front_layout import HEIGHT, lay_out
from gate.reporting.serving_views import Kept, Point

WIDTHS = (640, 340)


def point(name, share, size_bytes, verdict="promote"):
    return Point(name, Kept(share, "task"), size_bytes, None, verdict)


def layout(*found, better="smaller"):
    return lay_out(found, lambda one: one.size_bytes, better=better, widths=WIDTHS)


def test_the_line_runs_along_the_front_in_steps():
    found = layout(point("whole", 1.0, 300), point("worse", 0.9, 310), point("small", 0.97, 100))
    assert found.stairs == ((100, 0.97), (300, 0.97), (300, 1.0))
    assert [dot.point.variant for dot in found.dots if dot.is_efficient] == ["whole", "small"]


def test_on_an_axis_where_larger_is_better_the_line_begins_at_the_largest():
    found = layout(point("fast", 0.97, 300), point("whole", 1.0, 100), better="larger")
    assert found.stairs == ((300, 0.97), (100, 0.97), (100, 1.0))


def test_everything_stands_inside_the_frame():
    found = layout(point("whole", 1.02, 300), point("small", 0.9, 100), point("none", 0.1, 50))
    for dot in found.dots:
        across, down = found.frame.corner(dot.cost, dot.point.kept.share)
        assert 0 < across < 1
        assert 0 < down <= HEIGHT


def test_what_keeps_far_less_is_at_the_bottom_with_its_share():
    found = layout(point("whole", 1.0, 300), point("lost", 0.11, 100))
    lost = found.dots[1]
    assert (lost.is_beyond, lost.label) == (True, "lost 11 %")
    assert found.frame.corner(lost.cost, 0.11)[1] == pytest.approx(HEIGHT)
    assert not found.dots[0].is_beyond


def test_what_has_no_figure_is_not_laid_out():
    assert [dot.label for dot in layout(point("a", 1.0, 3), point("b", 1.0, None)).dots] == ["a"]
    assert layout(point("b", 1.0, None)) is None
