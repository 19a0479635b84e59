"""Where names stand: beside their marks, on nothing."""

from itertools import combinations, pairwise

import pytest

from gate.reporting.labels import Place, Spot, mark_box, name_box, place_names, spread

WIDTHS = (640, 340)
CROWDED = (
    Spot(0.86, 40, "adapter"),
    Spot(0.84, 52, "merged"),
    Spot(0.85, 54, "merged@vllm"),
    Spot(0.85, 53, "merged-llamacpp"),
    Spot(0.45, 44, "q8_0"),
    Spot(0.33, 80, "q4_k_m"),
    Spot(0.02, 120, "at-the-edge"),
)


def test_no_name_covers_a_mark_or_another_name_at_any_width():
    places = place_names(CROWDED, widths=WIDTHS, height=280)
    for width in WIDTHS:
        boxes = [
            name_box(spot, place, width=width) for spot, place in zip(CROWDED, places, strict=True)
        ]
        assert not any(one.overlap(other) for one, other in combinations(boxes, 2))
        marks = [mark_box(spot, width=width) for spot in CROWDED]
        assert not any(box.overlap(mark) for box in boxes for mark in marks)
        assert all(box.left >= 0 and box.right <= width for box in boxes)


def test_a_name_that_had_to_move_away_is_led_to_and_one_alone_is_not():
    places = place_names(CROWDED, widths=WIDTHS, height=280)
    assert any(place.is_led for place in places)
    (alone,) = place_names(CROWDED[4:5], widths=WIDTHS, height=280)
    assert alone == Place(10.0, 4, "left", is_led=False)


def test_a_name_keeps_off_a_line():
    spot = Spot(0.2, 100, "q8_0")
    line = [(0.2, 100.0), (0.9, 100.0)]
    (place,) = place_names([spot], [line], widths=WIDTHS, height=280)
    for width in WIDTHS:
        box = name_box(spot, place, width=width)
        assert box.right < 0.2 * width or not box.top <= 100 <= box.bottom


def test_heights_are_spread_and_keep_their_order():
    found = spread([50.0, 52.0, 10.0, 51.0], apart=16, top=0, bottom=200)
    order = sorted(range(4), key=lambda at: found[at])
    assert order == [2, 0, 3, 1]
    assert all(below - above >= 16 for above, below in pairwise(sorted(found)))


def test_heights_stay_between_top_and_bottom_where_they_fit():
    found = spread([198.0, 199.0, 200.0], apart=16, top=0, bottom=200)
    assert max(found) == 200
    assert min(found) == pytest.approx(168)


def test_nothing_to_spread_is_nothing():
    assert spread([], apart=16, top=0, bottom=200) == []
