"""What lm-eval makes of one document, as a value to show and statistics to sum."""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from gate.errors import ConfigError, StageError

_SHARED = {
    "mean": "mean",
    "nanmean": "mean",
    "brier_score": "mean",
    "perplexity": "perplexity",
    "weighted_perplexity": "weighted_perplexity",
    "bits_per_byte": "bits_per_byte",
    "f1": "f1",
    "matthews_corrcoef": "mcc",
    "bleu": "bleu",
    "chrf": "chrf",
    "chrf++": "chrf++",
    "ter": "ter",
}
"""{lm-eval's name of an aggregation: the gate's, in gate/aggregates.py}."""

_PAIR = 2
_CHRF_PLUS_WORD_ORDERS = 2


class Measure(NamedTuple):
    """What one document gives.

    Attributes:
        value: the metric of this document alone; for a perplexity its ln, per document, word or
            byte; for a label whether it is right.
        statistics: what the metric of the corpus is computed from; empty for a mean.
    """

    value: float
    statistics: tuple[float, ...] = ()


class Aggregation(NamedTuple):
    """How a metric is aggregated: by lm-eval's name, and by the gate's own."""

    name: str
    aggregate: str


def find_aggregation(
    task: str, metric: str, functions: Mapping[str, Callable[..., Any]]
) -> Aggregation:
    """How a task aggregates a metric; the mean where it does not say, as in lm-eval.

    Args:
        task: the task's name, for messages.
        metric: the metric's.
        functions: {metric: lm-eval's function of all its values}.

    Raises:
        ConfigError: by a function that the gate does not know.
    """
    from lm_eval.api.registry import get_aggregation

    if metric not in functions:
        return Aggregation("mean", "mean")
    function = functions[metric]
    for name, aggregate in _SHARED.items():
        if get_aggregation(name) is function:
            is_named = metric in ("word_perplexity", "byte_perplexity")
            is_weighted = name == "weighted_perplexity"
            return Aggregation(name, metric if is_weighted and is_named else aggregate)
    raise ConfigError(
        f"task {task} aggregates {metric} by {getattr(function, '__name__', function)}, "
        "which the gate does not know",
        hint=f"it knows {', '.join(sorted(_SHARED))}",
    )


def measure(aggregation: str, given: Any, *, choices: int, what: str) -> Measure:
    """What a document contributes to a metric.

    Args:
        aggregation: lm-eval's name of the aggregation.
        given: what lm-eval's process_results has for the metric.
        choices: answers that the document offers; 0 where the model writes its own.
        what: the metric and the document, for messages.

    Raises:
        ConfigError: that is not what this aggregation is made from.
        StageError: a number in it is not finite.
    """
    try:
        found = _measured(aggregation, given, choices)
    except ValueError as error:
        raise ConfigError(
            f"{what} {error}",
            hint=f"the task aggregates it by {aggregation}: see its metric_list",
        ) from error
    for number in (found.value, *found.statistics):
        if not math.isfinite(number):
            raise StageError(f"{what} is {number}, not a finite number")
    return found


def _measured(aggregation: str, given: Any, choices: int) -> Measure:
    if aggregation in ("mean", "nanmean"):
        return Measure(_number(given))
    if aggregation == "brier_score":
        return Measure(_brier(given))
    if aggregation == "perplexity":
        loglikelihood = _number(given)
        return Measure(-loglikelihood, (loglikelihood, 1.0))
    if aggregation in ("weighted_perplexity", "bits_per_byte"):
        return _weighted(given, math.log(2) if aggregation == "bits_per_byte" else 1.0)
    if aggregation in ("f1", "matthews_corrcoef"):
        return _labelled(aggregation, given, choices)
    return _compared(aggregation, given)


def _number(given: Any) -> float:
    # numpy's own bool, which a comparison of arrays gives, is no Real
    if isinstance(given, Real | np.bool_):
        return float(given)
    raise ValueError("is not a number")


def _two(given: Any, what: str) -> tuple[Any, Any]:
    if isinstance(given, tuple | list) and len(given) == _PAIR:
        return given[0], given[1]
    raise ValueError(f"is not a pair of {what}")


def _brier(given: Any) -> float:
    """The squared distance of the probabilities from the right answer's 1."""
    right, probabilities = _two(given, "right label and probabilities")
    shares = [_number(one) for one in probabilities]
    right = _label(right, labels=len(shares))
    return math.fsum((share - (place == right)) ** 2 for place, share in enumerate(shares))


def _weighted(given: Any, unit: float) -> Measure:
    loglikelihood, weight = map(_number, _two(given, "log-likelihood and weight"))
    if weight <= 0:
        raise ValueError(f"has the weight {weight:g}: a text has words and bytes")
    return Measure(-loglikelihood / weight / unit, (loglikelihood, weight))


def _labelled(aggregation: str, given: Any, choices: int) -> Measure:
    labels = max(choices, 2)
    if aggregation == "f1" and labels > _PAIR:
        raise ValueError(f"has {labels} labels: lm-eval's f1 is of the labels 0 and 1")
    two = _two(given, "right and predicted label")
    right, predicted = (_label(one, labels=labels) for one in two)
    value = float(right == predicted)
    if aggregation == "f1":
        return Measure(value, (float(right * predicted), float(predicted), float(right)))
    cells = [float(is_it == label) for label in range(labels) for is_it in (predicted, right)]
    return Measure(value, (value, 1.0, *cells))


def _label(given: Any, *, labels: int) -> int:
    if isinstance(given, Real) and given in range(labels):
        return int(float(given))
    raise ValueError(f"has the label {given!r}: they go from 0 to {labels - 1}")


def _compared(aggregation: str, given: Any) -> Measure:
    """Sentence-level score and statistics of a text and its references, by sacrebleu.

    Source: sacrebleu 2.6, with the settings of lm_eval 0.4.13's aggregations.
    """
    from sacrebleu import sentence_bleu, sentence_ter

    references, text = _two(given, "references and text")
    references = [references] if isinstance(references, str) else list(references)
    text = text[0] if isinstance(text, list | tuple) and len(text) == 1 else text
    if not references or not all(isinstance(one, str) for one in (text, *references)):
        raise ValueError("is not a pair of references and text")
    if aggregation == "bleu":
        bleu = sentence_bleu(text, references)
        counts = (bleu.sys_len, bleu.ref_len, *bleu.counts, *bleu.totals)
        return Measure(bleu.score, tuple(map(float, counts)))
    if aggregation == "ter":
        ter = sentence_ter(text, references)
        return Measure(ter.score, (float(ter.num_edits), float(ter.ref_length)))
    return _chrf(text, references, _CHRF_PLUS_WORD_ORDERS if aggregation == "chrf++" else 0)


def _chrf(text: str, references: list[str], word_order: int) -> Measure:
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(word_order=word_order)
    # sacrebleu's own significance test takes them from here: its scores do not tell the counts
    (counts,) = metric._extract_corpus_statistics([text], [[one] for one in references])
    return Measure(metric._compute_f_score(counts), tuple(map(float, counts)))
