"""Sequential bounds against published values, Ville's inequality and exact integration."""

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest

from gate.stats import proportions, sequential
from gate.stats.sequential import Looks, anytime_interval, e_value

ENOUGH = 20.0  # 1 / alpha at 0.95


def test_a_single_bet_has_the_published_wealth():
    stake = np.array([0.5 * (1 - 0.05)])
    wealth = sequential.log_wealth(2, 3, n=100, null=-0.05, stakes=stake)
    assert math.exp(wealth[0]) == pytest.approx(3.5138628767937856, rel=1e-12)


@pytest.mark.parametrize(
    ("unchanged", "gains", "losses", "less", "more"),
    [
        (200, 0, 0, 13.60067, 0.243806),
        (300, 0, 0, 68.20615, 0.162416),
        (490, 5, 5, 19.14409, 0.085529),
        (960, 20, 20, 29.06243, 0.038302),
        (470, 2, 28, 0.046969, 104.67697),
    ],
)
def test_the_evidence_has_the_published_value(unchanged, gains, losses, less, more):
    n = unchanged + gains + losses
    values = [e_value(gains, losses, n=n, margin=0.02, is_loss=loss) for loss in (False, True)]
    assert values == [pytest.approx(less, abs=6e-6), pytest.approx(more, abs=6e-6)]


def test_swapped_arms_turn_the_evidence_round():
    lost = e_value(3, 9, n=200, margin=0.02, is_loss=True)
    assert lost == e_value(9, 3, n=200, margin=-0.02, is_loss=False)


def test_the_evidence_is_one_before_the_first_document():
    assert e_value(0, 0, n=0, margin=0.02, is_loss=False) == pytest.approx(1.0)


def test_overwhelming_evidence_is_infinite():
    assert e_value(0, 0, n=10**6, margin=0.02, is_loss=False) == math.inf
    assert sequential.mcnemar_e_value(0, 2000) == math.inf


@pytest.mark.parametrize("margin", [1.0, -1.0, 2.0])
def test_a_margin_that_is_no_share_is_refused(margin):
    with pytest.raises(ValueError, match=rf"a margin of {margin:g}: it is a share of documents"):
        e_value(0, 0, n=10, margin=margin, is_loss=False)


@pytest.mark.parametrize(
    ("gains", "losses", "expected"),
    [
        (1, 7, 3.5556),
        (0, 7, 16.0),
        (0, 8, 28.444),
        (2, 20, 789.44),
        (5, 5, 0.36941),
        (86, 150, 512.97),
        (0, 0, 1.0),
    ],
)
def test_mcnemars_evidence_has_the_published_value(gains, losses, expected):
    assert sequential.mcnemar_e_value(gains, losses) == pytest.approx(expected, rel=2e-5)


COUNTS = [(0, 0, 300), (5, 5, 500), (20, 20, 1000), (2, 28, 500), (60, 10, 400), (0, 40, 41)]
COUNTS += [(0, 0, 1), (9, 0, 9), (0, 9, 9), (1, 0, 5000), (400, 350, 800)]


@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999])
@pytest.mark.parametrize(("gains", "losses", "n"), COUNTS)
def test_the_interval_and_the_evidence_decide_alike_at_every_margin(gains, losses, n, confidence):
    low, high = anytime_interval(gains, losses, n=n, confidence=confidence)
    enough = 1 / (1 - confidence)
    ends = [end + step for end in (low, high) for step in (-1e-6, 1e-6)]
    for difference in [*np.linspace(-0.98, 0.98, 67), 0.0, *ends]:
        if not -1.0 < difference < 1.0:
            continue
        margin = -float(difference)
        less = e_value(gains, losses, n=n, margin=margin, is_loss=False)
        more = e_value(gains, losses, n=n, margin=margin, is_loss=True)
        assert (low > difference) == (less >= enough)
        assert (high < difference) == (more >= enough)


@pytest.mark.parametrize(("gains", "losses", "n"), COUNTS)
def test_the_evidence_falls_as_the_change_asked_for_rises(gains, losses, n):
    values = [
        e_value(gains, losses, n=n, margin=float(-difference), is_loss=False)
        for difference in np.linspace(-0.999, 0.999, 200)
    ]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(values))


@pytest.mark.parametrize(("gains", "losses", "n"), COUNTS)
def test_the_interval_holds_the_change_and_turns_round_with_the_arms(gains, losses, n):
    low, high = anytime_interval(gains, losses, n=n, confidence=0.95)
    assert -1.0 <= low <= (gains - losses) / n <= high <= 1.0
    assert low < high
    assert anytime_interval(losses, gains, n=n, confidence=0.95) == (-high, -low)


def test_no_documents_leave_everything_open():
    assert anytime_interval(0, 0, n=0, confidence=0.95) == (-1.0, 1.0)


def test_where_every_document_changed_the_interval_ends_at_one():
    assert anytime_interval(0, 9, n=9, confidence=0.95).low == -1.0
    assert anytime_interval(9, 0, n=9, confidence=0.95).high == 1.0


