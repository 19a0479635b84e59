"""How many documents a proof takes, and what so many documents can find."""

import math
from statistics import NormalDist

from gate.stats.proportions import floor_documents

_NORMAL = NormalDist()


def minimum_detectable_effect(
    n: float, *, flip_rate: float, confidence: float, power: float = 0.8
) -> float:
    """The smallest change in the share right that n documents find with the given power.

    Args:
        n: paired documents.
        flip_rate: share of documents expected to change, in either direction.
        confidence: one-sided confidence; 0.975 for a two-sided test at 0.05.
        power: probability of finding it.

    Source: Connor (1987), Biometrics 43:207-211, his sample size for McNemar's test solved for
    the difference d: z_confidence sqrt(flip_rate) + z_power sqrt(flip_rate - d^2) = d sqrt(n).
    """
    z_power = _NORMAL.inv_cdf(power)
    null = _NORMAL.inv_cdf(confidence) * math.sqrt(flip_rate)
    a, half_b, c = n + z_power**2, null * math.sqrt(n), null**2 - z_power**2 * flip_rate
    return (half_b + math.sqrt(max(half_b**2 - a * c, 0.0))) / a


def documents_for_power(
    *,
    margin: float,
    flip_rate: float,
    confidence: float,
    difference: float = 0.0,
    power: float = 0.8,
) -> int | None:
    """Documents that a paired binary metric needs to prove non-inferiority with this power.

    (z_confidence + z_power)^2 (flip_rate - difference^2) / (margin + difference)^2, and
    `floor_documents` at the least where the margin is above 0.

    Args:
        margin: loss allowed, as a share of documents; below 0 for a gain asked for.
        flip_rate: share of documents that change, in either direction.
        confidence: one-sided confidence.
        difference: true change in the share right; negative for a loss.
        power: probability of a proof.

    Returns:
        Documents; None where the difference is at or beyond the margin, so that none suffice.
    """
    variance = max(flip_rate - difference**2, 0.0)
    documents = documents_needed(margin + difference, variance, confidence=confidence, power=power)
    if documents is None or margin <= 0.0:
        return documents
    floor = floor_documents(margin, confidence=confidence)
    return max(documents, floor)


def design_effect_of(*, cluster_size: float, intraclass_correlation: float) -> float:
    """How many times as many documents a proof takes where they come in clusters.

    Args:
        cluster_size: documents of one cluster, in the mean.
        intraclass_correlation: of two documents of one cluster; 0 where they are independent, 1
            where they always change together.

    Source: Kish (1965), Survey Sampling, section 5.4: 1 + (size - 1) correlation.
    """
    return 1 + (cluster_size - 1) * intraclass_correlation


def documents_needed(
    distance: float, variance: float, *, confidence: float, power: float = 0.8
) -> int | None:
    """Documents at which a mean this far inside a bound is proved inside, with this power.

    Args:
        distance: from the bound to the mean; positive inside.
        variance: of one document.
        confidence: one-sided confidence.
        power: probability of a proof.

    Returns:
        Documents, 1 at the least; None where the mean is at or beyond the bound.
    """
    if distance <= 0.0:
        return None
    z_sum = _NORMAL.inv_cdf(confidence) + _NORMAL.inv_cdf(power)
    return max(1, math.ceil(z_sum**2 * variance / distance**2))


def implied_variance(half_width: float, n: int, *, confidence: float) -> float:
    """The variance of one document that gives the mean of n of them this distance to its bound."""
    return n * (half_width / _NORMAL.inv_cdf(confidence)) ** 2
