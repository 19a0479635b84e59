"""How much faster a merge is than the adapter on its base, where one engine served both."""

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR
from typing import NamedTuple

from gate.comparisons import speed
from gate.errors import StageError
from gate.presentation import amount, count
from gate.result_records import Estimate
from gate.serving_records import Serving
from gate.terms import Variant

WORTH_A_MERGE = 1.05
"""Times as fast: a merge that is surely no more than this gains nothing that pays for it."""

_CONFIDENCE = 0.95


class MergeGain(NamedTuple):
    """How many times as fast a merge is served as the adapter on its base.

    Attributes:
        merged: the variant that is merged, and not quantized.
        adapter: the variant with the same adapters, unmerged in the same engine.
        backend: that engine.
        decode: in tokens written a second, many prompts at once.
        prefill: in tokens read a second, likewise.
    """

    merged: str
    adapter: str
    backend: str
    decode: Estimate
    prefill: Estimate

    @property
    def is_worthless(self) -> bool:
        """Whether both intervals end where a merge is not worth it yet."""
        return max(self.decode.high, self.prefill.high) <= WORTH_A_MERGE

    @property
    def is_certain(self) -> bool:
        """Whether the merge is faster in one of the two, by the whole interval."""
        return max(self.decode.low, self.prefill.low) > 1


def merge_gains(variants: Sequence[Variant], serving: Sequence[Serving]) -> tuple[MergeGain, ...]:
    """One for each merge that was measured beside its adapters, in the order of the variants.

    A quantized variant has none: what it gains is not the merge's alone. Nor have two that were
    measured too seldom, or not on the same terms.

    Args:
        variants: those of the gate.
        serving: what they cost to serve.
    """
    return tuple(_gains(variants, {one.variant: one for one in serving}))


def gain_text(gain: MergeGain) -> str:
    """The measurement, to follow a claim: ', measured with hf: merged is 1.27 (1.26 to ...'."""
    return (
        f", as measured with {gain.backend}: {gain.merged} is {_ratio(gain.decode)} times as fast "
        f"in decoding and {_ratio(gain.prefill)} in prefill, over {count(gain.decode.n, 'repeat')}"
    )


def _gains(variants: Sequence[Variant], costs: dict[str, Serving]) -> Iterator[MergeGain]:
    for merged in variants:
        if merged.kind not in ("merged", "bridge"):
            continue
        for adapter in variants:
            is_same = (adapter.adapters, adapter.backend) == (merged.adapters, merged.backend)
            if adapter.kind == "adapter" and is_same:
                gain = _compared(costs.get(adapter.name), costs.get(merged.name))
                yield from (gain,) if gain else ()


def _compared(adapter: Serving | None, merged: Serving | None) -> MergeGain | None:
    if adapter is None or merged is None:
        return None
    try:
        decode = speed.compare(adapter, merged, confidence=_CONFIDENCE, measure="decode")
        prefill = speed.compare(adapter, merged, confidence=_CONFIDENCE, measure="prefill")
    except StageError:  # too few repeats, other machines or other prompts: nothing is known
        return None
    return MergeGain(merged.variant, adapter.variant, adapter.backend, decode, prefill)


def _ratio(estimate: Estimate) -> str:
    """The estimate with its interval, whose ends are rounded outwards."""
    telling = (1.0, WORTH_A_MERGE)
    low = amount(estimate.low, "", decimals=2, apart_from=telling, rounding=ROUND_FLOOR)
    high = amount(estimate.high, "", decimals=2, apart_from=telling, rounding=ROUND_CEILING)
    value = amount(estimate.value, "", decimals=2, apart_from=telling)
    return f"{value} ({low} to {high})"
