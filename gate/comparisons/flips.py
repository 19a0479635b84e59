"""The share of documents on which two variants differ, whichever of them is right."""

import numpy as np

from gate.evaluation_records import Score
from gate.result_records import Estimate, Flips
from gate.stats import proportions

PACKAGES = ("numpy", "scipy")


def compare(reference: Score, candidate: Score, *, confidence: float) -> Estimate:
    """How many documents changed: a binary metric's value, or else the answer.

    Gains and losses that cancel in a mean are counted here: a quantization can keep the
    accuracy and still answer otherwise (Dutta et al. 2024, arXiv:2407.09141).

    Args:
        reference: one sample per document.
        candidate: the same documents in the same order; one at the least.
        confidence: one-sided confidence of each end of the interval.
    """
    flips = _flips(reference, candidate) if reference.is_binary else None
    changed = flips.gains + flips.losses if flips else _changed_answers(reference, candidate)
    n = len(reference.samples)
    low, high = proportions.clopper_pearson(changed, n, confidence=confidence)
    what = "correctness" if flips else "answer"
    return Estimate(
        value=changed / n,
        low=low,
        high=high,
        n=n,
        unit=f"share of documents whose {what} changed",
        method="Clopper-Pearson interval",
        flips=flips,
    )


def _flips(reference: Score, candidate: Score) -> Flips:
    before, after = ([sample.value for sample in score.samples] for score in (reference, candidate))
    changes = np.subtract(after, before)
    rises, falls = int(np.count_nonzero(changes > 0)), int(np.count_nonzero(changes < 0))
    gains, losses = (rises, falls) if reference.higher_is_better else (falls, rises)
    return Flips(gains=gains, losses=losses, mid_p=proportions.mid_p_mcnemar(gains, losses))


def _changed_answers(reference: Score, candidate: Score) -> int:
    pairs = zip(reference.samples, candidate.samples, strict=True)
    return sum(before.answer != after.answer for before, after in pairs)
