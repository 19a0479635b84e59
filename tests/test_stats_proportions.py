"""Shares and their differences against published values and exact enumeration."""

import math
from statistics import NormalDist

import pytest

from gate.stats import proportions

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


def test_mcnemars_mid_p_and_what_was_seen_are_the_exact_p_of_bentur_2009():
    assert proportions.mid_p_mcnemar(1, 7) + 8 / 2**8 == pytest.approx(0.0703125, abs=1e-12)


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


def test_tangos_z_gives_the_published_p_value_of_a_fail():
    statistic = proportions.tango_z(10, 60, n=1000, difference=-0.02)
    assert NormalDist().cdf(statistic) == pytest.approx(5.55188e-5, rel=1e-5)


@pytest.mark.parametrize(
    ("margin", "confidence", "fewest"),
    [
        (0.005, 0.95, 539),
        (0.01, 0.95, 268),
        (0.02, 0.95, 133),
        (0.01, 0.975, 381),
        (0.02, 0.975, 189),
    ],
)
def test_tangos_interval_alone_passes_no_flips_from_the_published_number_on(
    margin, confidence, fewest
):
    passes = [
        proportions.tango_interval(0, 0, n=n, confidence=confidence).low > -margin
        for n in (fewest - 1, fewest)
    ]
    assert passes == [False, True]
