"""What a check can show before it is run, held to published sample sizes."""

import pytest

from gate.planning.expectations import expect
from gate.planning.spreads import Spread
from gate.terms import Check, Use


def delta(**bounds):
    return Check(of="q4", against="merged", compare=Use(name="delta"), **bounds)


def flips(at_most):
    return Check(of="q4", against="merged", compare=Use(name="flips"), at_most=at_most)


def share(rate, **fields):
    return Spread(rate, is_share=True, source="seen", **fields)


def expected(check, documents=1000, spread=None, *, is_sequential=False):
    return expect(check, documents, spread or share(0.04), is_sequential=is_sequential)


@pytest.mark.parametrize(("margin", "fewest"), [(0.005, 598), (0.01, 299), (0.02, 149)])
def test_the_fewest_documents_are_those_that_pass_when_nothing_flips(margin, fewest):
    assert expected(delta(at_least=-margin)).fewest == fewest
    assert not expected(delta(at_least=-margin), fewest - 1).can_pass
    assert expected(delta(at_least=-margin), fewest).can_pass


def test_of_two_bounds_the_smaller_margin_decides_the_fewest():
    assert expected(delta(at_least=-0.05, at_most=0.02)).fewest == 149


@pytest.mark.parametrize(
    ("rate", "margin", "needed"),
    [(0.01, 0.005, 3426), (0.01, 0.01, 857), (0.04, 0.02, 857), (0.08, 0.01, 6852)],
)
def test_documents_for_90_percent_power_are_those_of_the_table(rate, margin, needed):
    found = expected(delta(at_least=-margin), spread=share(rate))
    assert found.needed == pytest.approx(needed, abs=1)


def test_a_margin_both_ways_takes_more_documents_than_one_way():
    one = expected(delta(at_least=-0.02))
    both = expected(delta(at_least=-0.02, at_most=0.02))
    assert both.needed > one.needed


@pytest.mark.parametrize(
    ("rate", "points"), [(0.02, 1.25), (0.04, 1.77), (0.08, 2.50), (0.30, 4.85)]
)
def test_the_change_found_is_of_the_size_of_the_published_one(rate, points):
    """Published for a two-sided test and a power of 0.8: 2.80 of its units for our 2.93."""
    found = expected(delta(at_least=-0.02), spread=share(rate))
    assert 100 * found.detectable == pytest.approx(points * 2.926 / 2.802, rel=0.02)


def test_a_change_is_not_found_by_fewer_flips_than_it_is_made_of():
    few = expected(delta(at_least=-0.03), 300, share(1 / 300))
    assert few.detectable == pytest.approx(0.0282, abs=0.0005)
    assert few.detectable > few.spread.variance


@pytest.mark.parametrize(("margin", "fewest"), [(0.01, 453), (0.02, 225)])
def test_a_sequential_share_passes_where_its_evidence_reaches_20(margin, fewest):
    from gate.stats.sequential import e_value

    found = expected(delta(at_least=-margin), is_sequential=True)
    assert found.fewest == fewest
    assert e_value(0, 0, n=fewest, margin=margin, is_loss=False) >= 20
    assert e_value(0, 0, n=fewest - 1, margin=margin, is_loss=False) < 20


def test_a_margin_of_everything_is_kept_by_one_document():
    assert expected(delta(at_least=-1.0), is_sequential=True).fewest == 1


@pytest.mark.parametrize(
    ("rate", "margin", "stopped"),
    [(0.01, 0.01, 1740), (0.04, 0.01, 6762), (0.01, 0.02, 580), (0.04, 0.02, 1642)],
)
def test_a_sequential_pass_takes_about_what_nine_in_ten_simulated_runs_took(rate, margin, stopped):
    found = expected(delta(at_least=-margin), spread=share(rate), is_sequential=True)
    assert stopped <= found.needed <= 1.25 * stopped


def test_a_sequential_check_finds_less_than_a_fixed_number_of_documents():
    fixed = expected(delta(at_least=-0.02))
    looked = expected(delta(at_least=-0.02), is_sequential=True)
    assert fixed.detectable < looked.detectable < 2 * fixed.detectable


def test_a_gain_asked_for_has_no_fewest_and_rests_on_the_gain_seen():
    asked = delta(at_least=0.2)
    found = expected(asked, spread=share(0.5, difference=0.4))
    assert found.fewest is None
    assert found.can_pass
    assert found.needed == 73  # 2.926^2 (0.5 - 0.16) / 0.2^2
    assert expected(asked, spread=share(0.5)).needed is None


def test_a_bound_on_flips_takes_documents_for_the_upper_end_of_none():
    found = expected(flips(0.08), spread=share(0.01))
    assert found.fewest == 36  # 0.92^36 = 0.0497
    assert found.needed == 36
    assert expected(flips(0.08), spread=share(0.05)).needed == 452
    assert expected(flips(0.08), spread=share(0.09)).needed is None
    assert found.detectable is None


def test_a_continuous_metric_has_no_fewest_and_rests_on_the_variance_seen():
    seen = Spread(0.25, is_share=False, source="seen")
    found = expected(delta(at_least=-0.05), 400, seen)
    assert found.fewest is None
    assert found.detectable == pytest.approx(2.9264 * 0.5 / 20, abs=1e-4)
    assert found.needed == 857  # 2.9264^2 0.25 / 0.05^2


def test_nothing_is_told_of_a_continuous_metric_that_no_run_has_seen():
    found = expect(delta(at_least=-0.05), 400, None, is_sequential=False)
    assert (found.fewest, found.detectable, found.needed) == (None, None, None)
    assert found.can_pass


def test_unknown_documents_leave_open_what_they_find():
    found = expect(delta(at_least=-0.02), None, share(0.04), is_sequential=False)
    assert (found.fewest, found.detectable, found.needed) == (149, None, 857)
    assert found.can_pass


def test_a_comparison_without_such_arithmetic_has_no_expectation():
    check = Check(of="q4", against="merged", compare=Use(name="speed"), at_least=1.5)
    assert expect(check, 100, None, is_sequential=False) is None
