"""A ratio of sums over documents, such as nats a token, with its delta-method interval."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.stats.groups import group_sums
from gate.stats.intervals import Interval


class RatioMean(NamedTuple):
    """A ratio of two sums with the error of the groups it was summed over.

    Attributes:
        ratio: sum of the numerators over the sum of the weights.
        standard_error: of the ratio.
        groups: documents or clusters that are taken for independent.
        interval: of the ratio.
    """

    ratio: float
    standard_error: float
    groups: int
    interval: Interval


def ratio_interval(
    numerators: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    confidence: float,
    clusters: Sequence[str] | None = None,
) -> RatioMean:
    """A weighted mean over documents: sum(numerators) / sum(weights), with its interval.

    For ln(PPL_candidate / PPL_reference), the numerators are the reference's log-likelihood less
    the candidate's and the weights the tokens (words, bytes); for a mean divergence per token,
    the sums of a document and its tokens. With residuals e = numerator - ratio weight, summed
    within clusters, SE = sqrt(G / (G - 1) sum e^2) / sum(weights) over G groups, with Student's t
    of G - 1 degrees of freedom. Residuals that are all 0 give it no width.

    Args:
        numerators: one per document.
        weights: one per document, none below 0.
        confidence: one-sided confidence of each end of the interval.
        clusters: the cluster of each document, in the same order; None where each document is
            one of its own.

    Raises:
        ValueError: fewer than two groups, not one cluster for each document, or weights that sum
            to nothing.

    Source: Cochran (1977), Sampling Techniques, section 6.3; Miller (2024), arXiv:2411.00640, is
    the case of equal weights.
    """
    from scipy.special import stdtrit

    total = float(weights.sum())
    if total <= 0.0:
        raise ValueError(f"the weights of {len(weights)} documents sum to {total:g}, not above 0")
    ratio = float(numerators.sum()) / total
    residuals = group_sums(numerators - ratio * weights, clusters)
    groups = len(residuals)
    error = math.sqrt(groups / (groups - 1) * float(residuals @ residuals)) / total
    reach = float(stdtrit(groups - 1, confidence)) * error
    return RatioMean(ratio, error, groups, Interval(ratio - reach, ratio + reach))
