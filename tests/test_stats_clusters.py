"""Clustered means against worked examples, the plain t interval and simulated clusters."""

import math

import numpy as np
import pytest

from gate.stats import clusters, means

TOY = np.array([1, 1, 0, 0, -1, -1, 0, 1, 0, 0, 0, 1], dtype=np.float64)
TOY_CLUSTERS = list("aaabbbcccddd")


def test_the_clustered_mean_of_the_worked_example_is_as_published():
    found = clusters.cluster_interval(TOY, TOY_CLUSTERS, confidence=0.95)
    assert found.mean == pytest.approx(1 / 6, abs=1e-12)
    assert found.clusters == 4
    assert found.standard_error == pytest.approx(0.288675, abs=5e-7)
    assert found.interval == pytest.approx((-0.512691, 0.846023), abs=1.5e-6)


def test_millers_standard_error_lacks_the_factor_for_few_clusters():
    # Miller 2024, arXiv:2411.00640: 0.25 clustered, 0.207194 where clusters are ignored.
    found = clusters.cluster_interval(TOY, TOY_CLUSTERS, confidence=0.95)
    assert math.sqrt(3 / 4) * found.standard_error == pytest.approx(0.25, abs=1e-12)
    assert TOY.std(ddof=1) / math.sqrt(len(TOY)) == pytest.approx(0.207194, abs=5e-7)


def test_clusters_of_one_document_give_students_interval():
    differences = np.random.default_rng(1).normal(size=30)
    labels = [str(at) for at in range(30)]
    found = clusters.cluster_interval(differences, labels, confidence=0.95)
    assert found.interval == pytest.approx(means.paired_t_interval(differences, confidence=0.95))


def test_the_order_of_documents_and_the_names_of_clusters_change_nothing():
    order = np.random.default_rng(1).permutation(len(TOY))
    labels = [f"passage {TOY_CLUSTERS[at]}" for at in order]
    found = clusters.cluster_interval(TOY[order], labels, confidence=0.95)
    expected = clusters.cluster_interval(TOY, TOY_CLUSTERS, confidence=0.95)
    assert found.interval == pytest.approx(expected.interval, abs=1e-12)


def test_swapped_arms_turn_the_clustered_intervals_round():
    plain = clusters.cluster_interval(TOY, TOY_CLUSTERS, confidence=0.95).interval
    swapped = clusters.cluster_interval(-TOY, TOY_CLUSTERS, confidence=0.95).interval
    assert swapped == pytest.approx((-plain.high, -plain.low), abs=1e-12)


@pytest.mark.parametrize("interval", ["cluster_interval", "cluster_bootstrap_interval"])
def test_one_cluster_has_no_interval(interval):
    with pytest.raises(ValueError, match="an interval takes 2 clusters, and there is 1"):
        getattr(clusters, interval)(TOY, ["a"] * len(TOY), confidence=0.95)


def test_a_document_without_a_cluster_is_refused():
    with pytest.raises(ValueError, match="12 documents, but clusters of 11"):
        clusters.cluster_interval(TOY, TOY_CLUSTERS[:-1], confidence=0.95)


def test_clusters_that_all_deviate_by_nothing_have_no_width():
    differences = np.tile([0.3, -0.1, 0.1], 5)
    labels = [str(at // 3) for at in range(15)]
    interval = clusters.cluster_interval(differences, labels, confidence=0.95).interval
    assert interval == pytest.approx((0.1, 0.1), abs=1e-12)


def clustered_documents(random, count, size):
    """Differences with a mean of 0 and an intraclass correlation of 0.7."""
    shared = np.repeat(random.normal(size=count), size)
    differences = math.sqrt(0.7) * shared + math.sqrt(0.3) * random.normal(size=count * size)
    return differences, [str(at // size) for at in range(count * size)]


def false_alarms(interval_of, *, trials):
    """How often the low end of an interval is above a mean of 0."""
    random = np.random.default_rng(11)
    samples = [clustered_documents(random, 50, 10) for _ in range(trials)]
    return sum(interval_of(*sample).low > 0 for sample in samples) / trials


def test_ignoring_clusters_errs_often():
    share = false_alarms(
        lambda differences, _: means.paired_t_interval(differences, confidence=0.95), trials=1000
    )
    assert share == pytest.approx(0.26, abs=0.03)


def test_the_clustered_interval_errs_as_rarely_as_promised():
    share = false_alarms(
        lambda *sample: clusters.cluster_interval(*sample, confidence=0.95).interval, trials=1000
    )
    assert share == pytest.approx(0.05, abs=0.014)  # two standard errors


def test_the_cluster_bootstrap_errs_as_rarely_as_promised():
    share = false_alarms(
        lambda *sample: clusters.cluster_bootstrap_interval(*sample, confidence=0.95), trials=300
    )
    assert share == pytest.approx(0.05, abs=0.025)  # two standard errors


def test_the_cluster_bootstrap_agrees_with_the_clustered_error_of_many_clusters():
    differences, labels = clustered_documents(np.random.default_rng(5), 200, 5)
    found = clusters.cluster_interval(differences, labels, confidence=0.95)
    resampled = clusters.cluster_bootstrap_interval(differences, labels, confidence=0.95)
    assert resampled == pytest.approx(found.interval, abs=0.1 * found.standard_error)
    assert resampled == clusters.cluster_bootstrap_interval(differences, labels, confidence=0.95)
