"""Metrics of a whole corpus, from the sums of what each of its documents contributes."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gate.errors import StageError, suggest
from gate.evaluation_records import Score
from gate.tables import Rows

Array = NDArray[np.float64]
Aggregate = Callable[[Array], Array]
"""From summed statistics [..., k] to the metric [...]: one call serves a whole bootstrap."""

PERPLEXITIES = frozenset(
    {"perplexity", "word_perplexity", "byte_perplexity", "weighted_perplexity"}
)
"""Aggregates that are exp(-log-likelihood / weight), both summed: ratios, on the scale of ln."""

_BLEU_ORDERS = 4
_CHRF_BETA_SQUARED = 4


def aggregate_of(name: str) -> Aggregate:
    """The function that makes a metric of the corpus of its documents' summed statistics.

    It takes sums [..., k] over documents, as `statistics_of` has them, and gives the metric [...].

    Raises:
        StageError: no aggregate has this name.
    """
    if name not in _AGGREGATES:
        raise StageError(f"no aggregate named {name!r}", hint=suggest(name, _AGGREGATES))
    return _AGGREGATES[name]


def statistics_of(score: Score) -> Array:
    """What each document contributes to the metric of the corpus, [documents, k], in their order.

    For a mean that is (value, 1).

    Raises:
        StageError: the samples' statistics are missing, or are not alike.
    """
    if score.aggregate == "mean":
        values = score.samples.column("value")
        return np.column_stack((values, np.ones(len(values))))
    rows: Rows = score.samples.column("statistics")
    lengths = set(rows.lengths.tolist())
    if 0 in lengths or len(lengths) > 1:
        raise StageError(
            f"{score.variant} on {score.task}: {score.aggregate} cannot be computed: its samples "
            f"have {' or '.join(map(str, sorted(lengths)))} statistics"
        )
    return rows.matrix()


def value_of(score: Score) -> float:
    """A variant's metric on a task: the mean of its documents, or the metric of their corpus.

    It is 0.0 where there are no documents, and infinite where a perplexity is beyond a float.

    Raises:
        StageError: the samples' statistics are missing, or not alike, or the aggregate is unknown.
    """
    if score.aggregate == "mean" or not score.samples:
        return score.mean
    return float(aggregate_of(score.aggregate)(statistics_of(score).sum(axis=0)))


def _ratio(numerator: Array, denominator: Array, *, otherwise: float | Array = 0.0) -> Array:
    """A ratio, and something else where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    out = np.broadcast_to(np.asarray(otherwise, dtype=np.float64), shape).copy()
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)


def _mean(sums: Array) -> Array:
    """Of (values, documents)."""
    return _ratio(sums[..., 0], sums[..., 1])


def _perplexity(sums: Array) -> Array:
    """Of (log-likelihood in nats, weight): documents, words or bytes.

    Agrees with lm_eval 0.4.13's perplexity and weighted_perplexity.
    """
    with np.errstate(over="ignore"):
        return np.exp(-_ratio(sums[..., 0], sums[..., 1]))


def _bits_per_byte(sums: Array) -> Array:
    """Of (log-likelihood in nats, bytes). Agrees with lm_eval 0.4.13's bits_per_byte."""
    return -_ratio(sums[..., 0], sums[..., 1]) / math.log(2)


def _bleu(sums: Array) -> Array:
    """Of (length, reference length, n-grams matched of order 1 to 4, n-grams of order 1 to 4).

    Source: Papineni et al. (2002), smoothed exponentially: agrees with sacrebleu 2.6's
    BLEU.compute_bleu, smooth_method="exp".
    """
    length, reference = sums[..., 0], sums[..., 1]
    matched = sums[..., 2 : 2 + _BLEU_ORDERS]
    total = sums[..., 2 + _BLEU_ORDERS :]
    # an order without a match counts as half a match, the next such order as a quarter, and so on
    smoothed = np.where(matched == 0, 0.5 ** np.cumsum(matched == 0, axis=-1), matched)
    is_defined = matched.any(axis=-1) & (total > 0).all(axis=-1)
    precisions = _ratio(smoothed, total, otherwise=1.0)
    brevity = np.exp(np.minimum(0.0, 1 - _ratio(reference, length, otherwise=1.0)))
    score = 100 * brevity * np.exp(np.log(precisions).mean(axis=-1))
    return np.where(is_defined, score, 0.0)


def _chrf(sums: Array) -> Array:
    """Of (n-grams written, n-grams of the reference, n-grams in both) for each order.

    Source: Popovic (2015), with beta 2: agrees with sacrebleu 2.6's CHRF, which leaves out the
    orders that have no n-grams. With orders of words after those of characters it is chrF++.
    """
    orders = sums.reshape(*sums.shape[:-1], -1, 3)
    written, reference, matched = orders[..., 0], orders[..., 1], orders[..., 2]
    is_counted = (written > 0) & (reference > 0)
    counted = is_counted.sum(axis=-1)
    precision = _ratio((_ratio(matched, written) * is_counted).sum(axis=-1), counted)
    recall = _ratio((_ratio(matched, reference) * is_counted).sum(axis=-1), counted)
    weighted = (1 + _CHRF_BETA_SQUARED) * precision * recall
    return 100 * _ratio(weighted, _CHRF_BETA_SQUARED * precision + recall)


def _ter(sums: Array) -> Array:
    """Of (edits, mean length of the references). Agrees with sacrebleu 2.6's TER."""
    edits, length = sums[..., 0], sums[..., 1]
    return 100 * _ratio(edits, length, otherwise=np.sign(edits))


def _f1(sums: Array) -> Array:
    """Of (right and predicted 1, predicted 1, right 1): F1 of the label 1.

    Agrees with lm_eval 0.4.13's f1, which is scikit-learn's f1_score(average="binary"); 0 where
    the label is neither right nor predicted anywhere.
    """
    return 2 * _ratio(sums[..., 0], sums[..., 1] + sums[..., 2])


def _mcc(sums: Array) -> Array:
    """Of (right, documents), then (predicted, true) for each label: correlation in [-1, 1].

    Source: Gorodkin (2004), R_K for any number of labels: agrees with scikit-learn's
    matthews_corrcoef; 0 where all are of one label, or all are predicted as one.
    """
    right, documents = sums[..., 0], sums[..., 1]
    predicted, true = sums[..., 2::2], sums[..., 3::2]
    covariance = right * documents - (predicted * true).sum(axis=-1)
    of_predicted = documents**2 - (predicted**2).sum(axis=-1)
    of_true = documents**2 - (true**2).sum(axis=-1)
    return _ratio(covariance, np.sqrt(of_predicted * of_true))


_AGGREGATES: dict[str, Aggregate] = {
    "mean": _mean,
    **dict.fromkeys(sorted(PERPLEXITIES), _perplexity),
    "bits_per_byte": _bits_per_byte,
    "bleu": _bleu,
    "chrf": _chrf,
    "chrf++": _chrf,
    "ter": _ter,
    "f1": _f1,
    "mcc": _mcc,
}
