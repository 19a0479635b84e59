"""How lines are parted into runs."""

from itertools import pairwise

import pytest

from gate.engines.hf_batches import cheapest_parts, padded_costs


def cost_of(parts, widths, run_tokens):
    return sum(
        run_tokens + len(part) * max(widths[part.start : part.stop], default=0) for part in parts
    )


def every_way(count):
    """All ways of cutting so many things into neighbours."""
    for cuts in range(2 ** (count - 1)):
        ends = [place for place in range(1, count) if cuts >> (place - 1) & 1]
        yield [range(start, end) for start, end in pairwise([0, *ends, count])]


@pytest.mark.parametrize("run_tokens", [0, 3, 30])
def test_no_way_of_parting_costs_less(run_tokens):
    widths = [19, 17, 17, 11, 10, 9, 4, 4, 1]
    costs = padded_costs(widths, most_tokens=60, run_tokens=run_tokens)

    found = list(cheapest_parts(len(widths), costs))

    least = min(
        cost_of(parts, widths, run_tokens)
        for parts in every_way(len(widths))
        if all(len(one) * max(widths[one.start : one.stop]) <= 60 for one in parts)
    )
    assert cost_of(found, widths, run_tokens) == least
    assert [place for part in found for place in part] == list(range(len(widths)))


def test_nothing_is_parted_into_nothing():
    assert list(cheapest_parts(0, padded_costs([], most_tokens=8, run_tokens=1))) == []


def test_a_line_that_fits_nowhere_is_alone():
    costs = padded_costs([900, 5, 5], most_tokens=10, run_tokens=99)
    assert list(cheapest_parts(3, costs)) == [range(1), range(1, 3)]


def test_a_run_has_no_more_lines_than_are_allowed():
    costs = padded_costs([2] * 7, most_tokens=99, most_lines=3, run_tokens=50)
    assert max(map(len, cheapest_parts(7, costs))) == 3
