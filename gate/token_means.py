"""A mean over the tokens of texts, with whole documents as what varies."""

from collections.abc import Iterable

import numpy as np

from gate.distribution_records import Distribution
from gate.result_records import Estimate
from gate.stats.ratios import ratio_interval


def token_mean(
    distribution: Distribution, sums: Iterable[float], *, unit: str, confidence: float
) -> Estimate:
    """The mean a token, from the sum over each document.

    Tokens of one document are not independent: the interval is of the ratio of sums over
    documents, by Student's t.

    Args:
        distribution: two documents at the least.
        sums: of what is averaged, one for each document.
        unit: of the mean.
        confidence: one-sided confidence of each end of the interval.

    Raises:
        ValueError: there is one document only.
    """
    documents = distribution.documents
    found = ratio_interval(
        np.fromiter(sums, dtype=np.float64),
        np.array([float(one.tokens) for one in documents]),
        confidence=confidence,
    )
    return Estimate(
        value=found.ratio,
        low=found.interval.low,
        high=found.interval.high,
        n=len(documents),
        unit=unit,
        method=f"ratio of sums over documents ({distribution.tokens:,} tokens), Student's t",
        clusters=found.groups,
        standard_error=found.standard_error,
    )
