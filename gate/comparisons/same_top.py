"""How often a candidate holds the same next token most probable as a reference, over texts."""

from gate.distribution_records import Distribution
from gate.result_records import Estimate
from gate.stats import proportions
from gate.token_means import token_mean

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
    found = token_mean(
        distribution,
        (one.same_top for one in distribution.documents),
        unit="share of tokens with the same most probable token",
        confidence=confidence,
    )
    same = sum(one.same_top for one in distribution.documents)
    exact = proportions.clopper_pearson(same, distribution.tokens, confidence=confidence)
    return found.model_copy(
        update={
            "low": max(0.0, min(found.low, exact.low)),
            "high": min(1.0, max(found.high, exact.high)),
            "method": f"{found.method}, at the least Clopper-Pearson",
        }
    )
