"""Statistics against published values, exact enumeration and the properties they must have."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from gate.stats import means, proportions, sample_size

TWO_SIDED_95 = 0.975
ONE_SIDED_95 = 0.95
MARGINS_OF_A2 = (1.0, 1.5, 2.0, 4.0, 8.0)


def approx(expected, digits=6):
    return pytest.approx(expected, abs=0.5 * 10**-digits * 1.02)


@pytest.mark.parametrize(
    ("table", "confidence", "expected", "digits"),
    [
        pytest.param((1, 7, 21), TWO_SIDED_95, (-0.517232, -0.026003), 6, id="Bentur 2009"),
        pytest.param((0, 1, 44), ONE_SIDED_95, (-0.09566, 0.03652), 5, id="Tango 1998, 90 %"),
        pytest.param((0, 1, 44), TWO_SIDED_95, (-0.11808, 0.05939), 5, id="Tango 1998, 95 %"),
        pytest.param((20, 20, 1000), ONE_SIDED_95, (-0.010720, 0.010720), 6, id="balanced"),
        pytest.param((15, 30, 1000), ONE_SIDED_95, (-0.026650, -0.004087), 6, id="some loss"),
        pytest.param((10, 60, 1000), ONE_SIDED_95, (-0.064429, -0.037120), 6, id="much loss"),
        pytest.param((3, 7, 200), ONE_SIDED_95, (-0.050396, 0.006830), 6, id="few documents"),
        pytest.param((0, 0, 100), ONE_SIDED_95, (-0.026343, 0.026343), 6, id="no flips"),
    ],
)
def test_tangos_interval_has_the_published_ends(table, confidence, expected, digits):
    gains, losses, n = table
    interval = proportions.tango_interval(gains, losses, n=n, confidence=confidence)
    assert interval == approx(expected, digits)


@pytest.mark.parametrize(
    ("table", "margin", "z", "p_pass"),
    [
        pytest.param((0, 1, 44), 0.10, 1.7086, 0.04377, id="Tango 1998, lens disinfection"),
        pytest.param((20, 20, 1000), 0.02, 2.89886, 0.00187264, id="balanced"),
        pytest.param((15, 30, 1000), 0.02, 0.73211, 0.232051, id="loss"),
        pytest.param((10, 60, 1000), 0.02, -3.86511, 1 - 5.55188e-5, id="much loss"),
        pytest.param((3, 7, 200), 0.02, 0.0, 0.5, id="on the margin"),
        pytest.param((0, 0, 200), 0.02, 2.02031, 0.0216759, id="no flips"),
    ],
)
def test_tangos_z_gives_the_published_p_values(table, margin, z, p_pass):
    gains, losses, n = table
    statistic = proportions.tango_z(gains, losses, n=n, difference=-margin)
    assert statistic == pytest.approx(z, abs=5e-5)
    assert 1 - NormalDist().cdf(statistic) == pytest.approx(p_pass, abs=5e-6)


def test_tangos_z_is_zero_where_the_difference_is_what_was_seen():
    assert proportions.tango_z(3, 7, n=200, difference=-0.02) == 0.0


def test_tangos_interval_has_a_width_at_no_flips():
    z = NormalDist().inv_cdf(0.95)
    interval = proportions.tango_interval(0, 0, n=133, confidence=0.95)
    assert interval.high == pytest.approx(z**2 / (133 + z**2), abs=1e-12)
    assert interval.low == -interval.high


@pytest.mark.parametrize(("gains", "losses", "end"), [(0, 9, "low"), (9, 0, "high")])
def test_tangos_interval_ends_at_one_where_every_document_flipped(gains, losses, end):
    interval = proportions.tango_interval(gains, losses, n=9, confidence=0.95)
    assert getattr(interval, end) == (-1.0 if end == "low" else 1.0)
    assert interval.low < interval.high


@pytest.mark.parametrize(("gains", "losses"), [(0, 0), (3, 7), (0, 5), (60, 10), (50, 50)])
def test_tangos_interval_ends_are_roots_and_turn_round_with_the_arms(gains, losses):
    z = NormalDist().inv_cdf(0.95)
    low, high = proportions.tango_interval(gains, losses, n=200, confidence=0.95)
    assert proportions.tango_z(gains, losses, n=200, difference=low) == pytest.approx(z, abs=1e-9)
    assert proportions.tango_z(gains, losses, n=200, difference=high) == pytest.approx(-z, abs=1e-9)
    swapped = proportions.tango_interval(losses, gains, n=200, confidence=0.95)
    assert swapped == pytest.approx((-high, -low), abs=1e-12)


def test_tangos_interval_narrows_with_more_documents():
    widths = [
        high - low
        for low, high in (
            proportions.tango_interval(3 * k, 5 * k, n=100 * k, confidence=0.95)
            for k in (1, 2, 4, 8)
        )
    ]
    assert widths == sorted(widths, reverse=True)


# "PASS iff the lower bound is above -margin" where the loss is exactly the margin: how often, by
# exact enumeration, for flip rates of 1, 1.5, 2, 4 and 8 times the margin; nominal 0.05.
SIZES = {
    (0.02, 100): (0.000, 0.035, 0.044, 0.048, 0.051),
    (0.02, 133): (0.068, 0.053, 0.053, 0.047, 0.047),
    (0.02, 149): (0.049, 0.040, 0.041, 0.046, 0.048),
    (0.02, 300): (0.060, 0.043, 0.045, 0.047, 0.051),
    (0.02, 500): (0.028, 0.043, 0.046, 0.049, 0.050),
    (0.02, 1000): (0.038, 0.045, 0.048, 0.049, 0.050),
    (0.01, 299): (0.050, 0.040, 0.041, 0.046, 0.048),
    (0.01, 500): (0.040, 0.039, 0.046, 0.051, 0.050),
    (0.01, 1000): (0.029, 0.044, 0.046, 0.049, 0.050),
    (0.01, 2000): (0.038, 0.046, 0.047, 0.049, 0.050),
}


def false_passes(margin, n, flip_rate):
    """The exact probability of a pass at a loss of the margin, over all (gains, losses)."""
    gain_rate, loss_rate = (flip_rate - margin) / 2, (flip_rate + margin) / 2
    z = NormalDist().inv_cdf(0.95)
    total = 0.0
    for gains in likely_counts(n, gain_rate):
        for losses in likely_counts(n, loss_rate):
            if proportions.tango_z(gains, losses, n=n, difference=-margin) <= z:
                break  # one more loss only lowers the statistic
            total += trinomial(gains, losses, n, gain_rate, loss_rate)
    return total


def likely_counts(n, rate):
    spread = 7 * math.sqrt(n * rate) + 7
    return range(max(0, int(n * rate - spread)), min(n, int(n * rate + spread)) + 1)


def trinomial(gains, losses, n, gain_rate, loss_rate):
    if gain_rate <= 1e-12 and gains:
        return 0.0
    rest = n - gains - losses
    log = math.lgamma(n + 1) - math.lgamma(gains + 1) - math.lgamma(losses + 1)
    log += losses * math.log(loss_rate) - math.lgamma(rest + 1)
    log += gains * math.log(gain_rate) if gains else 0.0
    return math.exp(log + rest * math.log1p(-gain_rate - loss_rate))


@pytest.mark.parametrize(("margin", "n"), SIZES)
def test_a_harmful_variant_passes_as_rarely_as_tabulated(margin, n):
    sizes = [false_passes(margin, n, times * margin) for times in MARGINS_OF_A2]
    assert sizes == pytest.approx(SIZES[margin, n], abs=6e-4)


@pytest.mark.parametrize(("gains", "losses", "n"), [(0, 0, 133), (0, 0, 132), (3, 7, 700)])
def test_the_interval_and_the_statistic_decide_alike(gains, losses, n):
    passes = proportions.tango_interval(gains, losses, n=n, confidence=0.95).low > -0.02
    z = proportions.tango_z(gains, losses, n=n, difference=-0.02)
    assert passes == (z > NormalDist().inv_cdf(0.95))


@pytest.mark.parametrize(
    ("gains", "losses", "expected"),
    [(1, 7, 0.0390625), (7, 1, 0.0390625), (0, 0, 1.0), (5, 5, 1.0), (0, 1, 0.5)],
)
def test_mcnemars_mid_p_has_the_published_value(gains, losses, expected):
    assert proportions.mid_p_mcnemar(gains, losses) == pytest.approx(expected, abs=1e-12)


def test_mcnemars_mid_p_is_the_exact_p_less_the_probability_of_what_was_seen():
    # Agresti, Categorical Data Analysis: approval ratings 86 and 150; exact p 3.716e-5.
    seen = math.comb(236, 86) / 2**236
    assert proportions.mid_p_mcnemar(86, 150) + seen == pytest.approx(3.716e-5, abs=5e-9)


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [
        (0, 100, (0.0, 0.036217)),
        (5, 200, (0.008166, 0.057374)),
        (12, 1000, (0.006216, 0.020868)),
        (100, 100, (1 - 0.036217, 1.0)),
    ],
)
def test_clopper_and_pearsons_interval_has_the_published_ends(successes, n, expected):
    assert proportions.clopper_pearson(successes, n, confidence=0.975) == approx(expected)


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


def test_chance_is_tested_by_the_exact_binomial():
    from scipy.stats import binomtest

    expected = binomtest(60, 200, 0.25, alternative="greater").pvalue
    assert proportions.above_chance_p_value(60, 200, chance=0.25) == pytest.approx(expected)
    assert proportions.above_chance_p_value(0, 200, chance=0.25) == 1.0


def test_one_right_answer_is_above_a_chance_of_zero():
    assert proportions.above_chance_p_value(1, 200, chance=0.0) == 0.0
    assert proportions.above_chance_p_value(0, 200, chance=0.0) == 1.0


@pytest.mark.parametrize(("margin", "floor"), [(0.005, 598), (0.01, 299), (0.02, 149), (1.0, 1)])
def test_the_floor_is_the_published_number_of_documents(margin, floor):
    assert proportions.floor_documents(margin, confidence=0.95) == floor


@pytest.mark.parametrize("margin", [0.003, 0.01, 0.05, 0.3])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.975])
def test_the_floor_is_the_smallest_that_holds(margin, confidence):
    floor = proportions.floor_documents(margin, confidence=confidence)
    assert (1 - margin) ** floor <= 1 - confidence < (1 - margin) ** (floor - 1)


# Non-inferiority at a true difference of 0: documents at a power of 0.8 and of 0.9.
SAMPLE_SIZES = {
    0.005: {0.005: (1237, 1713), 0.01: (310, 429), 0.02: (149, 149)},
    0.01: {0.005: (2474, 3426), 0.01: (619, 857), 0.02: (155, 215)},
    0.02: {0.005: (4947, 6852), 0.01: (1237, 1713), 0.02: (310, 429)},
    0.04: {0.005: (9893, 13703), 0.01: (2474, 3426), 0.02: (619, 857)},
    0.08: {0.005: (19785, 27405), 0.01: (4947, 6852), 0.02: (1237, 1713)},
    0.15: {0.005: (37096, 51384), 0.01: (9274, 12846), 0.02: (2319, 3212)},
}


@pytest.mark.parametrize("flip_rate", SAMPLE_SIZES)
@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02])
def test_the_sample_size_for_non_inferiority_is_as_tabulated(flip_rate, margin):
    sizes = [
        sample_size.documents_for_power(
            margin=margin, flip_rate=flip_rate, confidence=0.95, power=power
        )
        for power in (0.8, 0.9)
    ]
    assert tuple(sizes) == SAMPLE_SIZES[flip_rate][margin]


def test_a_true_loss_raises_the_sample_size_until_none_suffices():
    sizes = [
        sample_size.documents_for_power(
            margin=0.02, flip_rate=0.08, difference=difference, confidence=0.95
        )
        for difference in (0.0, -0.005, -0.01, -0.02, -0.03)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3:] == [None, None]


def test_a_gain_asked_for_has_no_floor():
    documents = sample_size.documents_for_power(
        margin=0.0, flip_rate=0.2, difference=0.2, confidence=0.95
    )
    assert documents == math.ceil(2.486475**2 * (0.2 - 0.04) / 0.04)


@pytest.mark.parametrize(
    ("flip_rate", "points"),
    [
        (0.02, (1.77, 1.25, 0.89, 0.56, 0.40)),
        (0.04, (2.50, 1.77, 1.25, 0.79, 0.56)),
        (0.08, (3.54, 2.50, 1.77, 1.12, 0.79)),
        (0.30, (6.85, 4.85, 3.43, 2.17, 1.53)),
    ],
)
def test_the_minimum_detectable_effect_is_as_tabulated(flip_rate, points):
    effects = [
        100 * sample_size.minimum_detectable_effect(n, flip_rate=flip_rate, confidence=0.975)
        for n in (500, 1000, 2000, 5000, 10_000)
    ]
    assert effects == approx(list(points), 2)


@pytest.mark.parametrize(
    ("gain_rate", "loss_rate", "documents"),
    [
        (0.25, 0.10, 119.71),
        (0.4, 0.2, 115.35),
        (0.3, 0.1, 76.09),
        (0.25, 0.15, 311.59),
        (0.08, 0.03, 342.98),
    ],
)
def test_the_minimum_detectable_effect_undoes_connors_sample_size(gain_rate, loss_rate, documents):
    effect = sample_size.minimum_detectable_effect(
        documents, flip_rate=gain_rate + loss_rate, confidence=0.975
    )
    assert effect == pytest.approx(gain_rate - loss_rate, rel=1e-4)


def test_the_documents_needed_are_those_of_millers_example():
    # Miller 2024, arXiv:2411.00640: variance 1/9, an effect of 0.03, 80 % power.
    assert sample_size.documents_needed(0.03, 1 / 9, confidence=0.975) == 969
    assert sample_size.documents_needed(0.0, 1 / 9, confidence=0.975) is None
    assert sample_size.documents_needed(1.0, 0.0, confidence=0.975) == 1


def test_the_implied_variance_undoes_a_normal_interval():
    half_width = NormalDist().inv_cdf(0.95) * math.sqrt(0.09 / 400)
    assert sample_size.implied_variance(half_width, 400, confidence=0.95) == pytest.approx(0.09)
