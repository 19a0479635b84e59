"""A variant's score with its interval, and of which questions it is the score."""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gate.aggregates import PERPLEXITIES, aggregate_of
from gate.digest import digest_json
from gate.errors import StageError
from gate.history.runs import Measured
from gate.stats.clusters import cluster_interval
from gate.stats.intervals import Interval
from gate.stats.means import paired_t_interval
from gate.stats.proportions import clopper_pearson
from gate.stats.ratios import ratio_interval
from gate.terms import Task

CONFIDENCE = 0.95
"""Of each end of a score's interval, one-sided."""

_FEWEST = 2


class KeptSample(BaseModel):
    """What a score needs of a sample; the rest of it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    hash: str
    value: float
    cluster: str | None = None
    statistics: tuple[float, ...] = ()


class KeptScore(BaseModel):
    """What the history reads of a score; the rest of it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    variant: str
    task: str
    metric: str
    is_binary: bool
    aggregate: str = "mean"
    samples: tuple[KeptSample, ...]


def summarize(score: KeptScore, task: Task | None) -> Measured | None:
    """A score without its documents; None where there are none, or it cannot be computed.

    Args:
        score: as recorded.
        task: how the documents were asked; None where the record does not say.
    """
    value = _value(score)
    if value is None:
        return None
    corpus = digest_json(sorted(sample.hash for sample in score.samples))
    settings = None if task is None else (task.filter, task.num_fewshot, task.chat)
    return Measured(
        variant=score.variant,
        task=score.task,
        metric=score.metric,
        is_share=score.is_binary and score.aggregate == "mean",
        value=value,
        interval=_interval(score),
        documents=len(score.samples),
        corpus=corpus,
        asked=digest_json([corpus, score.metric, score.aggregate, settings]),
    )


def _value(score: KeptScore) -> float | None:
    """The mean of the documents or the metric of their corpus, if it is a finite number."""
    if not score.samples:
        return None
    if score.aggregate == "mean":
        return float(_values(score).mean())
    try:
        value = float(aggregate_of(score.aggregate)(_statistics(score).sum(axis=0)))
    except (StageError, ValueError, IndexError):
        return None
    return value if math.isfinite(value) else None


def _interval(score: KeptScore) -> Interval | None:
    """The score's interval at `CONFIDENCE`; None where its spread tells none.

    Clopper and Pearson's of a share of documents; Student's of a mean, over clusters where there
    are any; the ratio estimator's of a perplexity, on the scale of its logarithm. Other metrics
    of a corpus have none here, nor do documents that all score the same.
    """
    clusters = _clusters(score)
    if len(score.samples if clusters is None else set(clusters)) < _FEWEST:
        return None
    if score.aggregate in PERPLEXITIES:
        return _perplexity_interval(score, clusters)
    return _mean_interval(score, clusters) if score.aggregate == "mean" else None


def _mean_interval(score: KeptScore, clusters: list[str] | None) -> Interval | None:
    values = _values(score)
    if score.is_binary and clusters is None:
        return clopper_pearson(float(values.sum()), len(values), confidence=CONFIDENCE)
    if np.ptp(values) == 0.0:
        return None
    if clusters is None:
        return paired_t_interval(values, confidence=CONFIDENCE)
    return cluster_interval(values, clusters, confidence=CONFIDENCE).interval


def _perplexity_interval(score: KeptScore, clusters: list[str] | None) -> Interval:
    sums = _statistics(score)
    found = ratio_interval(-sums[:, 0], sums[:, 1], confidence=CONFIDENCE, clusters=clusters)
    return Interval(math.exp(found.interval.low), math.exp(found.interval.high))


def _clusters(score: KeptScore) -> list[str] | None:
    """The cluster of each document; None where the task names no such field."""
    clusters = [one.cluster for one in score.samples if one.cluster is not None]
    return clusters if len(clusters) == len(score.samples) else None


def _values(score: KeptScore) -> NDArray[np.float64]:
    return np.array([sample.value for sample in score.samples])


def _statistics(score: KeptScore) -> NDArray[np.float64]:
    """What each document contributes to a metric of the corpus, [documents, k].

    Raises:
        ValueError: they are not alike.
    """
    return np.array([sample.statistics for sample in score.samples], dtype=np.float64)
