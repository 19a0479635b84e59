"""delta and flips where documents share clusters, and delta of metrics of a whole corpus."""

import math

import numpy as np
import pytest
from test_comparisons import binary_pair, make_score

from gate.aggregates import value_of
from gate.comparisons import delta, flips
from gate.stats import clusters, means, proportions, ratios
from gate.stats.sequential import Looks, anytime_interval

DIFFERENCES = [1, 1, 0, 0, -1, -1, 0, 1, 0, 0, 0, 1]
CLUSTERS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def with_samples(score, **columns):
    """The score with a field of every sample replaced."""
    samples = (
        sample.model_copy(update={name: values[i] for name, values in columns.items()})
        for i, sample in enumerate(score.samples)
    )
    return score.model_copy(update={"samples": tuple(samples)})


def clustered(before, after, groups, **options):
    names = [f"passage {group}" for group in groups]
    return tuple(
        with_samples(make_score(values, **options), cluster=names) for values in (before, after)
    )


def toy(**options):
    before = [1.0 if difference < 0 else 0.0 for difference in DIFFERENCES]
    after = [value + difference for value, difference in zip(before, DIFFERENCES, strict=True)]
    return clustered(before, after, CLUSTERS, **options)


def corpus(aggregate, statistics, *, higher_is_better=True, groups=None):
    score = make_score([0.0] * len(statistics), is_binary=False, higher_is_better=higher_is_better)
    score = score.model_copy(update={"aggregate": aggregate})
    columns = {"statistics": [tuple(map(float, row)) for row in statistics]}
    if groups is not None:
        columns["cluster"] = [f"passage {group}" for group in groups]
    return with_samples(score, **columns)


@pytest.fixture
def labels():
    """Right and predicted, predicted, right: 0 or 1 for each of 300 documents, for two arms."""
    random = np.random.default_rng(5)
    true = random.random(300) < 0.4
    arms = []
    for noise in (0.1, 0.2):
        predicted = true ^ (random.random(300) < noise)
        arms.append(np.stack([true & predicted, predicted, true], axis=1).astype(float))
    return arms


# Clusters


def test_delta_over_clusters_has_the_error_of_the_textbook():
    estimate = delta.compare(*toy(is_binary=False), confidence=0.95)
    assert estimate.value == pytest.approx(0.1666667)
    assert estimate.standard_error == pytest.approx(0.288675, abs=1e-6)
    assert (estimate.low, estimate.high) == pytest.approx((-0.512691, 0.846023), abs=2e-6)
    assert (estimate.n, estimate.clusters) == (12, 4)
    assert (estimate.method, estimate.unit) == ("t over clusters", "mean difference")


def test_delta_over_clusters_of_a_binary_metric_has_flips_and_is_never_narrower_than_tangos():
    estimate = delta.compare(*toy(), confidence=0.95)
    tango = proportions.tango_interval(4, 2, n=12, confidence=0.95)
    assert (estimate.flips.gains, estimate.flips.losses) == (4, 2)
    assert estimate.low == pytest.approx(min(-0.512691, tango.low), abs=1e-6)
    assert estimate.high == pytest.approx(max(0.846023, tango.high), abs=2e-6)
    assert estimate.method == (
        "t over clusters and Tango score interval of the effective documents, outer envelope"
    )
    assert estimate.unit == "share difference"


def test_from_thirty_clusters_on_the_bootstrap_of_clusters_stands_beside():
    differences = np.random.default_rng(3).normal(0, 0.1, 300)
    groups = [i % 30 for i in range(300)]
    estimate = delta.compare(
        *clustered(np.zeros(300), differences, groups, is_binary=False), confidence=0.95
    )
    names = [f"passage {group}" for group in groups]
    plain = float(differences.std(ddof=1)) / math.sqrt(300)
    found = clusters.cluster_interval(differences, names, confidence=0.95)
    resampled = clusters.cluster_bootstrap_interval(differences, names, confidence=0.95)
    assert estimate.method == "t over clusters and cluster bootstrap, outer envelope"
    assert estimate.standard_error == pytest.approx(max(found.standard_error, plain))
    assert estimate.low <= min(found.interval.low, resampled.low)
    assert estimate.high >= max(found.interval.high, resampled.high)


