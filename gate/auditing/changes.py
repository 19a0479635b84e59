"""What one adapter does to one tensor as it lies on disk: a product, a replacement, some rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor, dtype

BLOCK_ELEMENTS = 1 << 19
FLOAT32_HALF_UNIT = 2.0**-24

ProductKind = Literal["linear", "wide", "vector"]
"""How peft rounds its delta: wide ones (embeddings, stacked experts) to the weight's type first."""


@dataclass(frozen=True)
class Product:
    """scale * left @ right for each matrix of a tensor, in the orientation that is on disk.

    Attributes:
        left: (matrices, rows of each, rank).
        right: (matrices, rank, columns).
        scale: alpha / r or alpha / sqrt(r), times the adapter's weight.
        kind: a linear layer, a wide one, or a vector (the bias of lora_bias).
        magnitude: DoRA's norms, one for each output feature, else None.
        outputs_are_rows: whether output features are rows of the tensor on disk.
        is_rank_stabilized: whether the scale divides by sqrt(r).
    """

    left: "Tensor"
    right: "Tensor"
    scale: float
    kind: ProductKind = "linear"
    magnitude: "Tensor | None" = None
    outputs_are_rows: bool = True
    is_rank_stabilized: bool = False

    @property
    def rank(self) -> int:
        """The number of products that are summed up for an element."""
        return int(self.right.shape[1])

    @property
    def rows(self) -> int:
        """Rows of all matrices together."""
        return int(self.left.shape[0] * self.left.shape[1])

    @property
    def columns(self) -> int:
        """Columns of the tensor."""
        return int(self.right.shape[2])

    def block(self, start: int, stop: int, rounded_to: "dtype | None" = None) -> "Tensor":
        """Rows [start, stop) of left @ right in float32; they must be of one matrix."""
        left, right = self._factors(start, stop, rounded_to)
        return left @ right

    def added_to(self, base: "Tensor", start: int, stop: int, *, weight: float) -> "Tensor":
        """Rows [start, stop) of base + weight * scale * left @ right in float32, in one pass."""
        import torch

        left, right = self._factors(start, stop, None)
        return torch.addmm(base, left, right, alpha=weight * self.scale)

    def error_block(self, start: int, stop: int) -> "Tensor":
        """What summing in float32 may be off by, at most, in rows [start, stop) of left @ right."""
        left, right = self._factors(start, stop, None)
        return (left.abs() @ right.abs()) * self._unit

    def elements(
        self, rows: "Tensor", columns: "Tensor", rounded_to: "dtype | None" = None
    ) -> "Elements":
        """Single elements of left @ right in float64, and what float32 may be off by there."""
        matrix, local = rows // self.left.shape[1], rows % self.left.shape[1]
        left, right = self.left[matrix, local], self.right[matrix, :, columns]
        if rounded_to is not None:
            left, right = left.to(rounded_to), right.to(rounded_to)
        terms = left.double() * right.double()
        return Elements(terms.sum(1), terms.abs().sum(1) * self._unit)

    @property
    def _unit(self) -> float:
        return FLOAT32_HALF_UNIT * (self.rank + 3)

    def _factors(
        self, start: int, stop: int, rounded_to: "dtype | None"
    ) -> "tuple[Tensor, Tensor]":
        height = self.left.shape[1]
        matrix, first = divmod(start, height)
        left = self.left[matrix, first : first + stop - start]
        if rounded_to is not None:
            return left.to(rounded_to).float(), self.right[matrix].to(rounded_to).float()
        return left.float(), self.right[matrix].float()


class Elements(NamedTuple):
    """Values of single elements in float64, with the error that float32 arithmetic may make."""

    values: "Tensor"
    errors: "Tensor"


@dataclass(frozen=True)
class Change:
    """What one adapter does to one tensor, in this order.

    Attributes:
        adapter: the adapter's position among those given.
        weight: what its change is multiplied with.
        replacement: what takes the tensor's place; may have more rows; (rows, columns).
        product: what is added to it.
        rows: which rows are replaced at last, sorted, and by what.
        keys: names of the adapter's tensors that do this.
    """

    adapter: int
    weight: float = 1.0
    replacement: "Tensor | None" = None
    product: Product | None = None
    rows: "RowValues | None" = None
    keys: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is a product and nothing else, so that weights are part of its scale."""
        return self.replacement is None and self.rows is None and not self.has_magnitude

    @property
    def has_magnitude(self) -> bool:
        """Whether it is a DoRA."""
        return self.product is not None and self.product.magnitude is not None


class RowValues(NamedTuple):
    """Rows by number, and what they become: (rows, columns)."""

    numbers: "Tensor"
    values: "Tensor"

    def put_into(self, block: "Tensor", start: int) -> "Tensor":
        """A block of rows from `start` on, with those of its rows replaced."""
        inside = (self.numbers >= start) & (self.numbers < start + block.shape[0])
        if not bool(inside.any()):
            return block
        block = block.clone()
        block[self.numbers[inside] - start] = self.values[inside].to(block.dtype)
        return block


def matrix_view(tensor: "Tensor") -> "Tensor":
    """A tensor as (rows, columns): its last axis is the columns, a convolution's last three are."""
    if tensor.ndim == 0:
        return tensor.reshape(1, 1)
    if tensor.ndim == 1:
        return tensor.reshape(-1, 1)
    stacked = 3
    if tensor.ndim == stacked:
        return tensor.reshape(-1, tensor.shape[-1])
    return tensor.reshape(tensor.shape[0], -1)


def row_blocks(rows: int, columns: int, height: int | None = None) -> Iterator[tuple[int, int]]:
    """Row ranges of some half a million elements, which stay in a core's cache.

    Args:
        rows: rows to cut.
        columns: elements in each.
        height: rows of one matrix, whose ends no range crosses; None for all of them.
    """
    height = height or rows
    step = max(1, BLOCK_ELEMENTS // max(1, columns))
    for first in range(0, rows, max(1, height)):
        last = min(first + height, rows)
        for start in range(first, last, step):
            yield start, min(start + step, last)
