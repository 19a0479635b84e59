"""Where strips put intervals, bounds, arrows and labels."""

import pytest

from gate.figures.sheet import Sheet
from gate.figures.strips import Axis, Limits, Panel, Strip, draw_panels, span
from gate.figures.theme import PALETTE
from gate.result_records import Estimate
from gate.terms import Check, Use

CHECK = Check(of="quantized", against="merged", compare=Use(name="delta"), at_least=-0.02)
LIMITS = Limits(-0.02, None)


def estimate(low: float, value: float, high: float, unit: str = "share difference") -> Estimate:
    return Estimate(value=value, low=low, high=high, n=300, unit=unit, method="Tango")


def strip(found: Estimate | None, *, state="pass", limits=LIMITS) -> Strip:
    return Strip("q8_0", "task", "q8_0 task", found, limits, state, "all", "one", state, {})


def drawn(*strips: Strip, axis: Axis, bounds=LIMITS) -> Sheet:
    return draw_panels([Panel("title", "short", "points", axis, bounds, strips)])


def intervals(sheet: Sheet) -> list[tuple[float, float]]:
    return [(rule.x, rule.x2) for rule in sheet.rules if rule.x != rule.x2]


@pytest.mark.parametrize("low", [-0.03, -0.021, -0.019, 0.0])
def test_an_intervals_side_of_the_bound_in_the_figure_is_its_side_in_the_record(low):
    found = estimate(low, 0.001, 0.004)
    axis = span(CHECK, [found], found.unit)
    (interval,) = intervals(drawn(strip(found), axis=axis))
    assert (interval[0] >= axis.x(-0.02)) == (low >= -0.02)


def test_an_estimate_far_beyond_the_bounds_is_an_arrow_and_does_not_squash_the_others():
    near, far = estimate(-0.01, 0.0, 0.01), estimate(-0.9, -0.85, -0.8)
    axis = span(CHECK, [near, far], near.unit)
    sheet = drawn(strip(near), strip(far, state="fail"), axis=axis)
    assert [mark.shape for mark in sheet.marks] == ["", "triangle-left"]
    low, high = intervals(sheet)[0]
    assert high - low > 5


def test_an_interval_that_goes_on_beyond_the_axis_ends_in_an_arrow_and_not_in_a_line():
    found = estimate(-0.9, -0.01, 0.0)
    sheet = drawn(strip(found), axis=Axis(found.unit, -0.1, 0.1))
    ends = [rule for rule in sheet.rules if rule.colour == PALETTE["pass"] and rule.x == rule.x2]
    assert [rule.x for rule in ends] == [50.0]
    assert [mark.shape for mark in sheet.marks] == ["triangle-left", ""]


def test_what_was_not_measured_is_a_word_and_no_mark():
    sheet = drawn(strip(None, state="error"), axis=Axis("", -1.0, 1.0))
    assert not sheet.marks
    assert not intervals(sheet)
    assert "not measured" in [words.text for words in sheet.words]


def test_the_region_within_the_bounds_is_shaded():
    axis = Axis("share difference", -0.1, 0.1)
    limits = Limits(-0.02, 0.04)
    sheet = drawn(strip(estimate(0.0, 0.01, 0.02), limits=limits), axis=axis)
    assert [(area.x, area.x2) for area in sheet.areas] == [(40.0, 70.0)]


def test_without_a_bound_nothing_is_shaded():
    axis = Axis("share difference", -0.1, 0.1)
    free = Limits(None, None)
    found = strip(estimate(0.0, 0.01, 0.02), limits=free)
    assert not drawn(found, axis=axis, bounds=free).areas


@pytest.mark.parametrize(
    ("unit", "low", "high", "x"),
    [("share difference", -1.0, 1.0, 50.0), ("times the size on disk", 0.5, 1.5, 50.0)],
)
def test_the_dotted_line_is_where_nothing_differs(unit, low, high, x):
    sheet = drawn(strip(None), axis=Axis(unit, low, high))
    assert [rule.x for rule in sheet.rules if rule.dash] == [x]


@pytest.mark.parametrize(
    ("low", "high", "sides"), [(-0.08, 0.08, ["right", "left"]), (-0.021, 0.021, ["left", "right"])]
)
def test_labels_of_bounds_that_are_close_are_turned_away_from_each_other(low, high, sides):
    bounds = Limits(-0.02, 0.02)
    sheet = drawn(strip(None), axis=Axis("share difference", low, high), bounds=bounds)
    labels = [words for words in sheet.words if words.text.startswith("at ")]
    assert [words.align for words in labels] == sides


def test_a_whole_axis_has_every_interval_however_far():
    found = estimate(-0.9, -0.85, -0.8)
    axis = span(CHECK, [found], found.unit, is_whole=True)
    assert axis.has(-0.9)
    assert not span(CHECK, [found], found.unit).has(-0.9)


def test_strips_with_other_limits_stand_on_other_ground():
    axis = Axis("share difference", -0.1, 0.1)
    limits = (Limits(-0.02, None), Limits(-0.02, None), Limits(-0.05, None))
    sheet = drawn(*(strip(None, limits=one) for one in limits), axis=axis)
    first, second = sheet.areas
    assert first.y2.wide - first.y.wide == 2 * (second.y2.wide - second.y.wide)
