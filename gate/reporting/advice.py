"""When not to merge, from what gate.yaml declares and what was measured; it changes no verdict."""

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_FLOOR
from typing import NamedTuple

from gate.audit_records import ArtifactAudit, TensorAudit
from gate.declared_serving import DeclaredServing
from gate.presentation import amount, bits, count, percent, precise, size
from gate.records import Artifact, Record
from gate.reporting.merge_gains import WORTH_A_MERGE, MergeGain, gain_text, merge_gains
from gate.serving_records import Serving, SpeedRun
from gate.terms import Variant

_SPARE = 2.0
"""Times the declared requests that an engine must answer, because peaks are queues."""

_LITTLE_KEPT = 0.5
"""Below this share of its change a tensor has lost most of what was trained, as audits warn. What
rounding takes of the others is told beside the weights; whether it matters is for the checks."""

_NO_CHANGE = 1e-6
"""Share of a weight: less is what float32 makes of no change at all, as audits have it."""

_SEVERAL = 2


class Ground(NamedTuple):
    """What advice rests on.

    Attributes:
        declared: what gate.yaml says of production.
        variants: those of the gate.
        ship: the names of those up for release.
        serving: what they cost to serve; empty where that was not measured.
        artifacts: what was made of them.
        audits: what was found of their weights.
    """

    declared: DeclaredServing
    variants: tuple[Variant, ...]
    ship: tuple[str, ...]
    serving: tuple[Serving, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    audits: tuple[ArtifactAudit, ...] = ()

    @property
    def shipped(self) -> tuple[Variant, ...]:
        """The merges up for release, quantized or not."""
        return tuple(one for one in self.variants if one.name in self.ship and one.merge)

    def cost(self, variant: str) -> Serving | None:
        """What a variant costs to serve; None where that was not measured."""
        return next((one for one in self.serving if one.variant == variant), None)

    def size_bytes(self, variant: str) -> int | None:
        """Bytes of what a variant serves, as measured or made; None where neither was done."""
        cost = self.cost(variant)
        if cost and cost.size_bytes:
            return cost.size_bytes
        made = (one.size_bytes for one in self.artifacts if one.variant == variant)
        return next(made, None)


class _Unmerged(NamedTuple):
    """Bytes of the base, and of the adapter beside it."""

    base_bytes: int
    adapter_bytes: int


def advice(record: Record) -> tuple[str, ...]:
    """Why the candidate is better not merged, each a sentence without its full stop.

    Where there is such a reason and the merge was measured to be faster, that is said last, as
    what it is weighed against. Empty where nothing speaks against merging.
    """
    return advice_on(
        Ground(
            declared=record.declared_serving or DeclaredServing(),
            variants=record.variants,
            ship=record.ship,
            serving=record.serving,
            artifacts=record.artifacts,
            audits=record.audits,
        )
    )


def advice_on(ground: Ground) -> tuple[str, ...]:
    """As `advice`, of a gate that need not have been run."""
    if not ground.shipped:
        return ()
    gains = merge_gains(ground.variants, ground.serving)
    against = (
        *_several_adapters(ground),
        *_still_iterating(ground),
        *_further_training(ground),
        *_lost_in_rounding(ground),
        *_few_requests(ground),
        *(_no_gain(one) for one in gains if one.is_worthless),
    )
    if not against:
        return ()
    faster = (one for one in gains if one.is_certain and not one.is_worthless)
    return (*against, *(f"what merging gains{gain_text(one)}" for one in faster))


def _several_adapters(ground: Ground) -> Iterator[str]:
    """One base with many adapters against as many models, unless those are known to be less."""
    number = ground.declared.variants or 1
    if number < _SEVERAL:
        return
    said = f"{count(number)} adapters are served over this base (serving.variants)"
    way = "keep them apart, in an engine that holds several at once"
    smallest, apart = _smallest(ground), _unmerged(ground)
    if smallest is None or apart is None:
        yield f"{said}: merged they are {count(number)} whole models, each to be held: {way}"
        return
    merged_bytes = ground.size_bytes(smallest) or 0
    together = apart.base_bytes + number * apart.adapter_bytes
    if together < number * merged_bytes:
        yield (
            f"{said}: as large as {smallest} each ({size(merged_bytes)}), merged they are "
            f"{size(number * merged_bytes)}, and the base with that many adapters is "
            f"{size(together)}: {way}"
        )


def _still_iterating(ground: Ground) -> Iterator[str]:
    if not ground.declared.still_iterating:
        return
    told = []
    smallest, apart = _smallest(ground), _unmerged(ground)
    if smallest is not None:
        adapter = f" where the adapter alone is {size(apart.adapter_bytes)}" if apart else ""
        told.append(f" ({size(ground.size_bytes(smallest))} for {smallest}{adapter})")
    yield (
        "the adapter is still being worked on (serving.still_iterating): each next one would be "
        f"merged, judged and shipped whole{''.join(told)}: merge when it has settled"
    )


def _further_training(ground: Ground) -> Iterator[str]:
    if not ground.declared.further_training:
        return
    widths = [
        f"{one.name} {bits(cost.bits_per_weight)}"
        for one in ground.shipped
        if (cost := ground.cost(one.name)) and cost.bits_per_weight is not None
    ]
    told = f" (bits a weight: {', '.join(widths)})" if widths else ""
    yield (
        "training goes on from here (serving.further_training): go on from the adapter, which a "
        f"merge cannot be parted into again; merged weights are rounded{told}, and what is trained "
        "on those fits no other base"
    )


def _lost_in_rounding(ground: Ground) -> Iterator[str]:
    """What the audits of the merges up for release, or below them, found to be lost."""
    shipped = {one.name for one in ground.shipped}
    for found in ground.audits:
        if found.of != "merge" or found.audit is None or not shipped & {*found.variants}:
            continue
        changed = [
            (one.kept_share, one)
            for one in found.audit.tensors
            if one.kept_share is not None
            and one.outcome in ("exact", "rounding")
            and (one.delta_share is None or one.delta_share > _NO_CHANGE)
        ]
        lossy = [pair for pair in changed if pair[0] < _LITTLE_KEPT]
        if lossy:
            yield _rounded(sorted(shipped & {*found.variants}), lossy, len(changed))


def _rounded(
    variants: Sequence[str], lossy: Sequence[tuple[float, TensorAudit]], changed: int
) -> str:
    share, least = min(lossy, key=lambda pair: pair[0])
    return (
        f"rounding eats what was trained, under {', '.join(variants)}: {count(len(lossy))} of "
        f"{count(changed, 'changed tensor')} {'keeps' if len(lossy) == 1 else 'keep'} less than "
        f"{percent(_LITTLE_KEPT, decimals=0)} of the change, "
        f"{least.tensor} {percent(share, apart_from=(0.0, _LITTLE_KEPT))}: serve the adapter as it "
        "is, which loses nothing, or merge with dtype: float32"
    )


def _few_requests(ground: Ground) -> Iterator[str]:
    """The adapter on its base, by its slowest repeat, against what is asked of it."""
    asked = ground.declared.requests_per_second
    adapter = _adapter(ground)
    cost = ground.cost(adapter.name) if adapter else None
    if asked is None or cost is None or not cost.runs:
        return
    run = min(cost.runs, key=_requests_per_second)
    rate = _requests_per_second(run)
    if rate < _SPARE * asked:
        return
    yield (
        f"requests a second are declared to be {precise(asked)} (serving.requests_per_second), and "
        f"{cost.variant} unmerged answers {_down(rate)}, as measured with {cost.backend} "
        f"({run.many.batch_size} at once, {run.prompt_tokens} tokens in, {run.new_tokens + 1} "
        "out): it does not take a merge to keep up"
    )


def _requests_per_second(run: SpeedRun) -> float:
    seconds = run.many.prefill_seconds + run.many.decode_seconds
    return run.many.batch_size / seconds if seconds > 0 else math.inf


def _no_gain(gain: MergeGain) -> str:
    return (
        f"{gain.adapter} is as fast unmerged{gain_text(gain)}, never above {WORTH_A_MERGE:g}: the "
        "merge buys no speed"
    )


def _down(rate: float) -> str:
    return amount(rate, "", decimals=2, apart_from=(0.0,), rounding=ROUND_FLOOR)


def _smallest(ground: Ground) -> str | None:
    """The merge up for release that takes the fewest bytes; None where no size is known."""
    sizes = {one.name: ground.size_bytes(one.name) for one in ground.shipped}
    known = {name: number for name, number in sizes.items() if number}
    return min(known, key=lambda name: known[name], default=None)


def _adapter(ground: Ground) -> Variant | None:
    """The adapter on its base of which something is up for release."""
    merged = {one.adapters for one in ground.shipped}
    adapters = (one for one in ground.variants if one.kind == "adapter")
    return next((one for one in adapters if one.adapters in merged), None)


def _unmerged(ground: Ground) -> _Unmerged | None:
    """Base and adapter apart; None where the engine that serves both did not measure them."""
    adapter = _adapter(ground)
    both = ground.size_bytes(adapter.name) if adapter else None
    bases = (one for one in ground.variants if one.kind == "base")
    alike = (one for one in bases if adapter and one.backend == adapter.backend)
    base = next((number for one in alike if (number := ground.size_bytes(one.name))), None)
    return _Unmerged(base, both - base) if base and both and both > base else None
