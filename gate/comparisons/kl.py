"""How far a candidate's next-token distributions are from a reference's: KL over texts."""

from gate.distribution_records import Distribution
from gate.result_records import Estimate
from gate.token_means import token_mean

PACKAGES = ("numpy", "scipy")

COMPARES = "texts"
"""What is compared: distributions over texts."""

BOUND = "at_most"
"""The bound without which a check of it would ask for nothing."""


def compare(distribution: Distribution, *, confidence: float) -> Estimate:
    """Mean KL(reference || candidate), in nats a token; 0 where the two are the same.

    Tokens of one document are not independent: the interval is of the ratio of sums over
    documents, by Student's t. Where the distribution was compared at the reference's top tokens,
    the mean is of a lower bound, and `Distribution.shortfall` says by how much it falls short.

    An engine that computes in bfloat16 rounds logits around 20 to steps of an eighth: two models
    that are equal but for that are some 0.002 apart, and one token in thirty has another top.
    `dtype: float32` takes that away.

    Args:
        distribution: two documents at the least.
        confidence: one-sided confidence of each end of the interval.

    Raises:
        ValueError: there is one document only.
    """
    sums = (one.kl for one in distribution.documents)
    found = token_mean(
        distribution, sums, unit="KL divergence in nats a token", confidence=confidence
    )
    return found.model_copy(update={"low": max(0.0, found.low)})
