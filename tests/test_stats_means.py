"""Means of paired differences against published values, scipy and their own properties."""

import math

import numpy as np
import pytest

from gate.stats import means, proportions


def approx(expected, digits=6):
    return pytest.approx(expected, abs=0.5 * 10**-digits * 1.02)


def test_the_t_interval_has_the_published_ends_for_the_sleep_data():
    # R, datasets::sleep, paired: mean 1.58, t = -4.0621, 95 % (0.7001, 2.4599).
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    interval = means.paired_t_interval(second - first, confidence=0.975)
    assert interval == approx((0.70011, 2.45989), 5)
    assert 1.58 / (interval.high - 1.58) * 2.262157 == approx(4.0621, 4)


@pytest.mark.parametrize("n", [15, 200, 1500])
def test_the_bca_interval_agrees_with_scipys(n):
    from scipy.stats import bootstrap

    sample = np.random.default_rng(3).lognormal(size=n)
    theirs = bootstrap(
        (sample,), np.mean, method="BCa", confidence_level=0.90, n_resamples=9_999, rng=1
    ).confidence_interval
    error = sample.std() / math.sqrt(n)
    ours = means.bca_interval(sample, confidence=0.95)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.12 * error)


def test_the_bca_interval_is_the_same_each_time_and_reaches_into_the_long_tail():
    sample = np.random.default_rng(3).lognormal(size=50)
    bca = means.bca_interval(sample, confidence=0.95)
    assert bca == means.bca_interval(sample, confidence=0.95)
    assert bca.high - sample.mean() > 1.1 * (sample.mean() - bca.low)


@pytest.mark.parametrize("value", [0.0, 0.25, 1 / 3])
def test_equal_differences_give_the_bca_interval_of_student_without_width(value):
    interval = means.bca_interval(np.full(30, value), confidence=0.95)
    assert interval == pytest.approx((value, value), abs=1e-12)


def test_equal_differences_are_seen_through_rounding():
    differences = np.full(10, 0.3) - np.array([0.1 * k for k in range(10)])
    differences += np.array([0.1 * k for k in range(10)])
    assert len(set(differences)) > 1
    assert means.is_unvarying(differences, value_range=1.0)
    assert not means.is_unvarying(np.array([0.0, 0.0, 1e-6]), value_range=1.0)


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02])
def test_unchanged_documents_of_a_metric_in_0_1_prove_a_margin_from_the_floor_on(margin):
    floor = proportions.floor_documents(margin, confidence=0.95)
    lows = [
        means.unvarying_interval(0.0, n, value_range=1.0, confidence=0.95).low
        for n in (floor - 1, floor)
    ]
    assert lows[0] < -margin <= lows[1]


def test_an_unvarying_difference_has_an_interval_around_it():
    interval = means.unvarying_interval(0.5, 10, value_range=2.0, confidence=0.95)
    assert interval == approx((0.5 - 2 * 0.2588656, 0.5 + 2 * 0.2588656))


def test_the_t_interval_gives_the_p_values_of_rs_paired_tests_of_the_sleep_data():
    # t.test: p = .0028329; ttost_paired(-2.5, 2.5): p = .0211169, of the upper bound.
    differences = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    equal = means.paired_t_interval(differences, confidence=1 - 0.0028329 / 2)
    assert equal.low == pytest.approx(0.0, abs=1e-5)
    equivalent = means.paired_t_interval(differences, confidence=1 - 0.0211169)
    assert equivalent.high == pytest.approx(2.5, abs=1e-6)


DIFFERENCES = {
    "normal": lambda random, n: random.normal(size=n),
    "exponential": lambda random, n: random.exponential(size=n),
    "log-normal": lambda random, n: random.lognormal(size=n),
    "long-tailed": lambda random, n: random.standard_t(3, size=n),
    "few losses": lambda random, n: -random.exponential(size=n) * (random.random(n) < 0.02),
}


@pytest.mark.parametrize("kind", DIFFERENCES)
@pytest.mark.parametrize("n", [1000, 5000])
def test_many_documents_give_scipys_bca_interval_without_resampling(kind, n):
    from scipy.stats import bootstrap

    random = np.random.default_rng(7)
    differences = DIFFERENCES[kind](random, n)
    theirs = bootstrap(
        (differences,), np.mean, method="BCa", confidence_level=0.90, n_resamples=9_999,
        batch=500, rng=random,
    ).confidence_interval  # fmt: skip
    error = differences.std() / math.sqrt(n)
    ours = means.bca_interval(differences, confidence=0.95)
    assert ours == means.abc_interval(differences, confidence=0.95)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.08 * error)


def test_the_bootstrap_moves_by_little_where_it_stops_resampling():
    random = np.random.default_rng(2)
    differences = random.lognormal(size=999)
    resampled = means.bca_interval(differences, confidence=0.95)
    closed = means.abc_interval(differences, confidence=0.95)
    assert resampled == pytest.approx(closed, abs=0.1 * differences.std() / math.sqrt(999))


@pytest.mark.parametrize("n", [60, 2000])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_stricter_bca_interval_is_wider_and_stays_among_the_differences(n, sign):
    differences = np.zeros(n)
    differences[:2] = sign
    confidences = [0.6, 0.9, 0.99, 1 - 1e-6, 1 - 1e-12]
    lows, highs = zip(
        *(means.bca_interval(differences, confidence=one) for one in confidences), strict=True
    )
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert differences.min() <= lows[-1] < highs[-1] <= differences.max()


def test_equal_differences_of_many_documents_have_no_width():
    assert means.bca_interval(np.full(2000, 0.25), confidence=0.95) == (0.25, 0.25)


@pytest.mark.parametrize("n", [50, 2000])
def test_the_bca_interval_turns_round_with_the_arms(n):
    differences = np.random.default_rng(3).lognormal(size=n)
    low, high = means.bca_interval(differences, confidence=0.95)
    error = differences.std() / math.sqrt(n)
    swapped = means.bca_interval(-differences, confidence=0.95)
    assert swapped == pytest.approx((-high, -low), abs=0.01 * error)


def test_the_bootstrap_remembers_differences_by_their_content():
    random = np.random.default_rng(3)
    one, other = random.lognormal(size=(2, 50))
    first = means.bca_interval(one, confidence=0.95)
    second = means.bca_interval(other, confidence=0.95)
    assert first != second
    assert means.bca_interval(one.copy(), confidence=0.95) == first
    assert means.bca_interval(one[::2], confidence=0.95) == means.bca_interval(
        one[::2].copy(), confidence=0.95
    )
