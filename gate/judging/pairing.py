"""Two scores as a pair: the same documents in the same order, given the same tokens, or refused."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from gate.distribution_records import Distribution
from gate.errors import StageError
from gate.evaluation_records import Sample, Score
from gate.jobs import NotRun
from gate.serving_records import Serving


class Unasked(StageError):
    """What a check is about has not been asked, or not yet: nothing failed."""


class Pair(NamedTuple):
    """The scores of a check's two variants, sample i of both being about the same document."""

    reference: Score
    candidate: Score


class ServingPair(NamedTuple):
    """What a check's two variants cost to serve, measured by turns on one machine."""

    reference: Serving
    candidate: Serving


Arms = Pair | ServingPair | Distribution
"""What a check compares: two variants' answers to a task, their costs, or how they read a text."""


def find_distribution(
    distributions: Mapping[tuple[str, str, str], Distribution],
    failures: Mapping[tuple[str, str], str],
    *,
    reference: str,
    candidate: str,
    text: str,
) -> Distribution:
    """How two variants read a text.

    Args:
        distributions: {(candidate, reference, text): both, compared token by token}.
        failures: {(variant, text): why it was not read}.
        reference: name of the variant compared with.
        candidate: name of the variant judged.
        text: name of the text.

    Raises:
        StageError: one of them did not read it, or nothing of it.
        Unasked: one of them was not to read it any more.
    """
    found = distributions.get((candidate, reference, text))
    if found is None:
        for variant, why in _reasons(failures, (reference, candidate), text):
            if isinstance(why, NotRun):
                raise Unasked(f"{variant} did not read the text {text}: {why}")
            raise StageError(f"{variant} could not read the text {text}: {why}")
        raise StageError(f"{candidate} was not read against {reference} on the text {text}")
    if not found.tokens:
        raise StageError(f"{candidate} was read against {reference} on no tokens of {text}")
    return found


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
        Unasked: one of them was not to be measured any more.
    """
    for variant, why in _reasons(failures, (reference, candidate), ""):
        if isinstance(why, NotRun):
            raise Unasked(f"it was not measured what {variant} costs to serve: {why}")
        raise StageError(f"it could not be measured what {variant} costs to serve: {why}")
    for variant in (reference, candidate):
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
    is_sequential: bool = False,
) -> Pair:
    """The scores of two variants on a task, fit to be compared.

    Args:
        scores: {(variant, task): score}.
        failures: {(variant, task): why there is no score}.
        reference: name of the variant compared with.
        candidate: name of the variant judged.
        task: name of the task.
        is_sequential: where one was asked more documents than the other, compare the two on the
            places of the seeded order that both have reached.

    Raises:
        StageError: a score is missing or empty, or the two are of other documents, metrics or
            token ids, so that their difference would not be the variants', or what is said of a
            document cannot be used.
        Unasked: one of them was not to be evaluated any more.
    """
    for variant, why in _reasons(failures, (reference, candidate), task):
        if isinstance(why, NotRun):
            raise Unasked(f"{variant} was not evaluated on {task}: {why}")
        raise StageError(f"{variant} could not be evaluated on {task}: {why}")
    for variant in (reference, candidate):
        if (variant, task) not in scores:
            raise StageError(f"there is no score of {variant} on {task}")
        if not scores[variant, task].samples:
            raise StageError(f"{variant} was evaluated on no documents of {task}")
    pair = Pair(
        reference=_sorted(scores[reference, task]), candidate=_sorted(scores[candidate, task])
    )
    _require_same_metric(pair)
    if is_sequential:
        reached = min(max(sample.place for sample in score.samples) for score in pair)
        pair = Pair(*(first_places(score, reached + 1) for score in pair))
    _require_same_documents(pair)
    _require_same_requests(pair)
    for score in pair:
        _require_values(score)
    _require_clusters(pair.reference)
    return pair


def _reasons(
    failures: Mapping[tuple[str, str], str], variants: tuple[str, str], name: str
) -> list[tuple[str, str]]:
    """Why there is nothing of each variant that has nothing; what failed before what did not."""
    found = [(one, failures[one, name]) for one in variants if (one, name) in failures]
    return sorted(found, key=lambda one: isinstance(one[1], NotRun))


def first_places(score: Score, places: int) -> Score:
    """The score on the first so many documents of the seeded order."""
    kept = tuple(sample for sample in score.samples if sample.place < places)
    return score if len(kept) == len(score.samples) else with_samples(score, kept)


def with_samples(score: Score, samples: tuple[Sample, ...]) -> Score:
    """The score on some of its documents."""
    return score.model_copy(update={"samples": samples})


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
    return with_samples(score, samples)


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
    over = "" if score.aggregate == "mean" else f"{score.aggregate} of the corpus, "
    return f"{score.metric} ({over}{scale}, {better} is better)"


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


def _require_values(score: Score) -> None:
    if math.isfinite(math.fsum(sample.value for sample in score.samples)):
        return
    for sample in score.samples:
        if not math.isfinite(sample.value):
            raise StageError(
                f"{score.variant} has no usable value of document {sample.id} of {score.task}: "
                f"{sample.value}"
            )


def _require_clusters(score: Score) -> None:
    """See that all documents have a cluster, or none has."""
    without = [sample.id for sample in score.samples if sample.cluster is None]
    if without and len(without) < len(score.samples):
        raise StageError(
            f"{len(without):,} of {len(score.samples):,} documents of {score.task} have no "
            f"cluster (first: document {without[0]})"
        )
