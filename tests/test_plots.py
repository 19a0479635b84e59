"""Where the figure of quality against cost puts its marks and labels."""

import pytest
from records_builder import build_record
from serving_builder import build_run, build_serving, build_servings

from gate.reporting import plots
from gate.reporting.plots import BOTTOM, LEFT, RIGHT, TOP, draw_plots


@pytest.fixture(scope="module")
def record():
    return build_record().model_copy(update={"serving": build_servings()})


def by_name(plot):
    return {dot.point.variant: dot for dot in plot.dots}


def boxes(plot):
    for dot in plot.dots:
        width = len(dot.label) * plots._LETTER
        place = plots._Place(dot.label_x, dot.label_y, dot.text_anchor, dot.is_led)
        yield dot.point.variant, plots._label_box(place, width)


def test_marks_stand_where_their_figures_are(record):
    sizes, speeds = draw_plots(record)
    small, large = (by_name(sizes)[name].x for name in ("q4_k_m", "adapter"))
    assert LEFT < small < large < RIGHT
    assert by_name(speeds)["q4_k_m"].x > by_name(speeds)["q8_0"].x > by_name(speeds)["adapter"].x
    assert by_name(sizes)["adapter"].y == pytest.approx(sizes.whole_y, abs=0.1)
    assert by_name(sizes)["q4_k_m"].y > by_name(sizes)["q8_0"].y > sizes.whole_y


def test_everything_stands_inside_the_frame(record):
    for plot in draw_plots(record):
        assert all(LEFT <= dot.x <= RIGHT and TOP <= dot.y <= BOTTOM for dot in plot.dots)
        assert all(LEFT <= tick.at <= RIGHT for tick in plot.x_ticks)
        assert all(TOP <= tick.at <= BOTTOM for tick in plot.y_ticks)
        assert all(box.outside() == 0 for _, box in boxes(plot))


def test_no_label_covers_a_mark_or_another_label(record):
    for plot in draw_plots(record):
        placed = list(boxes(plot))
        for name, box in placed:
            assert not any(box.overlap(other) for who, other in placed if who != name)
            assert not any(
                box.overlap(plots._Box(dot.x - 6, dot.y - 6, dot.x + 6, dot.y + 6))
                for dot in plot.dots
            )


def test_a_label_that_had_to_move_away_is_led_to(record):
    sizes, _ = draw_plots(record)
    assert any(dot.is_led for dot in sizes.dots)
    assert not by_name(sizes)["q4_k_m"].is_led


def test_the_line_runs_along_the_front_in_steps(record):
    _, speeds = draw_plots(record)
    corners = [tuple(map(float, corner.split(","))) for corner in speeds.front.split()]
    fast, whole = (by_name(speeds)[name] for name in ("q8_0", "merged-llamacpp"))
    assert corners == [(fast.x, fast.y), (whole.x, fast.y), (whole.x, whole.y)]
    assert [dot.point.variant for dot in speeds.dots if dot.is_efficient] == [
        "merged-llamacpp",
        "q8_0",
    ]


def test_what_keeps_far_less_is_at_the_bottom_with_its_share(record):
    scores = tuple(
        s.model_copy(
            update={"samples": tuple(x.model_copy(update={"value": 0.1}) for x in s.samples)}
        )
        if s.variant == "q4_k_m"
        else s
        for s in record.scores
    )
    sizes, _ = draw_plots(record.model_copy(update={"scores": scores}))
    lost = by_name(sizes)["q4_k_m"]
    assert (lost.is_beyond, lost.y, lost.label) == (True, BOTTOM, "q4_k_m 11 %")
    assert by_name(sizes)["q8_0"].y < BOTTOM


def test_a_single_variant_can_be_drawn(record):
    alone = build_serving("adapter", build_run(), size_bytes=5)
    sizes, speeds = draw_plots(record.model_copy(update={"serving": (alone,)}))
    assert len(sizes.dots) == len(speeds.dots) == 1


def test_nothing_measured_is_nothing_drawn():
    assert draw_plots(build_record()) == ()
