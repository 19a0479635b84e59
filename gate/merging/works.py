"""The work on each tensor of a merge, prepared when it is the tensor's turn."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from gate.merging.base_weights import BaseWeights
from gate.merging.changes import Change, PreparedChange
from gate.merging.combining import Combination, Method
from gate.merging.recipes import Recipe
from gate.merging.writing import Work
from gate.terms import LocalAdapter

Device = Literal["auto", "cpu", "cuda"]


class Works:
    """Prepares the work on each tensor when it is its turn."""

    def __init__(
        self,
        recipe: Recipe,
        base: BaseWeights,
        adapters: Sequence[LocalAdapter],
        *,
        method: Method,
        density: float,
        seed: int,
        device: Device,
    ) -> None:
        """Nothing is prepared yet.

        Args:
            recipe: what is done to each tensor.
            base: the base, opened.
            adapters: what is merged, with weights.
            method: how several deltas are combined.
            density: share of each delta that pruning keeps.
            seed: of random pruning.
            device: where products are calculated; auto for CUDA where there is one.
        """
        import torch

        wanted = "cuda" if device == "auto" and torch.cuda.is_available() else device
        self._device = torch.device("cpu" if wanted == "auto" else wanted)
        self._recipe = recipe
        self._base = base.tensors
        self._requantize = base.requantize
        self._adapters = adapters
        self._method: Method = method
        self._density = density
        self._seed = seed
        self._slots: dict[str, dict[int | None, list[Change]]] = {}
        for (tensor, expert), changes in recipe.changes.items():
            self._slots.setdefault(tensor, {})[expert] = changes

    def of(self, tensor: str) -> Mapping[int | None, Callable[[], Work]]:
        """What prepares the work on each matrix of a tensor."""
        slots = self._slots.get(tensor, {})
        return {
            expert: partial(self._work, tensor, expert, changes)
            for expert, changes in slots.items()
        }

    def _work(self, tensor: str, expert: int | None, changes: Sequence[Change]) -> Work:
        source = self._recipe.head_from if tensor == self._recipe.head else tensor
        base = self._base.views[source or tensor]
        base = base if expert is None else base[expert]
        prepared = [PreparedChange(change, base, where=self._device) for change in changes]
        weights = [self._adapters[change.adapter].weight for change in changes]
        first = prepared[0]
        is_plain = self._method in ("linear", "sequential")
        if len(prepared) == 1 and (not first.change.is_delta or (is_plain and weights == [1.0])):
            return Work(
                lambda block, start, stop: first.apply(block.to(self._device), start, stop),
                first.squared_norm,
                self._requantize.get(tensor),
                first.product if first.is_minute(base) else None,
            )
        combination = Combination(
            prepared,
            weights,
            base,
            method=self._method,
            density=self._density,
            seed=self._seed,
            name=tensor if expert is None else f"{tensor}[{expert}]",
        )
        return Work(
            lambda block, start, stop: combination.apply(block.to(self._device), start, stop),
            finish=self._requantize.get(tensor),
        )
