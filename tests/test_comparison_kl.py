"""Comparisons of distributions over texts: ratios of sums over documents, with their error."""

import math

import numpy as np
import pytest
from scipy import stats

from gate.comparisons import kl, perplexity, same_top
from gate.distribution_records import Distribution, DocumentDivergence


def distribution(*documents):
    """Each document is (tokens, kl, same_top, nll_reference, nll_candidate)."""
    return Distribution(
        variant="merged",
        reference="adapter",
        text="desk",
        tokens_hash="0" * 64,
        documents=tuple(
            DocumentDivergence(
                id=number,
                tokens=tokens,
                kl=nats,
                same_top=same,
                nll_reference=before,
                nll_candidate=after,
                delta_p=0.0,
            )
            for number, (tokens, nats, same, before, after) in enumerate(documents)
        ),
        delta_p_rms=0.0,
    )


FOUR = distribution(
    (10, 0.1, 10, 20.0, 20.5),
    (20, 0.4, 18, 50.0, 51.0),
    (30, 0.3, 29, 60.0, 60.0),
    (40, 1.2, 36, 90.0, 92.5),
)


def by_hand(numerators, weights, confidence):
    """Ratio of sums, with Student's t over documents (Cochran 1977, section 6.3)."""
    numerators, weights = np.array(numerators), np.array(weights)
    ratio = numerators.sum() / weights.sum()
    n = len(weights)
    error = math.sqrt(n / (n - 1) * ((numerators - ratio * weights) ** 2).sum()) / weights.sum()
    reach = stats.t.ppf(confidence, n - 1) * error
    return ratio, error, ratio - reach, ratio + reach


def test_the_kl_is_a_mean_over_tokens_with_documents_as_clusters():
    found = kl.compare(FOUR, confidence=0.95)
    ratio, error, low, high = by_hand([0.1, 0.4, 0.3, 1.2], [10, 20, 30, 40], 0.95)
    assert found.value == pytest.approx(ratio) == pytest.approx(0.02)
    assert found.standard_error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((max(0.0, low), high))
    assert (found.n, found.clusters) == (4, 4)
    assert found.unit == "KL divergence in nats a token"
    assert found.method == "ratio of sums over documents (100 tokens), Student's t"


def test_no_divergence_lies_below_0():
    found = kl.compare(distribution((10, 0.0, 10, 1, 1), (10, 3.0, 9, 1, 1)), confidence=0.95)
    assert found.low == 0.0


def test_the_perplexity_ratio_is_the_candidate_s_over_the_reference_s():
    found = perplexity.compare(FOUR, confidence=0.9)
    ratio, error, low, high = by_hand([0.5, 1.0, 0.0, 2.5], [10, 20, 30, 40], 0.9)
    assert found.value == pytest.approx(ratio) == pytest.approx(0.04)
    assert (found.standard_error, found.low, found.high) == pytest.approx((error, low, high))
    assert found.value == pytest.approx(math.log(math.exp(224 / 100) / math.exp(220 / 100)))


def test_the_same_top_is_a_share_of_tokens():
    found = same_top.compare(FOUR, confidence=0.95)
    assert found.value == pytest.approx(0.93)
    assert found.unit == "share of tokens with the same most probable token"
    _, _, low, high = by_hand([10, 18, 29, 36], [10, 20, 30, 40], 0.95)
    assert found.low <= low
    assert found.high >= min(high, 1.0)


def test_tokens_without_an_exception_still_leave_room_for_one():
    found = same_top.compare(
        distribution((50, 0.0, 50, 1, 1), (50, 0.0, 50, 1, 1)), confidence=0.95
    )
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.05 ** (1 / 100))  # Clopper and Pearson at 100 of 100


def test_a_model_against_itself_has_no_divergence_at_all():
    same = distribution((50, 0.0, 50, 7.0, 7.0), (30, 0.0, 30, 9.0, 9.0))
    for comparison in (kl, perplexity):
        found = comparison.compare(same, confidence=0.95)
        assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_swapping_the_two_turns_the_perplexity_ratio_around():
    swapped = distribution(
        *(
            (one.tokens, one.kl, one.same_top, one.nll_candidate, one.nll_reference)
            for one in FOUR.documents
        )
    )
    found, other = (perplexity.compare(one, confidence=0.95) for one in (FOUR, swapped))
    assert (other.value, other.low, other.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )


@pytest.mark.parametrize("comparison", [kl, perplexity, same_top])
def test_one_document_has_no_interval(comparison):
    with pytest.raises(ValueError, match="an interval takes 2 documents, and there is 1"):
        comparison.compare(distribution((10, 0.1, 10, 2.0, 2.0)), confidence=0.95)


@pytest.mark.parametrize("comparison", [kl, perplexity, same_top])
def test_more_documents_narrow_the_interval(comparison):
    many = distribution(
        *(
            (one.tokens, one.kl, one.same_top, one.nll_reference, one.nll_candidate)
            for one in FOUR.documents * 8
        )
    )
    few, more = (comparison.compare(one, confidence=0.95) for one in (FOUR, many))
    assert more.value == pytest.approx(few.value)
    assert more.high - more.low < few.high - few.low
