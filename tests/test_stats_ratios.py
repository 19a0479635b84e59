"""Ratios of sums against the formula, the bootstrap and the means they contain."""

import math

import numpy as np
import pytest

from gate.stats import bootstrap, clusters, means, ratios


def documents(n, seed=1):
    """Log-likelihood lost by each document, and its tokens."""
    random = np.random.default_rng(seed)
    tokens = random.integers(5, 400, size=n).astype(np.float64)
    return tokens * 0.02 + np.sqrt(tokens) * random.normal(size=n), tokens


def test_the_ratio_and_its_error_follow_the_formula():
    lost, tokens = np.array([1.0, 4.0, 1.0, 2.0]), np.array([10.0, 20.0, 30.0, 40.0])
    found = ratios.ratio_interval(lost, tokens, confidence=0.95)
    residuals = [1 - 0.8, 4 - 1.6, 1 - 2.4, 2 - 3.2]
    error = math.sqrt(sum(e * e for e in residuals)) / 100 * math.sqrt(4 / 3)
    assert found.ratio == pytest.approx(0.08)
    assert found.groups == 4
    assert found.standard_error == pytest.approx(error)
    assert found.interval.high == pytest.approx(0.08 + 2.353363 * error, abs=1e-7)
    assert found.interval.low == pytest.approx(0.08 - 2.353363 * error, abs=1e-7)


def test_documents_of_equal_weight_give_students_interval():
    values = np.random.default_rng(2).normal(size=40)
    found = ratios.ratio_interval(7 * values, np.full(40, 7.0), confidence=0.95)
    assert found.interval == pytest.approx(means.paired_t_interval(values, confidence=0.95))


def test_clusters_of_documents_of_equal_weight_give_the_clustered_interval():
    values = np.random.default_rng(2).normal(size=40)
    labels = [str(at // 4) for at in range(40)]
    found = ratios.ratio_interval(values, np.ones(40), confidence=0.95, clusters=labels)
    expected = clusters.cluster_interval(values, labels, confidence=0.95)
    assert found.groups == expected.clusters == 10
    assert found.interval == pytest.approx(expected.interval)


@pytest.mark.parametrize("is_clustered", [False, True])
def test_the_bootstrap_over_documents_and_over_clusters_agrees(is_clustered):
    lost, tokens = documents(600)
    labels = [str(at // 3) for at in range(600)] if is_clustered else None
    found = ratios.ratio_interval(lost, tokens, confidence=0.95, clusters=labels)
    resampled = bootstrap.aggregate_interval(
        np.stack([np.zeros(600), tokens], axis=1),
        np.stack([lost, tokens], axis=1),
        lambda sums: sums[..., 0] / sums[..., 1],
        confidence=0.95,
        clusters=labels,
        resamples=20_000,
    )
    assert found.groups == (200 if is_clustered else 600)
    assert resampled == pytest.approx(found.interval, abs=0.06 * found.standard_error)


def test_swapped_arms_turn_the_ratio_round_and_more_documents_narrow_it():
    lost, tokens = documents(100)
    found = ratios.ratio_interval(lost, tokens, confidence=0.95)
    swapped = ratios.ratio_interval(-lost, tokens, confidence=0.95)
    more = ratios.ratio_interval(np.tile(lost, 4), np.tile(tokens, 4), confidence=0.95)
    assert swapped.interval == pytest.approx((-found.interval.high, -found.interval.low))
    assert more.standard_error == pytest.approx(found.standard_error / 2, rel=0.01)


def test_a_loss_of_the_same_per_token_everywhere_has_no_width():
    tokens = np.array([1.0, 2.0, 4.0])
    found = ratios.ratio_interval(0.25 * tokens, tokens, confidence=0.95)
    assert found == (0.25, 0.0, 3, (0.25, 0.25))


def test_one_document_has_no_interval():
    with pytest.raises(ValueError, match="an interval takes 2 documents, and there is 1"):
        ratios.ratio_interval(np.ones(1), np.ones(1), confidence=0.95)


def test_one_cluster_has_no_interval():
    with pytest.raises(ValueError, match="an interval takes 2 clusters, and there is 1"):
        ratios.ratio_interval(np.ones(3), np.ones(3), confidence=0.95, clusters=["a"] * 3)


def test_documents_without_weight_have_no_ratio():
    with pytest.raises(ValueError, match="the weights of 3 documents sum to 0, not above 0"):
        ratios.ratio_interval(np.ones(3), np.zeros(3), confidence=0.95)
