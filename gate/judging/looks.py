"""At how many documents a sequential run looks."""

import math
from collections.abc import Iterable

from gate.evaluation_records import Score
from gate.terms import Sequential, Task

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


def planned_looks(
    sequential: Sequential | None, tasks: Iterable[Task], scores: Iterable[Score]
) -> dict[str, tuple[int, ...]]:
    """{task: documents at each planned look}, of the tasks that any variant was evaluated on.

    Empty where the suite is not sequential.
    """
    if sequential is None:
        return {}
    limits = {task.name: task.limit for task in tasks}
    found: dict[str, tuple[int, ...]] = {}
    for score in scores:
        documents = min(score.available, limits[score.task] or score.available)
        found.setdefault(score.task, look_sizes(sequential, documents))
    return found
