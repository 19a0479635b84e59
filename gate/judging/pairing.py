"""Two scores as a pair: the same documents in the same order, given the same tokens, or refused."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from gate.errors import StageError
from gate.evaluation_records import Score
from gate.serving_records import Serving


class Pair(NamedTuple):
    """The scores of a check's two variants, sample i of both being about the same document."""

    reference: Score
    candidate: Score


class ServingPair(NamedTuple):
    """What a check's two variants cost to serve, measured by turns on one machine."""

    reference: Serving
    candidate: Serving


def pair_serving(
    serving: Mapping[str, Serving],
    failures: Mapping[tuple[str, str], str],
    *,
    reference: str,
    candidate: str,
) -> ServingPair:
    """What two variants cost to serve.

    Args:
        serving: {variant: what it costs}.
        failures: {(variant, ""): why it was not measured}.
        reference: name of the variant compared with.
        candidate: name of the variant judged.

    Raises:
        StageError: one of them was not measured, or on another machine.
    """
    for variant in (reference, candidate):
        if (variant, "") in failures:
            why = failures[variant, ""]
            raise StageError(f"it could not be measured what {variant} costs to serve: {why}")
        if variant not in serving:
            raise StageError(f"it was not measured what {variant} costs to serve")
    pair = ServingPair(serving[reference], serving[candidate])
    if pair.reference.machine != pair.candidate.machine:
        raise StageError(f"{reference} and {candidate} were measured on two machines")
    return pair


def pair_scores(
    scores: Mapping[tuple[str, str], Score],
    failures: Mapping[tuple[str, str], str],
    *,
    reference: str,
    candidate: str,
    task: str,
) -> Pair:
    """The scores of two variants on a task, fit to be compared.

    Args:
        scores: {(variant, task): score}.
        failures: {(variant, task): why there is no score}.
        reference: name of the variant compared with.
        candidate: name of the variant judged.
        task: name of the task.

    Raises:
        StageError: a score is missing or empty, or the two are of other documents, metrics or
            token ids, so that their difference would not be the variants'.
    """
    for variant in (reference, candidate):
        if (variant, task) in failures:
            why = failures[variant, task]
            raise StageError(f"{variant} could not be evaluated on {task}: {why}")
        if (variant, task) not in scores:
            raise StageError(f"there is no score of {variant} on {task}")
        if not scores[variant, task].samples:
            raise StageError(f"{variant} was evaluated on no documents of {task}")
    pair = Pair(
        reference=_sorted(scores[reference, task]), candidate=_sorted(scores[candidate, task])
    )
    _require_same_metric(pair)
    _require_same_documents(pair)
    _require_same_requests(pair)
    return pair


def _sorted(score: Score) -> Score:
    """The score with its samples by document, each document at most once."""
    ids = [sample.id for sample in score.samples]
    if all(map(int.__lt__, ids, ids[1:])):
        return score
    samples = tuple(sorted(score.samples, key=lambda sample: sample.id))
    for one, other in pairwise(samples):
        if one.id == other.id:
            raise StageError(
                f"{score.variant} has more than one sample of document {one.id} of {score.task}"
            )
    return score.model_copy(update={"samples": samples})


def _require_same_metric(pair: Pair) -> None:
    one, other = (_metric(score) for score in pair)
    if one != other:
        raise StageError(
            f"{pair.reference.task} was scored differently: "
            f"{pair.reference.variant} by {one}, {pair.candidate.variant} by {other}"
        )


def _metric(score: Score) -> str:
    scale = "binary" if score.is_binary else "continuous"
    better = "higher" if score.higher_is_better else "lower"
    return f"{score.metric} ({scale}, {better} is better)"


def _require_same_documents(pair: Pair) -> None:
    one, other = (
        ([s.id for s in score.samples], [s.hash for s in score.samples]) for score in pair
    )
    if one == other:
        return
    different = set(zip(*one, strict=True)) ^ set(zip(*other, strict=True))
    ids = sorted({number for number, _ in different})
    raise StageError(
        f"{pair.reference.variant} and {pair.candidate.variant} were not evaluated on the same "
        f"documents of {pair.reference.task}: {len(ids):,} differ (first: document {ids[0]})"
    )


def _require_same_requests(pair: Pair) -> None:
    one, other = ([sample.request_hash for sample in score.samples] for score in pair)
    if one == other:
        return
    ids = [s.id for s, a, b in zip(pair.reference.samples, one, other, strict=True) if a != b]
    raise StageError(
        f"{pair.reference.variant} and {pair.candidate.variant} were not given the same tokens: "
        f"{len(ids):,} of {len(one):,} documents of {pair.reference.task} differ "
        f"(first: document {ids[0]}): tokenizer, template or truncation is not the same"
    )
