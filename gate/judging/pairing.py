"""Two scores as a pair: the same documents in the same order, given the same tokens, or refused."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gate.distribution_records import Distribution
from gate.errors import StageError
from gate.evaluation_records import Sample, Score
from gate.jobs import NotRun
from gate.serving_records import Serving
from gate.tables import Table


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
        reached = min(map(places_reached, pair))
        pair = Pair(*(first_places(score, reached) for score in pair))
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


def places_reached(score: Score) -> int:
    """How many places of the seeded order a score reaches; it has one document at the least."""
    return 1 + int(score.samples.column("place").max())


def first_places(score: Score, places: int) -> Score:
    """The score on the first so many documents of the seeded order."""
    is_kept = score.samples.column("place") < places
    return score if is_kept.all() else with_samples(score, score.samples.take(is_kept))


def with_samples(score: Score, samples: Table[Sample]) -> Score:
    """The score on some of its documents."""
    return score.model_copy(update={"samples": samples})


def _sorted(score: Score) -> Score:
    """The score with its samples by document, each document at most once."""
    ids = score.samples.column("id")
    if (np.diff(ids) > 0).all():
        return score
    order = np.argsort(ids, kind="stable")
    again = ids[order][1:][np.diff(ids[order]) == 0]
    if again.size:
        raise StageError(
            f"{score.variant} has more than one sample of document {again[0]} of {score.task}"
        )
    return with_samples(score, score.samples.take(order))


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
    if all(_is_alike(pair, name) for name in ("id", "hash")):
        return
    one, other = (
        zip(score.samples.column("id").tolist(), score.samples.column("hash"), strict=True)
        for score in pair
    )
    different = set(one) ^ set(other)
    ids = sorted({number for number, _ in different})
    raise StageError(
        f"{pair.reference.variant} and {pair.candidate.variant} were not evaluated on the same "
        f"documents of {pair.reference.task}: {len(ids):,} differ (first: document {ids[0]})"
    )


def _require_same_requests(pair: Pair) -> None:
    if _is_alike(pair, "request_hash"):
        return
    one, other = (score.samples.column("request_hash") for score in pair)
    ids = pair.reference.samples.column("id")[one != other]
    raise StageError(
        f"{pair.reference.variant} and {pair.candidate.variant} were not given the same tokens: "
        f"{len(ids):,} of {len(one):,} documents of {pair.reference.task} differ "
        f"(first: document {ids[0]}): tokenizer, template or truncation is not the same"
    )


def _is_alike(pair: Pair, name: str) -> bool:
    """Whether both scores have the same in a field of their samples."""
    one, other = (score.samples.column(name) for score in pair)
    return one is other or np.array_equal(one, other)


def _require_values(score: Score) -> None:
    values = score.samples.column("value")
    unusable = np.flatnonzero(~np.isfinite(values))
    if unusable.size:
        sample = score.samples[int(unusable[0])]
        raise StageError(
            f"{score.variant} has no usable value of document {sample.id} of {score.task}: "
            f"{sample.value}"
        )


def _require_clusters(score: Score) -> None:
    """See that all documents have a cluster, or none has."""
    clusters = zip(*(score.samples.column(name) for name in ("id", "cluster")), strict=True)
    without = [number for number, cluster in clusters if cluster is None]
    if 0 < len(without) < len(score.samples):
        raise StageError(
            f"{len(without):,} of {len(score.samples):,} documents of {score.task} have no "
            f"cluster (first: document {without[0]})"
        )
