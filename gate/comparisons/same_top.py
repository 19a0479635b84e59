"""How often a candidate holds the same next token most probable as a reference, over texts."""

import numpy as np

from gate.distribution_records import Distribution
from gate.result_records import Estimate
from gate.stats import proportions
from gate.stats.ratios import ratio_interval

PACKAGES = ("numpy", "scipy")

COMPARES = "texts"
"""What is compared: distributions over texts."""

BOUND = "at_least"
"""The bound without which a check of it would ask for nothing."""


def compare(distribution: Distribution, *, confidence: float) -> Estimate:
    """The share of tokens at which both hold the same token most probable.

    The interval is of the ratio of sums over documents, by Student's t, and never narrower than
    Clopper and Pearson's over as many independent tokens: documents without an exception would
    leave it no width.

    Args:
        distribution: two documents at the least.
        confidence: one-sided confidence of each end of the interval.

    Raises:
        ValueError: there is one document only.
    """
    documents = distribution.documents
    found = ratio_interval(
        np.array([float(one.same_top) for one in documents]),
        np.array([float(one.tokens) for one in documents]),
        confidence=confidence,
    )
    same = sum(one.same_top for one in documents)
    exact = proportions.clopper_pearson(same, distribution.tokens, confidence=confidence)
    return Estimate(
        value=found.ratio,
        low=max(0.0, min(found.interval.low, exact.low)),
        high=min(1.0, max(found.interval.high, exact.high)),
        n=len(documents),
        unit="share of tokens with the same most probable token",
        method=f"ratio of sums over documents ({distribution.tokens:,} tokens), Student's t, "
        "at the least Clopper-Pearson",
        clusters=found.groups,
        standard_error=found.standard_error,
    )
