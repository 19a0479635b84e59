"""How often a check passes and fails, drawn: candidates of a known truth, again and again."""

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from gate.result_records import CheckResult, Outcome

Draw = Callable[[Generator, float], CheckResult]
"""One candidate, whose true change is so many margins for the worse, and what became of it."""


class Case(NamedTuple):
    """One method on one kind of data.

    Attributes:
        data: what is drawn.
        size: how many documents, or clusters.
        draw: draws one candidate and has it judged.
        inside: true change of a good candidate, in margins.
        beyond: true change of a bad one, in margins.
    """

    data: str
    size: str
    draw: Draw
    inside: float = 0.0
    beyond: float = 2.0


class Share(NamedTuple):
    """A share of repetitions, and its standard error."""

    value: float
    repetitions: int

    @property
    def error(self) -> float:
        """The Monte-Carlo standard error; that of one repetition where there is none or all."""
        least = 1 / self.repetitions
        value = min(max(self.value, least), 1 - least)
        return math.sqrt(value * (1 - value) / self.repetitions)

    def __str__(self) -> str:
        """In percent with its error: 4.8 ± 0.3."""
        return f"{100 * self.value:.1f} ± {100 * self.error:.1f}"


class Found(NamedTuple):
    """What became of the candidates of a case.

    Attributes:
        method: the interval's, by the judge's own name for it.
        falsely_promoted: share that passed exactly at the margin.
        falsely_blocked: share that failed exactly at the margin.
        promoted: share that passed inside.
        blocked: share that failed beyond.
    """

    method: str
    falsely_promoted: Share
    falsely_blocked: Share
    promoted: Share
    blocked: Share


def simulate(case: Case, *, repetitions: int, seed: int) -> Found:
    """Candidates exactly at the margin, and a quarter as many inside and beyond it."""
    few = max(1, repetitions // 4)
    at_margin = _results(case.draw, 1.0, repetitions, seed=seed)
    inside = _results(case.draw, case.inside, few, seed=seed + 1)
    beyond = _results(case.draw, case.beyond, few, seed=seed + 2)
    methods = dict.fromkeys(_method(one) for one in at_margin)
    return Found(
        method=", or ".join(methods),
        falsely_promoted=_share(at_margin, "pass"),
        falsely_blocked=_share(at_margin, "fail"),
        promoted=_share(inside, "pass"),
        blocked=_share(beyond, "fail"),
    )


def _method(result: CheckResult) -> str:
    """The method's name, without what it was applied to in one draw."""
    name = result.estimate.method if result.estimate else result.reason
    name = re.sub(r" \([\d,]+ tokens\)", "", name)
    return re.sub(r", at the [\d.]+ % of O'Brien-Fleming's look.*", ", O'Brien-Fleming looks", name)


def _results(draw: Draw, margins: float, repetitions: int, *, seed: int) -> list[CheckResult]:
    random = np.random.default_rng(seed)
    return [draw(random, margins) for _ in range(repetitions)]


def _share(results: Sequence[CheckResult], asked: Outcome) -> Share:
    return Share(sum(one.outcome == asked for one in results) / len(results), len(results))
