"""The share of documents on which two variants differ, whichever of them is right."""

import numpy as np
from numpy.typing import NDArray

from gate.evaluation_records import Score
from gate.paired import clusters_of, oriented_values
from gate.result_records import Estimate, Flips
from gate.stats import clusters, proportions
from gate.stats.intervals import Interval

PACKAGES = ("numpy", "scipy")


def compare(reference: Score, candidate: Score, *, confidence: float) -> Estimate:
    """How many documents changed: a binary metric's value, or else the answer.

    Gains and losses that cancel in a mean are counted here: a quantization can keep the
    accuracy and still answer otherwise (Dutta et al. 2024, arXiv:2407.09141). Where documents
    share clusters, the outer envelope of Student's interval over clusters and Clopper and
    Pearson's of as many documents as `clusters.least_design_effect` leaves, within [0, 1].

    Args:
        reference: one sample per document.
        candidate: the same documents in the same order; one at the least.
        confidence: one-sided confidence of each end of the interval.
    """
    if reference.is_binary:
        changes = oriented_values(candidate) - oriented_values(reference)
        changed, flips = np.abs(np.sign(changes)), _flips(changes)
    else:
        changed, flips = _changed_answers(reference, candidate), None
    groups = clusters_of(reference)
    n, count = len(changed), int(np.count_nonzero(changed))
    effect = 1.0 if groups is None else clusters.least_design_effect(groups)
    found = proportions.clopper_pearson(count / effect, n / effect, confidence=confidence)
    method, error = "Clopper-Pearson interval", None
    if groups is not None:
        method = f"{method} of the effective documents"
    if groups is not None and len(set(groups)) > 1 and 0 < count < n:
        alike = clusters.cluster_interval(changed, groups, confidence=confidence)
        low, high = alike.interval
        found = Interval(max(0.0, min(found.low, low)), min(1.0, max(found.high, high)))
        error = alike.standard_error
        method = f"{method} and t over clusters, outer envelope"
    return Estimate(
        value=count / n,
        low=found.low,
        high=found.high,
        n=n,
        unit=f"share of documents whose {'correctness' if flips else 'answer'} changed",
        method=method,
        flips=flips,
        clusters=None if groups is None else len(set(groups)),
        standard_error=error,
    )


def interval(gains: int, losses: int, *, n: int, confidence: float) -> Interval:
    """The interval that so many gains and losses of a binary metric would have.

    Args:
        gains: documents wrong under the reference and right under the candidate.
        losses: documents right under the reference and wrong under the candidate.
        n: paired documents, none of which share a cluster.
        confidence: one-sided.
    """
    return proportions.clopper_pearson(gains + losses, n, confidence=confidence)


def _flips(changes: NDArray[np.float64]) -> Flips:
    gains, losses = int(np.count_nonzero(changes > 0)), int(np.count_nonzero(changes < 0))
    return Flips(gains=gains, losses=losses, mid_p=proportions.mid_p_mcnemar(gains, losses))


def _changed_answers(reference: Score, candidate: Score) -> NDArray[np.float64]:
    """1 for each document whose answer changed, else 0."""
    before, after = (score.samples.column("answer") for score in (reference, candidate))
    return np.asarray(before != after, dtype=np.float64)
