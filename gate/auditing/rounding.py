"""Round-to-nearest recomputed: by which bits and groups a tensor became another, bit for bit.

What the quantizer `rtn` writes is an ordinary checkpoint, and nothing in it says how it was
rounded; the numbers do.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

_MOST_BITS = 8
_MATRIX = 2


class Rounding(NamedTuple):
    """Round-to-nearest with a scale and a minimum for each group of weights."""

    bits: int
    group_size: int

    def __str__(self) -> str:
        """In words, as the type of a tensor."""
        return f"rtn {self.bits}-bit in groups of {self.group_size}"

    def apply(self, tensor: "Tensor") -> "Tensor":
        """The tensor rounded, in its own type, by the formula of `gate.quantizers.rtn.quantize`."""
        import torch

        groups = tensor.float().reshape(-1, self.group_size)
        steps = 2**self.bits - 1
        low = groups.amin(dim=1, keepdim=True).half().float()
        scale = ((groups.amax(dim=1, keepdim=True) - low) / steps).half().float()
        codes = ((groups - low) / torch.where(scale > 0, scale, 1.0)).round().clamp(0, steps)
        return (low + scale * codes).reshape(tensor.shape).to(tensor.dtype)


def find_rounding(
    before: "Tensor", after: "Tensor", *, first: Rounding | None = None
) -> Rounding | None:
    """The rounding that makes one matrix the other, bit for bit; None where there is none.

    Args:
        before: the matrix before rounding.
        after: the matrix, in the same type.
        first: a rounding to try before all others.
    """
    if before.dim() != _MATRIX or before.dtype != after.dtype or not before.numel():
        return None
    if first and before.shape[1] % first.group_size == 0 and after.equal(first.apply(before)):
        return first
    # a middle row tells nearly all candidates off before the whole matrix is computed
    row = slice(len(before) // 2, len(before) // 2 + 1)
    for candidate in _candidates(before.shape[1]):
        if after[row].equal(candidate.apply(before[row])) and after.equal(candidate.apply(before)):
            return candidate
    return None


def _candidates(width: int) -> list[Rounding]:
    sizes = [size for size in range(width, 0, -1) if width % size == 0]
    return [Rounding(bits, size) for bits in range(1, _MOST_BITS + 1) for size in sizes]
