"""Several adapters on one tensor: their deltas combined, seeded, the same in any row blocks."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from gate.merging.changes import PreparedChange, row_blocks

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["linear", "sequential", "ties", "dare_linear", "dare_ties", "magnitude_prune"]

_Delta = Callable[[int, int], "Tensor"]
_HALF_BITS = 16
_HALF = 1 << _HALF_BITS


class Combination:
    """The change of several adapters, or of one that is weighted or pruned, to one tensor.

    All methods work on the deltas themselves, d_i = merged_i - base: `linear` is
    base + sum w_i d_i; `sequential` applies one after the other; `magnitude_prune` keeps the
    share `density` of each d_i that is largest; `dare_linear` (arXiv:2311.03099) keeps a random
    share and divides it by `density`; `ties` (arXiv:2306.01708) and `dare_ties` prune likewise,
    elect a sign for each element by the sum of the pruned deltas, and take the mean over those
    that agree with it. Pruning, election and mean agree with peft.utils.merge_utils 0.21.
    """

    def __init__(
        self,
        changes: Sequence[PreparedChange],
        weights: Sequence[float],
        base: "Tensor",
        *,
        method: Method,
        density: float,
        seed: int,
        name: str,
    ) -> None:
        """Find what pruning keeps.

        Args:
            changes: what each adapter does to the tensor.
            weights: a factor for each of them.
            base: the base's tensor.
            method: how to combine.
            density: share of each delta that pruning keeps, in (0, 1].
            seed: of the random pruning.
            name: the tensor's name, which the random pruning depends on too.
        """
        self._changes = changes
        self._weights = weights
        self._base = base
        self._method = method
        self._density = density
        self._columns = base[0].numel() if base.ndim > 1 else 1
        self._keys = [
            hashlib.sha256(f"{seed}:{one.change.adapter}:{name}".encode()).digest()[:16]
            for one in changes
        ]
        self._thresholds: list[float] = []
        if method in ("ties", "magnitude_prune") and density < 1.0:
            self._thresholds = [_kth_largest(self._delta_of(one), base, density) for one in changes]

    def apply(self, block: "Tensor", start: int, stop: int) -> "Tensor":
        """Turn rows [start, stop) of the base into the merged ones."""
        if self._method in ("linear", "sequential"):
            return self._in_order(block, start, stop)
        pruned = [
            self._prune(number, self._delta(one, block, start, stop), start)
            for number, one in enumerate(self._changes)
        ]
        if self._method in ("ties", "dare_ties"):
            return block + self._disjoint_mean(pruned)
        for delta, weight in zip(pruned, self._weights, strict=True):
            block = block + weight * delta
        return block

    def _in_order(self, block: "Tensor", start: int, stop: int) -> "Tensor":
        base = block
        block = block.clone()
        for one, weight in zip(self._changes, self._weights, strict=True):
            if one.is_product:
                one.add_product(block, start, stop, weight=weight)
            else:
                ground = block if self._method == "sequential" else base
                block = block + weight * (one.apply(ground.clone(), start, stop) - ground)
        return block

    def _delta(self, one: PreparedChange, block: "Tensor", start: int, stop: int) -> "Tensor":
        import torch

        if one.is_product:
            delta = torch.zeros_like(block)
            one.add_product(delta, start, stop)
            return delta
        return one.apply(block.clone(), start, stop) - block

    def _delta_of(self, one: PreparedChange) -> _Delta:
        def rows(start: int, stop: int) -> "Tensor":
            return self._delta(one, self._base[start:stop].float(), start, stop)

        return rows

    def _prune(self, number: int, delta: "Tensor", start: int) -> "Tensor":
        if self._density >= 1.0:
            return delta
        if self._thresholds:
            return delta * (delta.abs() >= self._thresholds[number])
        kept = self._random(number, start * self._columns, delta.numel())
        return delta * kept.view(delta.shape).to(delta.device) / self._density

    def _random(self, number: int, first: int, count: int) -> "Tensor":
        """Which of `count` elements from the `first` on are kept.

        Bit e of the stream is 32 raw bits of Philox, which NumPy keeps the same across versions.
        """
        import torch

        key = np.frombuffer(self._keys[number], dtype="<u8")
        stream = np.random.Philox(key=key)
        pairs_before = first // 2
        # a Philox step gives four words; advance counts steps
        stream.advance(pairs_before // 4)
        skipped = pairs_before % 4
        words = stream.random_raw(skipped + (first % 2 + count + 1) // 2)[skipped:]
        bits = words.astype("<u8").view("<u4")[first % 2 : first % 2 + count]
        return torch.from_numpy(bits < round(self._density * 2**32))

    def _disjoint_mean(self, pruned: "list[Tensor]") -> "Tensor":
        import torch

        stacked = torch.stack(pruned)
        elected = torch.where(stacked.sum(0) >= 0, 1.0, -1.0)
        agrees = stacked.sign() == elected
        weights = torch.tensor(self._weights, device=stacked.device)
        weights = weights.view(-1, *(1,) * (stacked.ndim - 1))
        total = (stacked * weights * agrees).sum(0)
        return total / agrees.sum(0).clamp(min=1)


def _kth_largest(delta: _Delta, base: "Tensor", density: float) -> float:
    """The smallest magnitude that pruning to a density keeps, found in two passes over blocks.

    The bits of a non-negative float32 sort as the number does: the first pass counts their upper
    half, the second one the lower half within the bin that the k-th largest is in.
    """
    import torch

    keep = int(density * base.numel())
    if keep == 0:
        return float("inf")
    blocks = row_blocks(base.shape[0], base[0].numel() if base.ndim > 1 else 1)

    def count(within: int | None) -> "Tensor":
        total = torch.zeros(_HALF, dtype=torch.int64)
        for start, stop in blocks:
            bits = delta(start, stop).abs().flatten().view(torch.int32).cpu()
            upper = bits >> _HALF_BITS
            chosen = upper if within is None else bits[upper == within] & (_HALF - 1)
            total += torch.bincount(chosen, minlength=_HALF)
        return total

    upper, left = _bin_of(count(None), keep)
    lower, _ = _bin_of(count(upper), left)
    bits = torch.tensor([(upper << _HALF_BITS) | lower], dtype=torch.int32)
    return float(bits.view(torch.float32))


def _bin_of(counts: "Tensor", keep: int) -> tuple[int, int]:
    """The bin that the keep-th largest is in, and which largest of that bin it is."""
    from_above = counts.flip(0).cumsum(0)
    place = int((from_above >= keep).nonzero()[0])
    before = int(from_above[place - 1]) if place else 0
    return len(counts) - 1 - place, keep - before