def test_clusters_of_one_document_each_are_no_clusters():
    pair = clustered([0, 1, 1, 1], [1, 1, 0, 1], range(4))
    estimate = delta.compare(*pair, confidence=0.95)
    assert (estimate.clusters, estimate.method) == (None, "Tango score interval")


def test_clusters_that_did_not_change_leave_what_their_number_leaves():
    values = [1.0, 0.0] * 100
    pair = clustered(values, values, [i // 10 for i in range(200)], is_binary=False)
    estimate = delta.compare(*pair, confidence=0.95)
    expected = means.unvarying_interval(0.0, 20, value_range=1.0, confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate.method == "rule of three over the metric's range, over clusters"
    assert estimate.standard_error is None


def test_next_to_no_changes_in_clusters_are_held_to_a_correlation_that_could_not_show():
    values = np.ones(200)
    groups = [i // 10 for i in range(200)]
    effect = 1 + (10 - 1) * 0.1
    none = delta.compare(*clustered(values, values, groups), confidence=0.95)
    expected = proportions.paired_interval(0, 0, n=200 / effect, confidence=0.95)
    assert (none.low, none.high) == pytest.approx(expected)
    assert none.standard_error is None
    lows = []
    for losses in range(4):
        after = values.copy()
        after[:losses] = 0
        lows.append(delta.compare(*clustered(values, after, groups), confidence=0.95).low)
    assert lows == sorted(lows, reverse=True)


def test_a_single_cluster_leaves_almost_everything_open():
    pair = clustered([0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0, 0, 0])
    estimate = delta.compare(*pair, confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx((-0.95, 0.95))


def test_delta_over_clusters_swapped_is_minus_delta():
    reference, candidate = toy()
    there = delta.compare(reference, candidate, confidence=0.95)
    back = delta.compare(candidate, reference, confidence=0.95)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_flips_over_clusters_are_never_narrower_than_clopper_and_pearsons():
    estimate = flips.compare(*toy(), confidence=0.95)
    effect = clusters.least_design_effect([str(c) for c in CLUSTERS])
    exact = proportions.clopper_pearson(6 / effect, 12 / effect, confidence=0.95)
    changed = np.abs(np.array(DIFFERENCES, dtype=float))
    over = clusters.cluster_interval(changed, [str(c) for c in CLUSTERS], confidence=0.95)
    assert estimate.low == pytest.approx(max(0.0, min(exact.low, over.interval.low)))
    assert estimate.high == pytest.approx(min(1.0, max(exact.high, over.interval.high)))
    assert (estimate.clusters, estimate.standard_error) == (4, pytest.approx(over.standard_error))
    assert estimate.method == (
        "Clopper-Pearson interval of the effective documents and t over clusters, outer envelope"
    )


def test_clusters_that_did_not_flip_leave_what_their_effective_documents_leave():
    values = [1.0] * 200
    pair = clustered(values, values, [i // 10 for i in range(200)])
    estimate = flips.compare(*pair, confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx((0.0, 1 - 0.05 ** (1.9 / 200)))
    assert estimate.method == "Clopper-Pearson interval of the effective documents"


# Metrics of a corpus


def test_a_perplexitys_delta_is_the_ratio_estimator_of_its_logarithm():
    random = np.random.default_rng(2)
    words = random.integers(50, 500, 80).astype(float)
    before = -3.0 * words + random.normal(0, 5, 80)
    after = before - 0.01 * words + random.normal(0, 1, 80)
    arms = [
        corpus("word_perplexity", np.stack([sums, words], axis=1), higher_is_better=False)
        for sums in (before, after)
    ]
    estimate = delta.compare(*arms, confidence=0.95)
    expected = ratios.ratio_interval(after - before, words, confidence=0.95)
    assert estimate.value == pytest.approx(math.log(value_of(arms[0]) / value_of(arms[1])))
    assert (estimate.low, estimate.high) == pytest.approx(expected.interval)
    assert estimate.standard_error == pytest.approx(expected.standard_error)
    assert (estimate.unit, estimate.n) == ("ln perplexity", 80)
    assert estimate.method == "ratio estimator over documents"
    assert estimate.high < 0


def test_bits_per_byte_are_compared_as_bits():
    size = np.array([100.0, 200.0, 300.0])
    before, after = -1.0 * size, np.array([-110.0, -205.0, -310.0])
    arms = [
        corpus("bits_per_byte", np.stack([sums, size], axis=1), higher_is_better=False)
        for sums in (before, after)
    ]
    estimate = delta.compare(*arms, confidence=0.95)
    assert estimate.value == pytest.approx(value_of(arms[0]) - value_of(arms[1]))
    assert estimate.unit == "bits a byte"


def test_perplexities_over_clusters_count_clusters():
    words = np.full(40, 100.0)
    before = np.linspace(-310, -290, 40)
    after = before - np.repeat(np.arange(10.0), 4)
    groups = np.repeat(np.arange(10), 4)
    arms = [
        corpus("perplexity", np.stack([sums, words], axis=1), higher_is_better=False, groups=groups)
        for sums in (before, after)
    ]
    estimate = delta.compare(*arms, confidence=0.95)
    assert (estimate.clusters, estimate.method) == (10, "ratio estimator over clusters")


def test_f1_is_recomputed_for_every_resample_of_the_documents(labels):
    reference, candidate = (corpus("f1", rows) for rows in labels)
    estimate = delta.compare(reference, candidate, confidence=0.95)
    assert estimate.value == pytest.approx(value_of(candidate) - value_of(reference))
    assert estimate.low < estimate.value < estimate.high
    assert estimate.method == "paired bootstrap of documents"
    assert estimate.unit == "difference of f1"
    back = delta.compare(candidate, reference, confidence=0.95)
    assert (back.low, back.high) == pytest.approx((-estimate.high, -estimate.low))


def test_a_corpus_metric_where_lower_is_better_is_turned_round(labels):
    higher = delta.compare(*(corpus("f1", rows) for rows in labels), confidence=0.95)
    lower = delta.compare(
        *(corpus("f1", rows, higher_is_better=False) for rows in labels), confidence=0.95
    )
    assert lower.value == pytest.approx(-higher.value)
    assert (lower.low, lower.high) == pytest.approx((-higher.high, -higher.low))


@pytest.mark.parametrize("aggregate", ["f1", "word_perplexity"])
@pytest.mark.parametrize("n", [1, 20])
def test_a_corpus_that_did_not_change_leaves_what_its_number_leaves(aggregate, n):
    rows = [(1.0, 2.0, 1.0)[: 3 if aggregate == "f1" else 2]] * n
    score = corpus(aggregate, rows)
    estimate = delta.compare(score, score, confidence=0.95)
    assert estimate.value == 0.0
    assert estimate.high >= 0.5 * (1 - 0.05 ** (1 / n))
    assert estimate.method == "rule of three over the metric's range"


# Looks


def test_delta_at_a_look_is_the_confidence_sequence_where_documents_are_independent():
    looks = Looks((50, 100, 200), 2)
    estimate = delta.compare(*binary_pair(3, 7, 200), confidence=0.95, looks=looks)
    expected = anytime_interval(3, 7, n=200, confidence=0.95)
    assert (estimate.low, estimate.high) == pytest.approx(expected)


def test_delta_at_a_look_is_obrien_and_flemings_where_they_are_not():
    looks = Looks((6, 12), 1)
    estimate = delta.compare(*toy(), confidence=0.95, looks=looks)
    plain = delta.compare(*toy(), confidence=looks.confidence_at(0.95))
    assert (estimate.low, estimate.high) == (plain.low, plain.high)
    assert estimate.method == f"{plain.method}, at the 95.3 % of O'Brien-Fleming's look 2 of 2"
