"""Rows of token ids as batches for llama.cpp, in which what rows begin with is held once."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from gate.engines.interface import ScoreRow, shared_length

AT_ONCE = 256
"""Tokens that rows are gathered up to; each attends to all that are in memory, its own or not."""


class Token(NamedTuple):
    """A token of a batch: its place in the sequences it belongs to, and whether to give logits."""

    id: int
    position: int
    sequences: Sequence[int]
    is_read: bool = False


class Line(NamedTuple):
    """Token ids that one sequence is to hold, and the position from which on logits are read."""

    ids: tuple[int, ...]
    first: int


class Layout(NamedTuple):
    """A batch of tokens.

    Attributes:
        tokens: what to run.
        reads: for each line, which of the logits that come back are its own, in order.
    """

    tokens: list[Token]
    reads: list[list[int]]


def lay_out(lines: Sequence[Line], *, start: int = 0, shares: bool = True) -> Layout:
    """Lines as a tree: where two begin alike, a token belongs to both, and is read once for both.

    Args:
        lines: one for each sequence, in order.
        start: how many ids of every line are in memory already.
        shares: whether a token may belong to several sequences.
    """
    branches: dict[tuple[int, int, int], int] = {}
    tokens: list[tuple[int, int]] = []
    members: list[list[int]] = []
    paths: list[list[int]] = []
    for sequence, line in enumerate(lines):
        node, path = -1, []
        for place in range(start, len(line.ids)):
            step = (node, line.ids[place], -1 if shares else sequence)
            node = branches.setdefault(step, len(tokens))
            if node == len(tokens):
                tokens.append((line.ids[place], place))
                members.append([])
            members[node].append(sequence)
            path.append(node)
        paths.append(path[line.first - start :])
    nodes = sorted({node for path in paths for node in path})
    read = {node: index for index, node in enumerate(nodes)}
    return Layout(
        [Token(*token, members[node], node in read) for node, token in enumerate(tokens)],
        [[read[node] for node in path] for path in paths],
    )


def opening_of(lines: Sequence[Line]) -> tuple[int, ...]:
    """The ids that all lines begin with and none reads; none where there is one line only."""
    if len(lines) < 2:  # noqa: PLR2004
        return ()
    limit = min(line.first for line in lines)
    return lines[0].ids[: shared_length([line.ids for line in lines], limit)]


def gather(
    rows: Sequence[ScoreRow], *, most_rows: int, start: int = 0, shares: bool = True
) -> Iterator[list[ScoreRow]]:
    """Rows in order, in batches of `AT_ONCE` tokens; those of one context stay together.

    Args:
        rows: those of one context beside each other.
        most_rows: of a batch; more than these of one context are parted.
        start: how many ids of every row are in memory already.
        shares: whether rows of one context hold it once.
    """
    batch: list[ScoreRow] = []
    size = 0
    for part in _siblings(rows, most_rows if shares else 1):
        context = len(part[0].context)
        added = context - start + sum(len(row.ids) - context for row in part)
        if batch and (len(batch) + len(part) > most_rows or size + added > AT_ONCE):
            yield batch
            batch, size = [], 0
        batch = batch + part
        size += added
    if batch:
        yield batch


def _siblings(rows: Sequence[ScoreRow], most: int) -> Iterator[list[ScoreRow]]:
    """Rows of one context, at most so many at once."""
    for _, group in groupby(rows, key=lambda row: row.context):
        siblings = list(group)
        for start in range(0, len(siblings), most):
            yield siblings[start : start + most]