def test_the_interval_is_wider_than_that_of_one_look_and_narrows_with_more_documents():
    widths = []
    for times in (1, 4, 16):
        anytime = anytime_interval(3 * times, 5 * times, n=100 * times, confidence=0.95)
        once = proportions.tango_interval(3 * times, 5 * times, n=100 * times, confidence=0.95)
        assert anytime.low < once.low < once.high < anytime.high
        widths.append(anytime.high - anytime.low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("is_loss", [False, True])
def test_looking_at_every_step_errs_as_rarely_as_promised(is_loss):
    # A loss of exactly the margin: neither claim is true, however often one looks.
    random, margin, trials = np.random.default_rng(8), 0.02, 500
    wrong = 0
    for _ in range(trials):
        steps = random.multinomial(50, [0.03, 0.05, 0.92], size=40).cumsum(axis=0)
        wrong += any(
            e_value(gains, losses, n=50 * (at + 1), margin=margin, is_loss=is_loss) >= ENOUGH
            for at, (gains, losses, _) in enumerate(steps.tolist())
        )
    assert wrong / trials <= 0.05


def test_a_broken_variant_is_found_after_about_as_many_documents_as_simulated():
    # A flip rate of 0.20 and a loss of 15 points: 80 documents in the median, looks every 20.
    random, found_after = np.random.default_rng(9), []
    for _ in range(200):
        steps = random.multinomial(20, [0.025, 0.175, 0.8], size=60).cumsum(axis=0)
        found_after.append(
            next(
                20 * (at + 1)
                for at, (gains, losses, _) in enumerate(steps.tolist())
                if e_value(gains, losses, n=20 * (at + 1), margin=0.02, is_loss=True) >= ENOUGH
            )
        )
    assert np.median(found_after) == 80
    assert np.mean(found_after) == pytest.approx(92, abs=8)


def boundary(sizes, confidence=0.95):
    """The constant c of the boundary c / sqrt(share), at each look."""
    return [
        NormalDist().inv_cdf(Looks(sizes, at).confidence_at(confidence))
        * math.sqrt(size / sizes[-1])
        for at, size in enumerate(sizes)
    ]


# Jennison and Turnbull (2000), table 2.3, two-sided 0.10; 1.707 and 1.747 are simulated.
@pytest.mark.parametrize(
    ("looks", "published", "simulated"), [(2, 1.678, None), (3, 1.710, 1.707), (5, 1.751, 1.747)]
)
def test_obrien_and_flemings_constants_are_as_published(looks, published, simulated):
    found = boundary(tuple(100 * at for at in range(1, looks + 1)))
    assert found == pytest.approx([published] * looks, abs=6e-4)
    assert simulated is None or found[-1] == pytest.approx(simulated, abs=5e-3)


@pytest.mark.parametrize(
    ("sizes", "confidence"),
    [
        ((100, 500, 1000), 0.95),
        ((100, 500, 1000), 0.995),
        ((1, 9, 10), 0.9),
        ((99, 100), 0.95),
        ((10, 11, 100), 0.95),
        ((5, 99, 100), 0.95),
    ],
)
def test_the_boundary_of_unequal_looks_is_that_of_the_joint_normal(sizes, confidence):
    from scipy.stats import multivariate_normal

    shares = np.array(sizes) / sizes[-1]
    ends = np.array(boundary(sizes, confidence)[-1:] * len(sizes))
    together = multivariate_normal.cdf(
        ends, cov=np.minimum.outer(shares, shares), abseps=1e-7, releps=1e-7, rng=1
    )
    assert together == pytest.approx(confidence, abs=3e-6)


def test_planned_looks_err_as_rarely_as_promised():
    random = np.random.default_rng(3)
    sizes = (100, 150, 225, 340, 510, 765, 1000)
    steps = np.sqrt(np.diff(sizes, prepend=0)) * random.normal(size=(200_000, len(sizes)))
    z = steps.cumsum(axis=1) / np.sqrt(sizes)
    ends = [NormalDist().inv_cdf(Looks(sizes, at).confidence_at(0.95)) for at in range(len(sizes))]
    assert (z > ends).any(axis=1).mean() == pytest.approx(0.05, abs=0.0015)


def test_a_single_look_is_not_corrected():
    assert Looks((500,), 0).confidence_at(0.95) == pytest.approx(0.95, abs=1e-7)


def test_early_looks_are_stricter_and_never_certain():
    sizes = (50, 100, 1000, 10_000)
    found = [Looks(sizes, at).confidence_at(0.95) for at in range(4)]
    assert found[0] == found[1] == 1 - 1e-12
    assert found == sorted(found, reverse=True)
    assert 0.95 < found[-1] < 0.96


def test_a_stricter_confidence_is_stricter_at_every_look():
    sizes = tuple(range(100, 2001, 100))
    laxer, stricter = (
        [Looks(sizes, at).confidence_at(confidence) for at in range(len(sizes))]
        for confidence in (0.95, 0.99)
    )
    assert all(more >= less for more, less in zip(stricter, laxer, strict=True))


@pytest.mark.parametrize("sizes", [(), (0, 10), (10, 10), (20, 10)])
def test_looks_without_new_documents_are_refused(sizes):
    with pytest.raises(ValueError, match="each must have more"):
        Looks(sizes, 0).confidence_at(0.95)
