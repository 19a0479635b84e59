"""What an adapter does to one tensor of the checkpoint, row block by row block, in float32."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True)
class LowRank:
    """scale * left @ right, in the orientation in which the checkpoint stores the tensor.

    Attributes:
        left: (rows, rank).
        right: (rank, columns).
        scale: alpha / r, or alpha / sqrt(r) for rsLoRA; the adapter's weight is not in it.
        magnitude: DoRA's norms: one for each output feature.
        outputs_are_rows: whether output features are the tensor's rows (they are its columns
            where it is stored transposed, as Conv1D and embeddings are).
    """

    left: "Tensor"
    right: "Tensor"
    scale: float
    magnitude: "Tensor | None" = None
    outputs_are_rows: bool = True


@dataclass(frozen=True)
class Change:
    """Everything one adapter does to one tensor, in this order.

    Attributes:
        adapter: position of the adapter among those that are merged.
        replacement: the tensor that takes the base's place, which may have more rows.
        low_rank: the product to add.
        addition: what to add to a bias, with its scale already in it.
        rows: (indices, values) of rows to replace.
    """

    adapter: int
    replacement: "Tensor | None" = None
    low_rank: LowRank | None = None
    addition: "Tensor | None" = None
    rows: "tuple[list[int], Tensor] | None" = None

    @property
    def is_nothing(self) -> bool:
        """Whether it leaves the tensor as it is."""
        parts = (self.replacement, self.low_rank, self.addition, self.rows)
        return all(part is None for part in parts)

    @property
    def is_delta(self) -> bool:
        """Whether it is a sum that can be weighted and combined, and replaces nothing."""
        return self.replacement is None and self.rows is None


class PreparedChange:
    """A change with its factors in float32, ready to be applied to row blocks."""

    def __init__(self, change: Change, base: "Tensor", *, where: "device") -> None:
        """Widen the factors, and measure the norms that DoRA divides by.

        Args:
            change: what to do.
            base: the base's tensor, (rows, columns) or a vector.
            where: the device to calculate on.
        """
        import torch

        self.change = change
        self._float32 = torch.float32
        low_rank = change.low_rank
        self._factor: Tensor | None = None
        if low_rank is not None:
            self._left = low_rank.left.to(where).float().contiguous()
            self._right = low_rank.right.to(where).float().contiguous()
            if low_rank.magnitude is not None:
                self._factor = self._dora_factor(low_rank, base, where)

    @property
    def squared_norm(self) -> float | None:
        """||delta||^2 of a plain product, from its factors alone; None for any other change."""
        low_rank = self.change.low_rank
        if not self.is_product or low_rank is None:
            return None
        gram = (self._left.T @ self._left).double() * (self._right @ self._right.T).double()
        return low_rank.scale**2 * float(gram.sum())

    @property
    def is_product(self) -> bool:
        """Whether it is nothing but scale * left @ right."""
        change = self.change
        others = (change.replacement, change.addition, change.rows, self._factor)
        return change.low_rank is not None and all(other is None for other in others)

    def add_product(self, block: "Tensor", start: int, stop: int, *, weight: float = 1.0) -> None:
        """Add the rows [start, stop) of weight * scale * left @ right to a block, in place."""
        low_rank = self.change.low_rank
        if low_rank is not None:
            block.addmm_(self._left[start:stop], self._right, alpha=weight * low_rank.scale)

    def product(self, start: int, stop: int) -> "Tensor":
        """The rows [start, stop) of scale * left @ right."""
        low_rank = self.change.low_rank
        scale = 0.0 if low_rank is None else low_rank.scale
        return (self._left[start:stop] @ self._right).mul_(scale)

    def is_minute(self, base: "Tensor") -> bool:
        """Whether a plain product is so small that float32 sums do not show what is lost of it."""
        squared_norm = self.squared_norm
        if squared_norm is None or not base.numel():
            return False
        some = base[: max(1, _BLOCK_ELEMENTS // max(1, base[0].numel()))].float()
        return bool(squared_norm / base.numel() < _MINUTE**2 * float(some.square().mean()))

    def apply(self, block: "Tensor", start: int, stop: int) -> "Tensor":
        """Turn rows [start, stop) of the base into the merged ones, in place where possible.

        Args:
            block: those rows of the base in float32; of a resized tensor, as many as there are.
            start: the first row.
            stop: the row after the last one.
        """
        change = self.change
        if change.replacement is not None:
            block = change.replacement[start:stop].to(block.device, self._float32, copy=True)
        self.add_product(block, start, stop)
        if self._factor is not None:
            block *= self._factor[start:stop] if len(self._factor) > 1 else self._factor
        if change.addition is not None:
            block += change.addition[start:stop].to(block.device)
        if change.rows is not None:
            self._replace_rows(block, start, stop)
        return block

    def _replace_rows(self, block: "Tensor", start: int, stop: int) -> None:
        indices, values = self.change.rows or ([], block)
        for position, row in enumerate(indices):
            if start <= row < stop:
                block[row - start] = values[position].to(block.device).float()

    def _dora_factor(self, low_rank: LowRank, base: "Tensor", where: "device") -> "Tensor":
        """DoRA's magnitude / ||W + delta|| over each output feature; (rows, 1) or (1, columns).

        Agrees with peft 0.21's DoraLinearVariant (arXiv:2402.09353, equation 5).
        """
        import torch

        rows = base.shape[0]
        squares = []
        for start, stop in row_blocks(rows, base.shape[1]):
            block = base[start:stop].to(where, torch.float32, copy=True)
            self.add_product(block, start, stop)
            squares.append(block.double().square().sum(1 if low_rank.outputs_are_rows else 0))
        joined = torch.cat(squares) if low_rank.outputs_are_rows else torch.stack(squares).sum(0)
        magnitude = (low_rank.magnitude if low_rank.magnitude is not None else joined).to(where)
        factor = (magnitude.double().flatten() / joined.sqrt()).float()
        return factor[:, None] if low_rank.outputs_are_rows else factor[None, :]


_BLOCK_ELEMENTS = 1 << 19
_MINUTE = 1e-4
"""A change of this share of the weights is told from float32's own rounding to 0.1 %."""


def row_blocks(rows: int, columns: int) -> list[tuple[int, int]]:
    """Cut rows into blocks of about half a million elements, which stay in a core's cache."""
    height = max(1, _BLOCK_ELEMENTS // max(1, columns))
    return [(start, min(start + height, rows)) for start in range(0, rows, height)]
