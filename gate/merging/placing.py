"""The place of each tensor of an adapter: the model's parameter, then the checkpoint's tensors."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gate.errors import StageError
from gate.merging.adapter_files import AdapterFile, Factors
from gate.merging.changes import Change, LowRank
from gate.merging.layouts import Layout, Piece
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor

_MATRIX = 2
_STACK_OF_MATRICES = 3


class NotStreamedError(StageError):
    """A merge that takes more than adding products to tensors: the whole model must be loaded."""


class Placing:
    """Turns one adapter's file into changes of the model's parameters, then of tensors."""

    def __init__(self, number: int, adapter: AdapterFile, base: Tensors, layout: Layout) -> None:
        """Nothing is placed yet.

        Args:
            number: the adapter's position among those that are merged.
            adapter: its file.
            base: the base's tensors.
            layout: where the base's parameters lie.
        """
        self.consumed: dict[str, int] = defaultdict(int)
        self._number = number
        self._adapter = adapter
        self._base = base
        self._layout = layout

    def by_parameter(self) -> dict[str, Change]:
        """{parameter of the model: what the adapter does to it}."""
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for (module, depth), factors in self._adapter.factors.items():
            parameter = self._adapted(module, depth)
            found[parameter] |= self._low_rank(module, parameter, factors)
            if factors.bias is not None:
                scale = self._adapter.scale(module, self._adapter.rank(module))
                found[self._name(f"{module}.bias")]["addition"] = factors.bias.float() * scale
            self._consume(factors.names)
        for parameter, names in self._adapter.replaced.items():
            found[self._name(parameter)]["replacement"] = self._adapter.tensors.views[names[0]]
            self._consume(names)
        self._consume(self._adapter.unused)
        for module, name in self._adapter.rows.items():
            values = self._adapter.tensors.views[name]
            indices = self._adapter.token_rows(module)
            if len(indices) != len(values):
                raise does_not_fit(
                    self._adapter, f"{name} has {len(values)} rows for {len(indices)} token indices"
                )
            found[self._name(f"{module}.weight")]["rows"] = (indices, values)
            self._consume([name])
        return {
            parameter: Change(adapter=self._number, **parts) for parameter, parts in found.items()
        }

    def parts(
        self, parameter: str, change: Change
    ) -> Iterator[tuple[tuple[str, int | None], Change]]:
        """The change of a parameter, cut into changes of the tensors it is made of.

        Gives ((tensor, expert), change); the expert is None except in stacked experts.
        """
        pieces = self._layout.find(parameter)
        if not pieces:
            raise self._no_place(parameter)
        for piece in pieces:
            shape = self._base.headers[piece.tensor].shape
            if (
                piece.expert is None
                and len(shape) == _STACK_OF_MATRICES
                and change.low_rank is not None
            ):
                for expert in range(shape[0]):
                    stacked = Piece(piece.tensor, expert)
                    yield (piece.tensor, expert), self._of_expert(change, stacked, shape[1:])
            elif piece.expert is None:
                self._check_shape(parameter, change, shape)
                yield (piece.tensor, None), change
            else:
                yield (piece.tensor, None), self._of_expert(change, piece, shape)

    def _consume(self, names: Iterable[str]) -> None:
        for name in names:
            self.consumed[name] += 1

    def _name(self, parameter: str) -> str:
        """The name that the model itself has for a parameter."""
        if parameter in self._base.headers:
            return parameter
        return self._layout.architecture.renamed(parameter)

    def _adapted(self, module: str, depth: int) -> str:
        """The parameter that a module's LoRA is on: its weight, or one of target_parameters."""
        targets = self._adapter.config.get("target_parameters") or ()
        if not depth and (not targets or self._layout.find(f"{module}.weight")):
            return self._name(f"{module}.weight")
        module = self._layout.architecture.renamed(module)
        own = self._layout.architecture.parameters.get(module, ())
        matched = [
            name
            for name in own
            if any(f".{module}.{name}".endswith(f".{target}") for target in targets)
        ]
        if depth >= len(matched):
            raise self._no_place(module)
        return f"{module}.{matched[-1 - depth]}"  # peft wraps the last one outermost

    def _low_rank(self, module: str, parameter: str, factors: Factors) -> dict[str, LowRank]:
        down, up = factors.down, factors.up
        if down is None or up is None:
            raise does_not_fit(self._adapter, f"{module} lacks half of its matrices")
        if down.ndim != _MATRIX or up.ndim != _MATRIX:
            raise NotStreamedError(f"{module} is a convolution")
        is_parameter = parameter.rpartition(".")[2] != "weight"
        key = parameter if is_parameter else module
        rank = self._adapter.rank(key)
        self._check_rank(module, rank, down, up)
        scale = self._adapter.scale(key, rank)
        kind = "embedding" if factors.is_embedding else "linear"
        if not (is_parameter or factors.is_embedding):
            kind = self._layout.kind(module)
        if kind == "other" and not self._layout.find(parameter):
            raise self._no_place(parameter)
        if kind == "other":
            raise NotStreamedError(f"{module} is neither linear nor an embedding")
        if kind == "linear":
            return {"low_rank": LowRank(up, down, scale, factors.magnitude)}
        return {"low_rank": LowRank(down.T, up.T, scale, factors.magnitude, outputs_are_rows=False)}

    def _check_rank(self, module: str, rank: int, down: "Tensor", up: "Tensor") -> None:
        found = down.shape[0]
        if found != up.shape[1] or found % rank:
            raise does_not_fit(
                self._adapter,
                f"{module}: lora_A has rank {found}, lora_B {up.shape[1]}, and its config {rank}",
            )

    def _of_expert(self, change: Change, piece: Piece, shape: tuple[int, ...]) -> Change:
        """One expert's part of a change of stacked experts, in the rows that a piece has."""
        expert, rows = piece.expert or 0, slice(piece.first_row, piece.first_row + shape[0])
        if change.replacement is not None:
            return Change(self._number, replacement=change.replacement[expert][rows])
        whole = change.low_rank
        if whole is None:
            raise self._no_place(piece.tensor)
        rank = self._adapter.rank(self._parameter_of(piece))
        down = whole.right.reshape(-1, rank, whole.right.shape[-1])[expert]
        up = whole.left.reshape(whole.left.shape[0], rank, -1)[:, :, expert]
        left, right = (up, down)
        if self._is_transposed(piece):
            left, right = down.T, up.T
        if (*left[rows].shape[:1], right.shape[1]) != tuple(shape):
            raise does_not_fit(
                self._adapter,
                f"{piece.tensor} has shape {list(shape)}, and its LoRA gives "
                f"{[len(left[rows]), right.shape[1]]}",
            )
        return Change(self._number, low_rank=LowRank(left[rows], right, whole.scale))

    def _parameter_of(self, piece: Piece) -> str:
        known = self._layout.architecture.pieces.items()
        return next(
            (
                parameter
                for parameter, pieces in known
                if any(one.tensor == piece.tensor for one in pieces)
            ),
            piece.tensor,
        )

    def _is_transposed(self, piece: Piece) -> bool:
        module = self._parameter_of(piece).rpartition(".")[0]
        return module in self._layout.architecture.transposed

    def _check_shape(self, parameter: str, change: Change, shape: tuple[int, ...]) -> None:
        if change.replacement is not None and change.replacement.shape[1:] != shape[1:]:
            raise does_not_fit(
                self._adapter,
                f"{parameter} of shape {list(change.replacement.shape)} cannot replace the base's, "
                f"which has {list(shape)}",
            )
        low_rank = change.low_rank
        if low_rank is None:
            return
        rows = shape[0] if change.replacement is None else change.replacement.shape[0]
        product = (low_rank.left.shape[0], low_rank.right.shape[1])
        if product != (rows, *shape[1:]):
            raise does_not_fit(
                self._adapter,
                f"the product of its matrices for {parameter} has shape {list(product)}, "
                f"and the base's tensor {[rows, *shape[1:]]}",
            )

    def _no_place(self, parameter: str) -> StageError:
        odd = self._layout.architecture.odd.get(parameter)
        if odd:
            return NotStreamedError(f"{parameter} is made by {odd} when the model is loaded")
        return does_not_fit(self._adapter, f"{parameter} has no place in the base model")


def does_not_fit(adapter: AdapterFile, reason: str) -> StageError:
    """The error of an adapter that is for another base, or not whole."""
    trained_on = adapter.config.get("base_model_name_or_path")
    return StageError(
        f"adapter {adapter.adapter.name} cannot be merged: {reason}",
        hint=f"was it trained on this base model, and saved whole? it names {trained_on}",
    )
