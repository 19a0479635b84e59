"""Two arms made to order, and what the gate's own judge says of them."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.distribution_records import Distribution, DocumentDivergence
from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.judge import judge
from gate.result_records import CheckResult
from gate.terms import Check, ResolvedCheck, Use

CONFIDENCE = 0.95
_SHARE_WRONG = 0.2
_CHOICES = ("a", "b", "c", "d")

Clusters = Sequence[str | None] | None


class Trial(NamedTuple):
    """The answers of two variants to the documents of one task.

    Attributes:
        task: the task's name.
        reference: one sample per document.
        candidate: the same documents in the same order.
    """

    task: str
    reference: Score
    candidate: Score


def counted(gains: int, losses: int, n: int, *, task: str = "task") -> Trial:
    """A binary metric with so many gains and losses; about a fifth is wrong in both arms."""
    wrong = min(round(_SHARE_WRONG * n), n - gains - losses)
    changed = gains + losses
    reference, candidate = (
        _pool(n)[gained][:gains]
        + _pool(n)[not gained][gains:changed]
        + _pool(n)[False][changed : changed + wrong]
        + _pool(n)[True][changed + wrong : n]
        for gained in (False, True)
    )
    return _trial(task, reference, candidate, metric="acc")


def flipped(differences: NDArray[np.int8], *, clusters: Clusters = None) -> Trial:
    """A binary metric that changes by -1, 0 or 1 at each place of the seeded order."""
    unchanged = np.arange(len(differences)) % round(1 / _SHARE_WRONG) > 0
    before = np.where(differences == 0, unchanged, differences < 0)
    after = np.where(differences == 0, unchanged, differences > 0)
    reference, candidate = (_samples(values.astype(float), clusters) for values in (before, after))
    return _trial("task", reference, candidate, metric="acc")


def measured(differences: NDArray[np.float64], *, clusters: Clusters = None) -> Trial:
    """A continuous metric that changes by so much at each place of the seeded order."""
    reference, candidate = (
        _samples(1 + change, clusters) for change in (0 * differences, differences)
    )
    return _trial("task", reference, candidate, metric="score")


def summed(
    before: NDArray[np.float64], after: NDArray[np.float64], *, aggregate: str, is_better: bool
) -> Trial:
    """A metric of the whole corpus, from statistics of each document, [documents, statistics].

    Args:
        before: the reference's.
        after: the candidate's.
        aggregate: the metric's name in gate/aggregates.py.
        is_better: whether more of it is better.
    """
    reference, candidate = (
        _samples(rows[:, 0], None, statistics=rows.tolist()) for rows in (before, after)
    )
    options = {"aggregate": aggregate, "higher_is_better": is_better}
    return _trial("task", reference, candidate, metric=aggregate, **options)


def judged(
    trials: Sequence[Trial],
    margin: float,
    *,
    looks: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[CheckResult, ...]:
    """What the judge says of a loss of so much in each trial, all of them checks of one run."""
    scores = {(one.variant, one.task): one for trial in trials for one in trial[1:]}
    checks = [_check("delta", trial.task, at_least=-margin) for trial in trials]
    corpora = {trial.task: _corpus(trial.task, len(trial.reference.samples)) for trial in trials}
    sequential = {} if looks is None else {"looks": looks}
    return judge(checks, scores, corpora, {}, **sequential)


def judged_texts(
    divergences: NDArray[np.float64], tokens: NDArray[np.int64], bound: float
) -> CheckResult:
    """What the judge says of documents with so much KL in nats, summed over so many tokens."""
    documents = tuple(
        DocumentDivergence(
            id=i, tokens=n, kl=kl, same_top=n, nll_reference=n, nll_candidate=n, delta_p=0.0
        )
        for i, (kl, n) in enumerate(zip(divergences.tolist(), tokens.tolist(), strict=True))
    )
    distribution = Distribution(
        variant="candidate",
        reference="reference",
        text="text",
        tokens_hash="",
        documents=documents,
        delta_p_rms=0.0,
    )
    found = {("candidate", "reference", "text"): distribution}
    (result,) = judge([_check("kl", "text", at_most=bound)], {}, {}, {}, distributions=found)
    return result


def _check(comparison: str, task: str, **bounds: float) -> ResolvedCheck:
    compare = Use(name=comparison)
    check = Check(
        of="candidate", against="reference", compare=compare, confidence=CONFIDENCE, **bounds
    )
    return ResolvedCheck(check=check, variant="candidate", reference="reference", task=task)


def _trial(
    task: str,
    reference: tuple[Sample, ...],
    candidate: tuple[Sample, ...],
    *,
    metric: str,
    aggregate: str = "mean",
    higher_is_better: bool = True,
) -> Trial:
    one, other = (
        Score(
            variant=variant,
            task=task,
            metric=metric,
            higher_is_better=higher_is_better,
            is_binary=metric == "acc",
            aggregate=aggregate,
            available=len(samples),
            samples=samples,
        )
        for variant, samples in (("reference", reference), ("candidate", candidate))
    )
    return Trial(task, one, other)


def _samples(
    values: NDArray[np.float64],
    clusters: Clusters,
    *,
    statistics: Sequence[Sequence[float]] | None = None,
) -> tuple[Sample, ...]:
    names = clusters or [None] * len(values)
    rows = statistics or [()] * len(values)
    return tuple(
        Sample(
            id=i,
            hash="",
            value=value,
            answer="",
            request_hash="",
            place=i,
            cluster=name,
            statistics=tuple(row),
        )
        for i, (value, name, row) in enumerate(zip(values.tolist(), names, rows, strict=True))
    )


def _pool(n: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Wrong and right samples of the first n documents, or more."""
    return _pool_of(max(1024, 1 << max(n - 1, 0).bit_length()))


@cache
def _pool_of(n: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    wrong, right = (_samples(np.full(n, value), None) for value in (0.0, 1.0))
    return wrong, right


@lru_cache(maxsize=16)
def _corpus(task: str, n: int) -> Corpus:
    documents = tuple(
        Document(id=i, hash="", prompt="", target="a", choices=_CHOICES) for i in range(n)
    )
    return Corpus(task=task, documents=documents)
