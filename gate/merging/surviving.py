"""How much of what adapters change survives the rounding to the type that is written."""

from collections.abc import Mapping, Sequence

from gate.errors import StageError
from gate.merging.shards import Shard
from gate.tensors import dtype_of
from gate.terms import LocalAdapter

_ERASED = 0.01
_WORTH_A_WARNING = 0.9


def kept_shares(
    changed: Mapping[str, tuple[float, float]], adapters: Sequence[LocalAdapter]
) -> dict[str, float]:
    """{tensor: share of its change that survived rounding}, 1 - ||lost|| / ||delta||.

    Args:
        changed: {tensor: (||delta||^2, ||rounding error||^2)}.
        adapters: what was merged.

    Raises:
        StageError: nothing was changed, or rounding erased it.
    """
    names = ", ".join(adapter.name for adapter in adapters)
    delta = sum(one for one, _ in changed.values())
    lost = sum(one for _, one in changed.values())
    if delta == 0.0:
        raise StageError(
            f"adapter {names} changes nothing: every weight equals the base's",
            hint="was it saved before training, or trained with a learning rate of 0?",
        )
    if 1 - (lost / delta) ** 0.5 < _ERASED:
        raise StageError(
            f"adapter {names}: rounding erased its change: {1 - (lost / delta) ** 0.5:.1%} is left",
            hint="its change is too small for this dtype: try dtype: float32",
        )
    return {
        name: 1 - (lost / delta) ** 0.5 for name, (delta, lost) in sorted(changed.items()) if delta
    }


def losses(kept: Mapping[str, float], shards: Sequence[Shard]) -> list[str]:
    """A warning where rounding took more than a tenth of a tensor's change."""
    words = {tensor.name: tensor.dtype for shard in shards for tensor in shard.tensors}
    lossy = [name for name, share in kept.items() if share < _WORTH_A_WARNING]
    if not lossy:
        return []
    worst = min(lossy, key=lambda name: kept[name])
    types = " and ".join(
        sorted({str(dtype_of(words[name])).removeprefix("torch.") for name in lossy})
    )
    return [
        f"rounding to {types} kept less than {_WORTH_A_WARNING:.0%} of the change of "
        f"{len(lossy)} of {len(kept)} tensors, the least of {worst}: {kept[worst]:.0%}; "
        "dtype: float32 would keep all of it"
    ]
