"""How rows are parted into runs, so that together they take least."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise


def cheapest_parts(count: int, costs: Callable[[int], Iterator[float]]) -> Iterator[range]:
    """The neighbours among `count` things that are run together, in order.

    Args:
        count: how many there are.
        costs: for a first thing, what it costs alone, with the next, with the next two, and so
            on for as many as fit; at least one.
    """
    best = [0.0] + [math.inf] * count
    since = [0] * (count + 1)
    for start in range(count):
        for end, cost in enumerate(costs(start), start + 1):
            if best[start] + cost < best[end]:
                best[end], since[end] = best[start] + cost, start
    cuts = [count]
    while cuts[-1]:
        cuts.append(since[cuts[-1]])
    cuts.reverse()
    for start, end in pairwise(cuts):
        yield range(start, end)


def padded_costs(
    widths: Sequence[int], *, most_tokens: int, run_tokens: int, most_lines: int = sys.maxsize
) -> Callable[[int], Iterator[float]]:
    """What it costs to run lines of these widths, padded to the widest, in tokens.

    Args:
        widths: tokens of each line.
        most_tokens: tokens that fit into a run, padding included; a line that is longer is alone.
        run_tokens: what a run costs whatever its size.
        most_lines: lines that fit into a run.
    """

    def costs(start: int) -> Iterator[float]:
        widest = 0
        for lines, width in enumerate(widths[start:], 1):
            widest = max(widest, width)
            if lines > 1 and (lines > most_lines or lines * widest > most_tokens):
                return
            yield run_tokens + lines * widest

    return costs
