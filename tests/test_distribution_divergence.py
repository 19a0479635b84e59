"""Divergences of arrays: published values, the bound below the full KL, what float32 leaves."""

import numpy as np
import pytest

from gate.distributions.divergence import (
    KL_PERCENTILES,
    at_tokens,
    full_divergence,
    lower_bound,
    match_tokens,
    percentiles,
    rest_of,
    top_of,
)

WIKIPEDIA = np.log([[0.36, 0.48, 0.16]])
UNIFORM = np.log(np.full((1, 3), 1 / 3))


def distributions(places=40, vocabulary=300, *, seed, spread=3.0):
    logits = np.random.default_rng(seed).normal(0, spread, (places, vocabulary))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def bound_at(top, reference, candidate):
    tops = top_of(reference, top)
    return lower_bound(tops, *at_tokens(candidate, tops.ids))


def test_the_divergence_is_that_of_the_textbook():
    assert full_divergence(WIKIPEDIA, UNIFORM)[0] == pytest.approx(0.0852996, abs=5e-8)
    assert full_divergence(UNIFORM, WIKIPEDIA)[0] == pytest.approx(0.0974550, abs=5e-8)


def test_a_distribution_does_not_differ_from_itself():
    one = distributions(seed=0)
    assert not full_divergence(one, one).any()
    assert not bound_at(16, one, one).any()


@pytest.mark.parametrize("top", [1, 2, 8, 128, 299])
def test_the_bound_is_at_every_place_below_the_full_divergence(top):
    one, other = distributions(seed=0), distributions(seed=1)
    full = full_divergence(one, other)
    bound = bound_at(top, one, other)
    assert (bound <= full + 1e-9).all()
    assert (bound >= 0).all()
    assert bound.mean() <= full.mean()


def test_more_tokens_bound_more_closely_up_to_the_full_divergence():
    one, other = distributions(seed=0), distributions(seed=1)
    means = [bound_at(top, one, other).mean() for top in (2, 8, 32, 128, 300, 1000)]
    assert means == sorted(means)
    full = full_divergence(one, other)
    assert bound_at(300, one, other) == pytest.approx(full, rel=1e-12)
    assert bound_at(1000, one, other) == pytest.approx(full, rel=1e-12)


def test_the_rest_is_what_the_other_tokens_hold_however_little():
    logits = np.array([[0.0, -30.0, -31.0, -40.0]])
    rest = top_of(logits, 1).rest[0]
    assert rest == pytest.approx(np.log(np.exp(-30) + np.exp(-31) + np.exp(-40)), rel=1e-6)


def test_the_top_is_ordered_with_the_most_probable_first():
    one = distributions(seed=3)
    tops = top_of(one, 5)
    assert (tops.ids == np.argsort(-one, axis=1)[:, :5]).all()
    assert (np.diff(tops.logprobs, axis=1) <= 0).all()


@pytest.mark.parametrize("known", [1, 5, 40, 299])
def test_two_tops_bound_the_divergence_by_the_tokens_that_both_know(known):
    one, other = distributions(seed=0), distributions(seed=1)
    tops = top_of(one, 32)
    bound = lower_bound(tops, *match_tokens(top_of(other, known), tops.ids))
    best = lower_bound(tops, *at_tokens(other, tops.ids))
    assert (bound <= best + 1e-5).all()
    assert (bound >= -1e-6).all()


def test_two_whole_tops_are_the_full_divergence():
    one, other = distributions(seed=0), distributions(seed=1)
    tops = top_of(one, 300)
    bound = lower_bound(tops, *match_tokens(top_of(other, 300), tops.ids))
    assert bound == pytest.approx(full_divergence(one, other), abs=1e-5)


def test_what_a_top_leaves_is_never_nothing():
    assert np.exp(rest_of(np.log([[0.75, 0.25]])))[0] == pytest.approx(1e-7)


def test_a_token_that_only_the_reference_holds_possible_is_infinitely_far():
    impossible = np.array([[np.log(0.5), np.log(0.5), -np.inf]])
    possible = np.log(np.full((1, 3), 1 / 3))
    assert np.isinf(full_divergence(possible, impossible)[0])
    assert full_divergence(impossible, possible)[0] == pytest.approx(np.log(1.5))


def test_float32_keeps_the_divergence_of_close_models_and_float16_does_not():
    one = distributions(400, 5000, seed=0)
    noise = np.random.default_rng(1).normal(0, 0.01, one.shape)
    other = one + noise - np.logaddexp.reduce(one + noise, axis=1, keepdims=True)
    tops = top_of(one, 128)
    exact = lower_bound(tops, *at_tokens(other.astype(np.float32), tops.ids)).mean()

    def stored_as(kind):
        stored = tops._replace(logprobs=tops.logprobs.astype(kind))
        return lower_bound(stored, *at_tokens(other.astype(np.float32), tops.ids)).mean()

    assert stored_as(np.float32) == exact
    assert abs(stored_as(np.float16) / exact - 1) > 0.005


def test_percentiles_lie_between_two_values_in_proportion():
    found = percentiles(np.array([0.0, 1.0, 2.0, 4.0]), KL_PERCENTILES)
    assert list(found) == ["0", "0.1", "1", "5", "10", "50", "90", "95", "99", "99.9", "100"]
    assert (found["0"], found["50"], found["100"]) == (0.0, 1.5, 4.0)
    assert found["90"] == pytest.approx(3.4)
