"""Sample sizes against published tables, and what a proof would still stand."""

import math
from statistics import NormalDist

import pytest

from gate.stats import sample_size


def approx(expected, digits=6):
    return pytest.approx(expected, abs=0.5 * 10**-digits * 1.02)


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


@pytest.mark.parametrize(("confidence", "documents"), [(0.975, 22), (0.95, 17)])
def test_the_minimum_detectable_effect_agrees_with_the_r_package_mess(confidence, documents):
    # MESS::power_mcnemar_test(paid = 0.05, psi = 9, power = 0.8): 45 % against 5 %.
    effect = sample_size.minimum_detectable_effect(documents, flip_rate=0.5, confidence=confidence)
    assert effect == pytest.approx(0.45 - 0.05, abs=0.001)


@pytest.mark.parametrize(
    ("cluster_size", "correlation", "effect"),
    [(1, 0.7, 1.0), (10, 0.0, 1.0), (10, 1.0, 10.0), (5, 0.25, 2.0)],
)
def test_the_design_effect_goes_from_documents_to_clusters(cluster_size, correlation, effect):
    found = sample_size.design_effect_of(
        cluster_size=cluster_size, intraclass_correlation=correlation
    )
    assert found == pytest.approx(effect)
