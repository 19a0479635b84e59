"""Documents summed by the group they belong to: the units that statistics take for independent."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FEWEST = 2


def group_sums(values: NDArray[np.float64], groups: Sequence[str] | None) -> NDArray[np.float64]:
    """The values summed within each group, groups in the order of their first document.

    Args:
        values: one row per document, [n] or [n, k].
        groups: the group of each document, in the same order; None where each is one of its own.

    Returns:
        One row per group, [groups] or [groups, k].

    Raises:
        ValueError: fewer than two groups, or not one group for each document.
    """
    if groups is None:
        sums = values
    else:
        indices = _indices(groups, len(values))
        columns = values.reshape(len(values), -1).T
        summed = np.array([np.bincount(indices, weights=column) for column in columns])
        sums = summed.T.reshape(-1, *values.shape[1:])
    if len(sums) < FEWEST:
        what = "document" if groups is None else "cluster"
        raise ValueError(f"an interval takes {FEWEST} {what}s, and there is {len(sums)}")
    return sums


def _indices(groups: Sequence[str], n: int) -> NDArray[np.intp]:
    if len(groups) != n:
        raise ValueError(f"{n} documents, but clusters of {len(groups)}")
    order: dict[str, int] = {}
    return np.array([order.setdefault(group, len(order)) for group in groups], dtype=np.intp)
