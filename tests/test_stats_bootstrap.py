"""The bootstrap of corpus metrics against scipy, a plain loop and the mean's own interval."""

import math
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest

from gate.stats import bootstrap, means

# Efron and Tibshirani (1993), table 3.1: LSAT score and grade average of 15 law schools.
LAW_SCHOOLS = np.array(
    [[576, 3.39], [635, 3.30], [558, 2.81], [578, 3.03], [666, 3.44], [580, 3.07], [555, 3.00],
     [661, 3.43], [651, 3.36], [605, 3.13], [653, 3.12], [575, 2.74], [545, 2.76], [572, 2.88],
     [594, 2.96]]
)  # fmt: skip


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def f1(sums):
    """Of true positives, false positives and false negatives."""
    return 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


def counted(values):
    return np.stack([values, np.ones(len(values))], axis=1)


def correlation(sums):
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))


def law_school_statistics():
    x, y = LAW_SCHOOLS.T
    return np.stack([np.ones(15), x, y, x * x, y * y, x * y], axis=1)


def test_the_law_schools_correlation_has_scipys_percentile_interval():
    from scipy.special import stdtrit
    from scipy.stats import bootstrap as scipys
    from scipy.stats import pearsonr

    statistics = law_school_statistics()
    assert correlation(statistics.sum(axis=0)) == pytest.approx(0.776374, abs=5e-7)
    ours = bootstrap.aggregate_interval(
        np.zeros_like(statistics),
        statistics,
        lambda sums: correlation(sums) if sums.any() else np.zeros(sums.shape[:-1]),
        confidence=0.95,
        resamples=50_000,
    )
    beyond = NormalDist().cdf(-float(stdtrit(14, 0.95)) * math.sqrt(15 / 14))
    theirs = scipys(
        tuple(LAW_SCHOOLS.T),
        lambda x, y, axis: pearsonr(x, y, axis=axis).statistic,
        paired=True,
        method="percentile",
        confidence_level=1 - 2 * beyond,
        n_resamples=9_999,
        rng=0,
    )
    assert theirs.standard_error == pytest.approx(0.1348, abs=0.004)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_a_loop_over_the_same_kind_of_resamples_agrees():
    random = np.random.default_rng(4)
    reference = random.integers(0, 4, size=(300, 3)).astype(np.float64)
    candidate = np.maximum(reference - (random.random((300, 3)) < 0.1), 0.0)
    changes = []
    for _ in range(5_000):
        drawn = random.integers(300, size=300)
        changes.append(f1(candidate[drawn].sum(axis=0)) - f1(reference[drawn].sum(axis=0)))
    interval = bootstrap.aggregate_interval(reference, candidate, f1, confidence=0.95)
    expected = np.quantile(changes, [0.05, 0.95])
    assert interval == pytest.approx(tuple(expected), abs=0.1 * np.std(changes))


@pytest.mark.parametrize("n", [12, 60, 1500, 9000])
def test_the_bootstrap_of_a_mean_has_students_width(n):
    values = np.random.default_rng(n).normal(size=n)
    interval = bootstrap.aggregate_interval(
        counted(np.zeros(n)), counted(values), mean, confidence=0.95, resamples=20_000
    )
    student = means.paired_t_interval(values, confidence=0.95)
    assert interval == pytest.approx(student, abs=0.12 * values.std() / math.sqrt(n))


@pytest.mark.parametrize("confidence", [0.9995, 1 - 1e-12])
def test_beyond_the_last_resamples_it_reaches_as_far_as_student(confidence):
    values = np.random.default_rng(1).normal(size=200)
    interval = bootstrap.aggregate_interval(
        counted(np.zeros(200)), counted(values), mean, confidence=confidence
    )
    student = means.paired_t_interval(values, confidence=confidence)
    assert interval.low < student.low + 0.1 * (values.mean() - student.low)
    assert interval.high > student.high - 0.1 * (student.high - values.mean())


def test_a_stricter_interval_contains_a_laxer_one():
    values = np.random.default_rng(1).lognormal(size=50)
    lows, highs = zip(
        *(
            bootstrap.aggregate_interval(
                counted(np.zeros(50)), counted(values), mean, confidence=confidence
            )
            for confidence in (0.8, 0.95, 0.99, 0.994, 0.996, 0.999, 1 - 1e-9)
        ),
        strict=True,
    )
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)


@pytest.mark.parametrize("n", [100, 5000])
def test_the_interval_is_the_same_each_time_and_turns_round_with_the_arms(n):
    random = np.random.default_rng(6)
    one, other = random.lognormal(size=(2, n, 1))
    one, other = (np.hstack([arm, np.ones((n, 1))]) for arm in (one, other))
    interval = bootstrap.aggregate_interval(one, other, mean, confidence=0.95)
    assert interval == bootstrap.aggregate_interval(one, other, mean, confidence=0.95)
    swapped = bootstrap.aggregate_interval(other, one, mean, confidence=0.95)
    assert swapped == pytest.approx((-interval.high, -interval.low), abs=1e-12)
    other_seed = bootstrap.aggregate_interval(one, other, mean, confidence=0.95, seed=5)
    assert interval != other_seed


def test_equal_arms_differ_by_nothing():
    statistics = np.random.default_rng(1).random((30, 3))
    interval = bootstrap.aggregate_interval(statistics, statistics, f1, confidence=0.95)
    assert interval == (0.0, 0.0)


def test_documents_of_one_cluster_are_drawn_together():
    values = np.repeat(np.random.default_rng(1).normal(size=40), 25)
    labels = [str(at // 25) for at in range(1000)]
    alone, together = (
        bootstrap.aggregate_interval(
            counted(np.zeros(1000)), counted(values), mean, confidence=0.95, clusters=clusters
        )
        for clusters in (None, labels)
    )
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(5.0, rel=0.1)


def test_a_metric_that_is_undefined_on_a_resample_is_refused():
    sparse = np.zeros((10, 3))
    sparse[0] = 1.0
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"the metric is not finite on 1\d+ of 500 resamples"),
    ):
        bootstrap.aggregate_interval(sparse, sparse, f1, confidence=0.95, resamples=500)


def test_a_metric_that_is_undefined_on_the_whole_is_refused():
    nothing = np.zeros((10, 3))
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="the metric is not finite over all documents"),
    ):
        bootstrap.aggregate_interval(nothing, nothing, f1, confidence=0.95)


def test_one_document_has_no_interval():
    with pytest.raises(ValueError, match="an interval takes 2 documents, and there is 1"):
        bootstrap.aggregate_interval(np.ones((1, 3)), np.ones((1, 3)), f1, confidence=0.95)


def test_the_memory_of_a_large_bootstrap_is_bounded():
    statistics = np.random.default_rng(1).random((50_000, 4))
    tracemalloc.start()
    bootstrap.aggregate_interval(statistics, statistics, f1, confidence=0.95)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 64 * 2**20
