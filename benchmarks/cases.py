"""Candidates of a known truth for every method that is no count: what is drawn, and its margin.

Margins of means are 2.8 true standard errors, at which a check by normal theory would pass a
candidate without any loss in seven of eight cases.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from simulation import Case, Draw
from trials import flipped, judged, judged_texts, measured, summed

from gate.judging.looks import look_sizes
from gate.result_records import CheckResult
from gate.terms import Sequential

_ERRORS = 2.8
_PER_CLUSTER = 10

Noise = Callable[[Generator, int], NDArray[np.float64]]
"""So many values with mean 0 and standard deviation 1."""


def cases() -> Iterator[Case]:
    """Every case, the quick ones first."""
    for clusters in (6, 10, 20, 50):
        yield Case(
            "clusters that share half the variance", f"{clusters} clusters", _groups(clusters)
        )
    yield Case("answers that flip by cluster", "100 clusters", _flips_by_cluster(100, is_told=True))
    yield Case(
        "the same, its clusters not named", "1,000 documents", _flips_by_cluster(100, is_told=False)
    )
    for documents in (30, 100):
        yield Case("KL, some documents much worse", f"{documents} documents", _kl(documents), 0.5)
        yield Case("word perplexity", f"{documents} documents", _perplexity(documents))
    yield Case("F1 of the corpus", "300 documents", _f1(300))
    for documents in (50, 200):
        yield Case("normal", f"{documents} documents", _documents(normal, documents))
        yield Case(
            "heavy tails (t, 3 degrees)", f"{documents} documents", _documents(heavy, documents)
        )
        yield Case(
            "few documents that lose much", f"{documents} documents", _documents(skewed, documents)
        )
    yield Case("few documents that lose much", "1,000 documents", _documents(skewed, 1000))


def sequential_cases() -> Iterator[Case]:
    """Metrics that are no counts, looked at again and again."""
    looks = look_sizes(Sequential(), 400)
    size = f"looks at {', '.join(map(str, looks))} documents"
    for name, noise in (("normal", normal), ("few documents that lose much", skewed)):
        yield Case(name, size, _looks(noise, looks[-1], {"task": looks}))


def normal(random: Generator, n: int) -> NDArray[np.float64]:
    """The normal distribution."""
    return random.standard_normal(n)


def heavy(random: Generator, n: int) -> NDArray[np.float64]:
    """Student's t with 3 degrees of freedom."""
    return random.standard_t(3, n) / math.sqrt(3)


def skewed(random: Generator, n: int) -> NDArray[np.float64]:
    """One document in ten loses, some of them much (exponentially), the others nothing."""
    share = 0.1
    losses = np.where(random.random(n) < share, random.standard_exponential(n), 0.0)
    return (share - losses) / math.sqrt(2 * share - share**2)


def _documents(noise: Noise, n: int) -> Draw:
    return _looks(noise, n, None)


def _looks(noise: Noise, n: int, looks: Mapping[str, tuple[int, ...]] | None) -> Draw:
    margin = _ERRORS / math.sqrt(n)

    def draw(random: Generator, margins: float) -> CheckResult:
        trial = measured(noise(random, n) - margins * margin)
        return judged([trial], margin, looks=looks)[0]

    return draw


def _groups(clusters: int) -> Draw:
    names = _names(clusters)
    margin = _ERRORS * math.sqrt((0.5 + 0.5 / _PER_CLUSTER) / clusters)

    def draw(random: Generator, margins: float) -> CheckResult:
        shared = np.repeat(random.standard_normal(clusters), _PER_CLUSTER)
        own = random.standard_normal(len(names))
        differences = math.sqrt(0.5) * (shared + own) - margins * margin
        return judged([measured(differences, clusters=names)], margin)[0]

    return draw


def _flips_by_cluster(clusters: int, *, is_told: bool) -> Draw:
    """Two fifths of the clusters are hit: half of their documents flip, all in one direction."""
    names, is_hit, flips = _names(clusters), 0.4, 0.5
    variance = is_hit * (flips**2 + flips * (1 - flips) / _PER_CLUSTER)
    margin = _ERRORS * math.sqrt(variance / clusters)

    def draw(random: Generator, margins: float) -> CheckResult:
        losing = (1 + margins * margin / (is_hit * flips)) / 2
        sign = np.where(random.random(clusters) < losing, -1, 1)
        hit = np.where(random.random(clusters) < is_hit, sign, 0)
        flipping = random.random(len(names)) < flips
        differences = (np.repeat(hit, _PER_CLUSTER) * flipping).astype(np.int8)
        return judged([flipped(differences, clusters=names if is_told else None)], margin)[0]

    return draw


def _kl(documents: int) -> Draw:
    """Nats a token that differ between documents as an exponential does, of 50 to 500 tokens."""
    bound = 0.02

    def draw(random: Generator, margins: float) -> CheckResult:
        tokens = random.integers(50, 500, documents)
        return judged_texts(
            margins * bound * tokens * random.standard_exponential(documents), tokens, bound
        )

    return draw


def _perplexity(documents: int) -> Draw:
    """Nats a word, on documents of 50 to 500 words, whose changes have heavy tails."""
    deviation = 0.05
    margin = _ERRORS * deviation / math.sqrt(documents)

    def draw(random: Generator, margins: float) -> CheckResult:
        words = random.integers(50, 500, documents).astype(np.float64)
        before = -words * random.normal(3.0, 0.3, documents)
        change = deviation * heavy(random, documents) - margins * margin
        after = before + words * change
        arms = (np.stack([nats, words], axis=1) for nats in (before, after))
        trial = summed(*arms, aggregate="word_perplexity", is_better=False)
        return judged([trial], margin)[0]

    return draw


def _f1(documents: int) -> Draw:
    """Labels of which 0.3 are 1, 0.85 of them all found; 0.03 of all change for the better."""
    ones, right, gained, margin = 0.3, 0.85, 0.03, 0.06
    f1 = 2 * ones * right / (1 - (1 - 2 * ones) * right)

    def draw(random: Generator, margins: float) -> CheckResult:
        worse = f1 - margins * margin
        lost = gained + right - worse / (2 * ones + (1 - 2 * ones) * worse)
        label = random.random(documents) < ones
        is_right = random.random(documents) < right
        changes = random.random(documents) < np.where(is_right, lost / right, gained / (1 - right))
        arms = (_f1_statistics(label, label == found) for found in (is_right, is_right ^ changes))
        return judged([summed(*arms, aggregate="f1", is_better=True)], margin)[0]

    return draw


def _f1_statistics(label: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each document: right and predicted 1, predicted 1, right 1."""
    return np.stack([label & predicted, predicted, label], axis=1).astype(np.float64)


def _names(clusters: int) -> list[str]:
    return [str(i // _PER_CLUSTER) for i in range(clusters * _PER_CLUSTER)]
