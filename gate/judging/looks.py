"""At how many documents a sequential run looks."""

import math

from gate.terms import Sequential

_STEP = 50
"""Documents that are scored together: a look that ends where they do asks none of them twice."""


def look_sizes(sequential: Sequential, documents: int) -> tuple[int, ...]:
    """Documents at each planned look, growing; the last one is at all of them.

    Where the first look is a multiple of 50, so is every one but the last.

    Args:
        sequential: the first look, and how many times as many the next one takes.
        documents: how many there are, at least 1.
    """
    step = 1 if sequential.first % _STEP else _STEP
    sizes = []
    size = sequential.first
    while size < documents:
        sizes.append(size)
        grown = math.ceil(round(size * sequential.growth / step, 9)) * step
        size = max(grown, size + step)
    return (*sizes, documents)
