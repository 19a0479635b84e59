"""Combinations of several adapters' deltas that prune them: TIES, DARE and magnitude pruning.

Agrees with peft.utils.merge_utils of peft 0.21 on dense float32 deltas; what DARE drops is drawn
by a counter-based generator, so that it can be drawn again.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["linear", "sequential", "ties", "dare_linear", "dare_ties", "magnitude_prune"]
METHODS: tuple[Method, ...] = (
    "linear",
    "sequential",
    "ties",
    "dare_linear",
    "dare_ties",
    "magnitude_prune",
)
_WORDS_A_STEP = 8
_BINS = 1 << 16
_HALF_BITS = 16


class Combination(NamedTuple):
    """How deltas are combined.

    Attributes:
        method: by its name in gate.yaml.
        density: share of each delta that pruning keeps.
        seed: of what DARE drops.
    """

    method: Method = "linear"
    density: float = 1.0
    seed: int = 0

    @property
    def is_sum(self) -> bool:
        """Whether deltas are only weighted and added."""
        return self.method in ("linear", "sequential")

    @property
    def elects(self) -> bool:
        """Whether a sign is elected for each element."""
        return self.method in ("ties", "dare_ties")

    @property
    def by_magnitude(self) -> bool:
        """Whether the largest elements are kept, rather than random ones."""
        return self.method in ("ties", "magnitude_prune")


def kept_at_random(
    combination: Combination, adapter: int, tensor: str, start: int, stop: int
) -> "Tensor":
    """Which of the elements [start, stop) of a tensor DARE keeps, in row-major order."""
    import torch

    key = hashlib.sha256(f"{combination.seed}:{adapter}:{tensor}".encode()).digest()[:16]
    stream = np.random.Philox(key=np.frombuffer(key, dtype="<u8"))
    first = start // _WORDS_A_STEP
    stream.advance(first)
    skipped = start - first * _WORDS_A_STEP
    count = skipped + stop - start
    words = stream.random_raw((count + 1) // 2).astype("<u8").view("<u4")
    kept = words[skipped:count] < round(combination.density * 2**32)
    return torch.from_numpy(kept)


def threshold(blocks: Callable[[], "Iterable[Tensor]"], count: int, density: float) -> float:
    """The k-th largest magnitude of a delta that comes in blocks, k = int(density * count).

    The bits of non-negative float32 numbers are in the numbers' order: the upper half of the bits
    is counted first, then the lower half where the k-th largest is.
    """
    import torch

    left = int(density * count)
    if left == 0:
        return float("inf")
    upper = 0
    for is_first in (True, False):
        counts = torch.zeros(_BINS, dtype=torch.int64)
        for block in blocks():
            bits = block.abs().flatten().view(torch.int32)
            high = bits >> _HALF_BITS
            chosen = high if is_first else bits[high == upper] & (_BINS - 1)
            counts += torch.bincount(chosen, minlength=_BINS)
        above = counts.flip(0).cumsum(0)
        place = int((above < left).sum())
        left -= int(above[place - 1]) if place else 0
        found = _BINS - 1 - place
        upper, lower = (found, 0) if is_first else (upper, found)
    bits = torch.tensor([(upper << _HALF_BITS) | lower], dtype=torch.int32)
    return float(bits.view(torch.float32))


def combine(
    deltas: "Sequence[Tensor]",
    kept: "Sequence[Tensor]",
    weights: Sequence[float],
    combination: Combination,
    *,
    elected: "Tensor | None" = None,
) -> "Tensor":
    """The change that pruned deltas make together.

    Args:
        deltas: what each adapter adds, unweighted.
        kept: which elements of each are kept.
        weights: of the adapters.
        combination: how to combine.
        elected: +1 or -1 for each element; None to elect them by the sum of the deltas.
    """
    import torch

    pruned = torch.stack([one * keep for one, keep in zip(deltas, kept, strict=True)])
    if not combination.by_magnitude and combination.density < 1.0:
        pruned = pruned / combination.density
    factors = torch.tensor(weights, dtype=pruned.dtype).view(-1, *(1,) * (pruned.ndim - 1))
    if not combination.elects:
        return (pruned * factors).sum(0)
    signs = torch.where(pruned.sum(0) >= 0, 1.0, -1.0) if elected is None else elected
    agrees = pruned.sign() == signs
    return (pruned * factors * agrees).sum(0) / agrees.sum(0).clamp(min=1)


class Doubtful(NamedTuple):
    """Deltas of some elements in float64, with what float32 leaves open; one list entry an adapter.

    Attributes:
        deltas: what each adapter adds, unweighted.
        errors: what float32 may be off by in it.
        kept: whether pruning keeps it.
        is_sure: whether that does not hang on the last bits.
    """

    deltas: "Sequence[Tensor]"
    errors: "Sequence[Tensor]"
    kept: "Sequence[Tensor]"
    is_sure: "Sequence[Tensor]"


def alternatives(
    doubtful: Doubtful, weights: Sequence[float], combination: Combination
) -> "Iterable[tuple[Tensor, Tensor, Tensor]]":
    """Every change that float32 arithmetic may come to: its value, its error, and where it may."""
    import torch

    deltas, errors, kept, is_sure = doubtful
    scale = 1.0 if combination.by_magnitude else 1.0 / combination.density
    error = torch.stack([abs(w) * one * scale for w, one in zip(weights, errors, strict=True)]).sum(
        0
    )
    for flips in product((False, True), repeat=len(deltas)):
        allowed = torch.ones_like(deltas[0], dtype=torch.bool)
        chosen = []
        for flip, keep, sure in zip(flips, kept, is_sure, strict=True):
            chosen.append(~keep if flip else keep)
            allowed = allowed & ~sure if flip else allowed
        if not bool(allowed.any()):
            continue
        if not combination.elects:
            yield combine(deltas, chosen, weights, combination), error, allowed
            continue
        votes = torch.stack([one * keep for one, keep in zip(deltas, chosen, strict=True)]).sum(0)
        doubt = 2 * torch.stack(list(errors)).sum(0)
        for sign in (1.0, -1.0):
            possible = allowed & (votes >= -doubt if sign > 0 else votes <= doubt)
            elected = torch.full_like(votes, sign)
            value = combine(deltas, chosen, weights, combination, elected=elected)
            yield value, error, possible
