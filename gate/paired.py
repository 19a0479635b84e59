"""Two scores of the same documents as arrays: values turned so that larger is better, clusters."""

import math

import numpy as np
from numpy.typing import NDArray

from gate.evaluation_records import Score
from gate.result_records import Estimate
from gate.stats.sequential import Looks


def oriented_values(score: Score) -> NDArray[np.float64]:
    """The metric's value of each document, turned so that larger is better."""
    values: NDArray[np.float64] = score.samples.column("value")
    return orientation(score) * values


def orientation(score: Score) -> float:
    """1.0 where a higher metric is better, else -1.0."""
    return 1.0 if score.higher_is_better else -1.0


def clusters_of(score: Score, *, is_look: bool = False) -> tuple[str, ...] | None:
    """The cluster of each document; None where each document stands alone.

    Where no cluster has two documents, documents are what varies independently.

    Args:
        score: one sample per document.
        is_look: whether these are only the first documents: then a cluster that has one may get
            another, and what is independent must not change from look to look.
    """
    names = score.samples.column("cluster").tolist()
    if None in names or (not is_look and len(set(names)) == len(names)):
        return None
    return tuple(names)


def at_look(estimate: Estimate, looks: Looks, *, confidence: float) -> Estimate:
    """The estimate, its method telling the look and what it leaves to chance.

    Args:
        estimate: with its interval at `looks.confidence_at(confidence)`.
        looks: the look, among all that are planned.
        confidence: what all looks together hold.
    """
    level = looks.confidence_at(confidence)
    decimals = max(0, 1 - math.floor(math.log10(100 * (1 - level))))
    method = (
        f"{estimate.method}, at the {100 * level:.{decimals}f} % of O'Brien-Fleming's look "
        f"{looks.at + 1} of {len(looks.sizes)}"
    )
    return estimate.model_copy(update={"method": method})
