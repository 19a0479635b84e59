"""Which tensor of a merge is which of the base's, and what is missing, spare or misplaced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gate.auditing.names import align, expert_tensor
from gate.auditing.tying import Head

if TYPE_CHECKING:
    from torch import Tensor

_STACKED = 3
_PEFT_NAMES = ("lora_", "base_layer.", "modules_to_save.", "base_model.model.", "token_adapter.")


@dataclass(frozen=True)
class Matched:
    """Tensors of a merge by the base's names.

    Attributes:
        found: {name in the base: tensor of the merge}.
        missing: names in the base that the merge should have and has not.
        extra: names in the merge that the base has not.
    """

    found: "Mapping[str, Tensor]"
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def traces_of_peft(self) -> tuple[str, ...]:
        """Extra tensors that bear names peft gives while an adapter is on."""
        return tuple(name for name in self.extra if any(part in name for part in _PEFT_NAMES))


def match(
    base: "Mapping[str, Tensor]", merged: "Mapping[str, Tensor]", head: Head | None
) -> Matched:
    """Find each tensor of the base in a merge, whatever prefix it has there.

    Args:
        base: the base's tensors.
        merged: the merge's.
        head: the output layer where it is tied to the embeddings: it may be stored, and must be
            where the adapters part the two.
    """
    wanted = list(base)
    if head is not None and head.name not in base:
        wanted.append(head.name)
    merged = _cut_experts(base, merged)
    names = align(wanted, merged.keys())
    missing = [name for name in wanted if name not in names]
    if head is not None and not head.is_parted and head.name in missing:
        missing.remove(head.name)
    taken = set(names.values())
    return Matched(
        found={name: merged[real] for name, real in names.items()},
        missing=tuple(missing),
        extra=tuple(sorted(merged.keys() - taken)),
    )


def _cut_experts(
    base: "Mapping[str, Tensor]", merged: "Mapping[str, Tensor]"
) -> "dict[str, Tensor]":
    """A merge's fused experts as the single tensors that the base has of them."""
    places = {name: place for name in base if (place := expert_tensor(name))}
    fused = {
        f"{place.container}.{place.parameter}"
        for place in places.values()
        if place.expert is not None
    }
    names = align(sorted(fused - base.keys()), merged.keys())
    cut = dict(merged)
    used = set()
    for name, place in places.items():
        real = names.get(f"{place.container}.{place.parameter}")
        if real is None or place.expert is None or merged[real].ndim != _STACKED:
            continue
        one = merged[real][place.expert]
        if place.half is not None:
            rows = one.shape[0] // 2
            one = one[place.half * rows : (place.half + 1) * rows]
        cut[name] = one
        used.add(real)
    return {name: tensor for name, tensor in cut.items() if name not in used}
