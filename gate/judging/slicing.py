"""Parts of a task: the documents of one slice, and a check's comparison on each of them."""

from collections.abc import Callable, Mapping

import numpy as np

from gate.errors import StageError
from gate.judging.bounds import bounds_of
from gate.judging.pairing import Pair, with_samples
from gate.result_records import Estimate, SliceResult
from gate.terms import Check

_FEWEST = 2


def slices_of(pair: Pair) -> dict[str, Pair]:
    """Both scores on the documents of each slice, by name; of documents in none, nothing."""
    parts: dict[str, list[int]] = {}
    for place, name in enumerate(pair.reference.samples.column("slice").tolist()):
        if name is not None:
            parts.setdefault(name, []).append(place)
    return {
        name: Pair(*(with_samples(score, score.samples.take(np.array(part))) for score in pair))
        for name, part in sorted(parts.items())
    }


def of_slice(pair: Pair, name: str) -> Pair:
    """Both scores on the documents of one slice; on none of them where it has none."""
    nothing = Pair(*(with_samples(score, score.samples[:0]) for score in pair))
    return slices_of(pair).get(name, nothing)


def require_slice(pair: Pair, name: str) -> None:
    """See that a slice has documents.

    Raises:
        StageError: it has none; those that have are listed.
    """
    task, known = pair.reference.task, slices_of(pair)
    if not known:
        raise StageError(
            f"no document of {task} is in a slice, and the check asks for {name!r}",
            hint="name the field that tells a document's slice with the task's 'slice'",
        )
    if name not in known:
        raise StageError(f"{task} has no slice {name!r}: it has {', '.join(known)}")


def compare_slices(
    check: Check, slices: Mapping[str, Pair], measure: Callable[[Pair, float], Estimate]
) -> tuple[SliceResult, ...]:
    """A check's comparison on each slice of two documents or more, by name.

    A slice has collapsed where its interval lies beyond a bound at a confidence corrected for the
    number of slices, so that all of them together are wrong no more often than the check alone.

    Args:
        check: whose bounds they are held against.
        slices: {slice: both scores on its documents}.
        measure: the check's comparison, at a one-sided confidence.

    Source: Bonferroni's inequality.
    """
    judged = {name: pair for name, pair in slices.items() if len(pair.reference.samples) >= _FEWEST}
    confidence = confidence_of_slice(check, len(judged))
    found = []
    for name, pair in judged.items():
        estimate = measure(pair, confidence)
        collapsed = any(bound.is_broken for bound in bounds_of(check, estimate))
        found.append(SliceResult(slice=name, estimate=estimate, has_collapsed=collapsed))
    return tuple(found)


def confidence_of_slice(check: Check, slices: int) -> float:
    """The one-sided confidence of each of so many slices."""
    return 1 - (1 - check.confidence) / max(1, slices)
