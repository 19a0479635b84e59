"""What a run measured, and the cases that its checks make of it."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import NamedTuple

from gate.distribution_records import Distribution
from gate.evaluation_records import Corpus, Score
from gate.extensions import Extension, find
from gate.judging.cases import Case, Moment, measure
from gate.judging.noise import EngineNoise, Noise, find_noise
from gate.judging.pairing import (
    Arms,
    Pair,
    Unasked,
    find_distribution,
    first_places,
    pair_scores,
    pair_serving,
    places_reached,
)
from gate.judging.slicing import of_slice, require_slice, slices_of
from gate.result_records import Estimate
from gate.serving_records import Serving
from gate.stats.sequential import Looks
from gate.terms import ResolvedCheck

MomentOf = Callable[[], Moment]

_FEWEST_OF_MEANS = 200
"""Documents below which O'Brien and Fleming's normal statistic errs more often than it says."""


class Measured(NamedTuple):
    """What a run measured: the arguments of `judge`."""

    scores: Mapping[tuple[str, str], Score]
    corpora: Mapping[str, Corpus]
    failures: Mapping[tuple[str, str], str]
    noise: Noise | None
    serving: Mapping[str, Serving]
    distributions: Mapping[tuple[str, str, str], Distribution]
    looks: Mapping[str, tuple[int, ...]]


class Opener:
    """Makes cases of checks; what several of them compare is paired and cut once."""

    def __init__(self, measured: Measured) -> None:
        """Remember what was measured; nothing is paired before a check asks for it."""
        self._measured = measured
        self._pair = cache(self._paired)
        self._part = cache(self._cut)
        self._slices = cache(self._sliced)
        self._choices = cache(self._offered)

    def open(self, resolved: ResolvedCheck) -> Case:
        """The case of a check.

        Raises:
            StageError: what it compares is missing or cannot be compared.
            Unasked: what it compares was not asked, or none of the first documents of a sequential
                task is in its slice.
        """
        comparison = find("comparisons", resolved.check.compare.name)
        kind = comparison.compares
        if kind == "scores":
            return self._case(resolved, comparison)
        arms = self._serving(resolved) if kind == "serving" else self._distribution(resolved)
        noise = () if kind == "serving" else self._noise(resolved, comparison)
        return Case(resolved, comparison, (lambda: Moment(arms),), noise=noise)

    def _serving(self, resolved: ResolvedCheck) -> Arms:
        return pair_serving(
            self._measured.serving,
            self._measured.failures,
            reference=resolved.reference,
            candidate=resolved.variant,
        )

    def _distribution(self, resolved: ResolvedCheck) -> Arms:
        return find_distribution(
            self._measured.distributions,
            self._measured.failures,
            reference=resolved.reference,
            candidate=resolved.variant,
            text=resolved.task,
        )

    def _case(self, resolved: ResolvedCheck, comparison: Extension) -> Case:
        return Case(
            resolved,
            comparison,
            self._moments(resolved),
            noise=self._noise(resolved, comparison),
            choices=partial(self._choices, resolved.task),
        )

    def _moments(self, resolved: ResolvedCheck) -> tuple[MomentOf, ...]:
        """One for all documents, or one for each look that both variants have reached."""
        task, name = resolved.task, resolved.check.slice
        arms = (resolved.reference, resolved.variant, task)
        whole, planned = self._pair(*arms), self._measured.looks.get(task)
        if planned is None:
            if name is not None:
                require_slice(whole, name)
            return (partial(self._moment, arms, name, None),)
        reached = places_reached(whole.reference)
        sizes = planned if whole.reference.is_binary else _looks_at_means(planned)
        first = len(planned) - len(sizes)
        taken = [at for at, before in enumerate((0, *planned)[first:-1]) if reached > before]
        if not taken:
            raise Unasked(
                f"a mean is first looked at over {sizes[0]:,} documents, and {reached:,} of "
                f"{sizes[-1]:,} of {task} have been asked"
            )
        asked = [at for at in taken if self._part(*arms, name, sizes[at]).reference.samples]
        if name is not None and len(taken) == len(sizes):
            require_slice(whole, name)
        if not asked:
            raise Unasked(
                f"none of the first {sizes[taken[-1]]:,} of {sizes[-1]:,} documents of {task} is "
                f"in slice {name!r}"
            )
        return tuple(partial(self._moment, arms, name, Looks(sizes, at)) for at in asked)

    def _moment(self, arms: tuple[str, str, str], name: str | None, looks: Looks | None) -> Moment:
        places = None if looks is None else looks.sizes[looks.at]
        part = self._part(*arms, name, places)
        if name is not None:
            return Moment(part, looks)
        return Moment(part, looks, partial(self._slices, *arms, places))

    def _noise(self, resolved: ResolvedCheck, comparison: Extension) -> tuple[EngineNoise, ...]:
        """The engines compared with themselves, on all documents that were asked twice.

        That is the interval of a comparison that is made once, in a sequential check too: how many
        documents were asked does not depend on what the engine changes by itself.
        """
        check = resolved.check

        def compare(twice: Arms) -> Estimate | str:
            arms = twice
            if check.slice is not None and isinstance(twice, Pair):
                arms = part = of_slice(twice, check.slice)
                if not part.reference.samples:
                    return f"no document of slice {check.slice!r} was asked twice"
            return measure(check, comparison, Moment(arms), confidence=check.confidence)

        return find_noise(resolved, self._measured.noise, compare)

    def _paired(self, reference: str, candidate: str, task: str) -> Pair:
        return pair_scores(
            self._measured.scores,
            self._measured.failures,
            reference=reference,
            candidate=candidate,
            task=task,
            is_sequential=task in self._measured.looks,
        )

    def _cut(
        self, reference: str, candidate: str, task: str, name: str | None, places: int | None
    ) -> Pair:
        """The first places of two scores, and of these a slice."""
        pair = self._pair(reference, candidate, task)
        if places is not None:
            pair = Pair(*(first_places(score, places) for score in pair))
        return pair if name is None else of_slice(pair, name)

    def _sliced(
        self, reference: str, candidate: str, task: str, places: int | None
    ) -> dict[str, Pair]:
        return slices_of(self._part(reference, candidate, task, None, places))

    def _offered(self, task: str) -> Mapping[int, int] | None:
        """How many answers each document of a task offers; None where its documents are missing."""
        corpus = self._measured.corpora.get(task)
        if corpus is None:
            return None
        ids, choices = (corpus.documents.column(name).tolist() for name in ("id", "choices"))
        return dict(zip(ids, map(len, choices), strict=True))


def _looks_at_means(planned: tuple[int, ...]) -> tuple[int, ...]:
    """The looks that a metric which is not right or wrong is judged at; the last one always."""
    return tuple(one for one in planned if one >= _FEWEST_OF_MEANS) or planned[-1:]
