"""From what was found of each tensor to sentences: the faults of a merge, and what to know."""

from collections.abc import Collection, Sequence

from gate.audit_records import TensorAudit

_NOTHING_KEPT = 0.001
_LITTLE_KEPT = 0.5
_MOST = 0.5
_NO_CHANGE = 1e-6


def tensor_faults(
    tensors: Sequence[TensorAudit], changed: Collection[str], *, skip: Collection[str] = ()
) -> list[str]:
    """A sentence for each tensor that is not right, after those on the merge as a whole.

    Args:
        tensors: everything that was found.
        changed: names of the tensors that an adapter acts on.
        skip: extra tensors that a sentence of their own tells of.
    """
    wrong = [one for one in tensors if one.outcome not in ("exact", "rounding")]
    return _whole(tensors, changed) + [
        _sentence(one) for one in wrong if not (one.outcome == "extra" and one.tensor in skip)
    ]


def tensor_warnings(tensors: Sequence[TensorAudit]) -> list[str]:
    """A sentence where the type of the file keeps little of an adapter's change."""
    weak = [
        one
        for one in tensors
        if one.outcome in ("exact", "rounding")
        and one.kept_share is not None
        and one.kept_share < _LITTLE_KEPT
        # less is what float32 makes of no change at all
        and (one.delta_share is None or one.delta_share > _NO_CHANGE)
    ]
    if not weak:
        return []
    least = min(weak, key=lambda one: one.kept_share or 0.0)
    return [
        f"rounding loses most of the change of {len(weak)} tensors; of {least.tensor} it keeps "
        f"{least.kept_share:.0%}: a wider type would keep it"
    ]


def _sentence(one: TensorAudit) -> str:
    if one.outcome == "missing":
        return f"{one.tensor}: missing from the merged checkpoint"
    if one.outcome == "extra":
        return f"{one.tensor}: extra: the base model has no such tensor"
    return f"{one.tensor}: {one.note}"


def _whole(tensors: Sequence[TensorAudit], changed: Collection[str]) -> list[str]:
    acted = [one for one in tensors if one.tensor in changed]
    rest = [
        one
        for one in tensors
        if one.tensor not in changed and one.outcome not in ("missing", "extra")
    ]
    differing = [one for one in rest if one.differing]
    sentences = []
    if not any(one.delta_share or one.kept_share is not None for one in acted):
        if all(one.outcome in ("exact", "rounding") for one in acted):
            sentences.append("the adapters change nothing: every delta is zero")
    elif all(one.kept_share is not None and abs(one.kept_share) < _NOTHING_KEPT for one in acted):
        sentences.append("nothing of the adapters is in the merged weights: they are the base's")
    if rest and len(differing) > _MOST * len(rest):
        sentences.append(
            f"{len(differing)} of {len(rest)} tensors that no adapter acts on differ from the "
            "base's: it was made from another base model or revision"
        )
    return sentences
