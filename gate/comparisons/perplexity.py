"""How much more a candidate is surprised by texts than a reference: the ratio of perplexities."""

from gate.distribution_records import Distribution
from gate.result_records import Estimate
from gate.token_means import token_mean

PACKAGES = ("numpy", "scipy")

COMPARES = "texts"
"""What is compared: distributions over texts."""

BOUND = "at_most"
"""The bound without which a check of it would ask for nothing."""


def compare(distribution: Distribution, *, confidence: float) -> Estimate:
    """ln(perplexity of the candidate / perplexity of the reference), a token; above 0 is worse.

    0.01 is about one percent more. The interval is of the ratio of sums over documents, by
    Student's t.

    Args:
        distribution: two documents at the least.
        confidence: one-sided confidence of each end of the interval.

    Raises:
        ValueError: there is one document only.
    """
    sums = (one.nll_candidate - one.nll_reference for one in distribution.documents)
    return token_mean(
        distribution, sums, unit="logarithm of the perplexity ratio", confidence=confidence
    )
