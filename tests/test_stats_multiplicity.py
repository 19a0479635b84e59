"""Holm's procedure against a published example, by interval, as the judge asks for it."""

import pytest

from gate.stats.multiplicity import holm_confirmed

# Benjamini and Hochberg (1995), JRSS B 57:289-300, section 3.2: 15 p-values.
P_VALUES = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
    0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip


def is_broken_at(p_value):
    return lambda confidence: p_value <= 1 - confidence


def confirmed(p_values, *, alpha=0.05, hypotheses=15):
    results = holm_confirmed(
        [is_broken_at(p_value) for p_value in p_values],
        alphas=[alpha] * len(p_values),
        hypotheses=hypotheses,
    )
    return [is_confirmed for is_confirmed, _ in results]


def test_holm_confirms_three_of_benjamini_and_hochbergs_fifteen():
    assert confirmed(P_VALUES) == [True] * 3 + [False] * 12


def test_only_the_candidates_have_to_be_given():
    broken = [p_value for p_value in P_VALUES if p_value <= 0.05]
    assert confirmed(broken) == [True] * 3 + [False] * 6


def test_the_order_of_the_candidates_changes_nothing():
    assert confirmed(P_VALUES[::-1]) == [False] * 12 + [True] * 3


@pytest.mark.parametrize(("rank", "adjusted"), [(0, 0.0015), (1, 0.0056), (2, 0.0247), (3, 0.114)])
def test_each_is_confirmed_from_its_adjusted_p_value_on(rank, adjusted):
    assert not confirmed(P_VALUES, alpha=adjusted * (1 - 1e-9))[rank]
    assert confirmed(P_VALUES, alpha=adjusted * (1 + 1e-9))[rank]


def test_each_is_told_the_confidence_it_was_held_to():
    results = holm_confirmed(
        [is_broken_at(0.0001), is_broken_at(0.013), is_broken_at(0.04)],
        alphas=[0.05] * 3,
        hypotheses=4,
    )
    assert [is_confirmed for is_confirmed, _ in results] == [True, True, False]
    assert [confidence for _, confidence in results] == pytest.approx(
        [1 - 0.05 / 4, 1 - 0.05 / 3, 1 - 0.05 / 2]
    )


def test_nothing_is_asked_but_at_alpha_over_a_whole_number():
    asked = []

    def broken(confidence):
        asked.append(0.05 / (1 - confidence))
        return True

    holm_confirmed([broken], alphas=[0.05], hypotheses=7)
    assert asked == pytest.approx([7.0])


def test_a_check_with_a_confidence_of_its_own_is_held_to_its_own_alpha():
    results = holm_confirmed(
        [is_broken_at(0.01), is_broken_at(0.01)], alphas=[0.05, 0.01], hypotheses=3
    )
    assert results == [(True, pytest.approx(1 - 0.05 / 3)), (False, pytest.approx(0.995))]


def test_a_single_hypothesis_needs_no_correction():
    results = holm_confirmed([is_broken_at(0.049)], alphas=[0.05], hypotheses=1)
    assert results == [(True, 0.95)]


def test_nothing_broken_is_nothing_to_confirm():
    assert holm_confirmed([], alphas=[], hypotheses=12) == []


def test_more_candidates_than_hypotheses_are_refused():
    with pytest.raises(ValueError, match="2 candidates, but 1 hypotheses"):
        confirmed([0.01, 0.02], hypotheses=1)
