"""How often sequential checks err, and how soon they stop: paths drawn, verdicts by the judge.

At each look the judge's verdict on a binary metric depends on gains, losses and documents so far.
It is asked once where each look passes and fails; many paths are then held against the answers.
"""

from typing import NamedTuple

import numpy as np
from enumeration import Region, judged_outcomes, region
from numpy.typing import NDArray
from simulation import Share
from trials import flipped, judged

from gate.judging.looks import look_sizes
from gate.result_records import Outcome
from gate.terms import Sequential


class Candidate(NamedTuple):
    """A candidate as it is in truth.

    Attributes:
        flip_rate: share of documents that change, in either direction.
        change: in the share right.
        margin: loss that is allowed.
    """

    flip_rate: float
    change: float
    margin: float

    @property
    def shares(self) -> tuple[float, float, float]:
        """Probabilities of a gain, of a loss and of neither."""
        gain, loss = (self.flip_rate + self.change) / 2, (self.flip_rate - self.change) / 2
        return gain, loss, 1 - gain - loss


class Stopped(NamedTuple):
    """What became of many paths.

    Attributes:
        promoted: share that passed at any look.
        blocked: share that failed at any look.
        documents: documents seen by each path; all of them where it was never decided.
    """

    promoted: Share
    blocked: Share
    documents: NDArray[np.int64]


class Paths:
    """Draws paths, and remembers where the judge passes and fails at each look."""

    def __init__(self, documents: int) -> None:
        """Looks as a run has them that may use so many documents."""
        self.looks = look_sizes(Sequential(), documents)
        self._regions: dict[tuple[int, float], Region] = {}

    def follow(self, candidate: Candidate, *, paths: int, seed: int) -> Stopped:
        """So many candidates, each until it is decided or all documents are used."""
        random = np.random.default_rng(seed)
        steps = np.diff(self.looks, prepend=0)
        gains = losses = np.zeros(paths, dtype=np.int64)
        documents = np.full(paths, self.looks[-1])
        is_open = np.ones(paths, dtype=bool)
        ended = {"pass": 0, "fail": 0}
        for look, step in zip(self.looks, steps, strict=True):
            drawn = random.multinomial(step, candidate.shares, size=paths)
            gains, losses = gains + drawn[:, 0], losses + drawn[:, 1]
            if not is_open.any():
                break
            where = self._region(look, candidate.margin, gains[is_open])
            for outcome, is_so in _decided(where, gains, losses).items():
                now = is_open & is_so
                ended[outcome] += int(now.sum())
                documents[now] = look
                is_open &= ~is_so
        return Stopped(
            promoted=Share(ended["pass"] / paths, paths),
            blocked=Share(ended["fail"] / paths, paths),
            documents=documents,
        )

    def agreement(self, candidate: Candidate, *, runs: int, seed: int) -> int:
        """Of so many whole runs through the judge, those that end as the looks alone say."""
        random = np.random.default_rng(seed)
        changes = np.array([1, -1, 0], dtype=np.int8)
        drawn = random.choice(changes, size=(runs, self.looks[-1]), p=candidate.shares)
        return sum(self._is_agreed(differences, candidate.margin) for differences in drawn)

    def _is_agreed(self, differences: NDArray[np.int8], margin: float) -> bool:
        (result,) = judged([flipped(differences)], margin, looks={"task": self.looks})
        seen = result.looks[-1].documents if result.looks else 0
        expected: tuple[Outcome, int] = ("inconclusive", self.looks[-1])
        for look in self.looks:
            gains, losses = (np.array([(differences[:look] == sign).sum()]) for sign in (1, -1))
            decided = _decided(self._region(look, margin, gains), gains, losses)
            outcome = next((name for name, is_so in decided.items() if is_so[0]), None)
            if outcome is not None:
                expected = (outcome, look)
                break
        return (result.outcome, seen) == expected

    def _region(self, look: int, margin: float, gains: NDArray[np.int64]) -> Region:
        asked = range(int(gains.min()), int(gains.max()) + 1)
        known = self._regions.get((look, margin))
        if known is None or not {asked[0], asked[-1]} <= set(known.gains):
            before = known.gains if known else asked
            both = range(min(asked[0], before[0]), max(asked[-1], before[-1]) + 1)
            outcome = judged_outcomes(look, margin, is_look=True)
            known = self._regions[look, margin] = region(look, outcome, gains=both)
        return known


def _decided(
    where: Region, gains: NDArray[np.int64], losses: NDArray[np.int64]
) -> dict[Outcome, NDArray[np.bool_]]:
    """Which paths pass and fail; those outside the region have been decided before."""
    known = np.clip(gains - where.gains[0], 0, len(where.gains) - 1)
    return {"pass": losses <= where.passing[known], "fail": losses >= where.failing[known]}
