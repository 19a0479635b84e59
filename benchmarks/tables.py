"""Tables of how often the gate errs, as Markdown, line by line."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import enumeration
import numpy as np
from enumeration import Outcomes, Region, rates, region
from sequences import Candidate, Paths
from simulation import Case, simulate
from trials import CONFIDENCE

from gate.stats.proportions import floor_documents
from gate.stats.sample_size import documents_for_power

SEED = 1234

_SETTINGS = ((0.02, (100, 133, 149, 300, 500, 1000)), (0.01, (299, 500, 1000, 2000)))
_FLIP_RATES = (1, 1.5, 2, 4, 8)
_IN_MARGINS = "m, 1.5 m, 2 m, 4 m, 8 m"
_FAMILY = 12
_STOPPING = (
    Candidate(0.01, 0.0, 0.01),
    Candidate(0.04, 0.0, 0.01),
    Candidate(0.01, 0.0, 0.02),
    Candidate(0.04, 0.0, 0.02),
    Candidate(0.08, 0.0, 0.02),
    Candidate(0.08, -0.05, 0.02),
    Candidate(0.12, -0.08, 0.02),
    Candidate(0.20, -0.15, 0.02),
)
_AT_MARGIN = tuple(
    Candidate(times * margin, -margin, margin) for margin in (0.01, 0.02) for times in (1, 2, 4)
)


def binary() -> Iterator[str]:
    """Exact rates of a binary check at a number of documents that was fixed beforehand."""
    yield from (
        f"Exact, in percent, for flip rates of {_IN_MARGINS}, where m is the margin. *Falsely",
        "promoted* and *falsely blocked*: the true loss is exactly the margin. *Promoted* and",
        "*blocked, no loss*: there is none; of the blocked, the worst flip rate. *Blocked, 3 m*:",
        "the true loss is three margins, at flip rates of 4 m and 8 m.",
        "",
    )
    yield from _header(
        *("margin", "documents", "falsely promoted", "falsely blocked"),
        *("promoted, no loss", "blocked, no loss", "blocked, 3 m"),
    )
    for margin, n in _settings():
        where = _region(enumeration.judged_outcomes, n, margin)
        at_margin = [rates(where, flip_rate=k * margin, change=-margin) for k in _FLIP_RATES]
        unchanged = [rates(where, flip_rate=k * margin, change=0.0) for k in _FLIP_RATES]
        beyond = [rates(where, flip_rate=k * margin, change=-3 * margin) for k in (4, 8)]
        yield _row(
            *(margin, f"{n:,}"),
            _percents(one.passed for one in at_margin),
            _percents(one.failed for one in at_margin),
            _percents(one.passed for one in unchanged),
            f"{100 * max(one.failed for one in unchanged):.2f}",
            _percents(one.failed for one in beyond),
        )


def corner(*, step: int) -> Iterator[str]:
    """The worst that happens where every flip is a loss: few tables are possible there."""
    yield from (
        "Where every flip is a loss few outcomes are possible, and the error jumps from one number",
        "of documents to the next. Over all of them, falsely promoted:",
        "",
    )
    yield from _header("margin", "documents", "worst, %", "at", "worst of the upper half, %", "at")
    for margin, most in ((0.02, 1000), (0.01, 2000)):
        fewest = floor_documents(margin, confidence=CONFIDENCE)
        found = dict(enumeration.losses_only(margin, range(fewest, most + 1, step)))
        first, second = (
            max((n for n in found if n >= least), key=lambda n: found[n])
            for least in (fewest, most // 2)
        )
        yield _row(
            *(margin, f"{min(found):,} to {max(found):,}"),
            *(f"{100 * found[first]:.1f}", f"{first:,}"),
            *(f"{100 * found[second]:.1f}", f"{second:,}"),
        )


def wald() -> Iterator[str]:
    """What the textbook's interval would do, which the gate does not use."""
    yield from (
        "The same false promotions by Tango's interval without the floor, and by Wald's, which the",
        "gate does not use. In percent.",
        "",
    )
    yield from _header("margin", "documents", "the gate", "Tango alone", "Wald, not used")
    methods = (enumeration.judged_outcomes, enumeration.tango_outcomes, enumeration.wald_outcomes)
    for margin, n in _settings():
        found = [
            _percents(
                rates(_region(method, n, margin), flip_rate=k * margin, change=-margin).passed
                for k in _FLIP_RATES
            )
            for method in methods
        ]
        yield _row(margin, f"{n:,}", *found)


def family(sizes: Sequence[int]) -> Iterator[str]:
    """How often any of many checks fails falsely, with Holm's correction and without."""
    yield from (
        "Every true loss is exactly the margin of 0.02, in independent tasks. Exact probability in",
        f"percent that any check fails, for flip rates of {_IN_MARGINS}.",
        "",
    )
    yield from _header(
        *("documents", "one check alone", "any of 12, uncorrected", "any of 12, the gate (Holm)")
    )
    margin, of_family = 0.02, partial(enumeration.family_outcomes, checks=_FAMILY)
    for n in sizes:
        alone = _failed(_region(enumeration.judged_outcomes, n, margin), margin)
        within = _failed(_new_region(of_family, n, margin), margin)
        yield _row(
            *(f"{n:,}", _percents(alone)),
            *(_percents(1 - (1 - one) ** _FAMILY for one in rate) for rate in (alone, within)),
        )


def others(asked: Iterable[Case], repetitions: int) -> Iterator[str]:
    """Methods that are no counts, simulated."""
    yield from (
        f"Simulated: {repetitions:,} candidates at the margin, {repetitions // 4:,} inside it and",
        f"{repetitions // 4:,} beyond; in percent, with the Monte-Carlo standard error.",
        "",
    )
    yield from _header(
        *("method", "data", "size", "falsely promoted", "falsely blocked"),
        *("promoted inside", "blocked beyond"),
    )
    for number, case in enumerate(asked):
        found = simulate(case, repetitions=repetitions, seed=SEED + 10 * number)
        yield _row(found.method, case.data, case.size, *found[1:])


def sequential(paths: Paths, number: int, runs: int) -> Iterator[str]:
    """How soon sequential checks of binary metrics stop, and how often they err."""
    yield from (
        f"Looks at {', '.join(f'{look:,}' for look in paths.looks)} documents.",
        f"{number:,} paths each, in percent, with the Monte-Carlo standard error.",
        "",
    )
    yield from _header(
        *("flip rate", "true change", "margin", "promoted", "blocked"),
        *("documents, median / mean / 9 of 10", "fixed beforehand, 90 % power"),
    )
    for candidate in _STOPPING:
        yield _stopping_row(paths, candidate, number)
    yield from ("", "The true loss exactly the margin, where every decision is false:", "")
    yield from _header("flip rate", "margin", "falsely promoted", "falsely blocked")
    for candidate in _AT_MARGIN:
        found = paths.follow(candidate, paths=number, seed=SEED)
        yield _row(candidate.flip_rate, candidate.margin, found.promoted, found.blocked)
    agreed = sum(paths.agreement(one, runs=runs, seed=SEED) for one in _STOPPING)
    yield ""
    yield f"{agreed:,} of {runs * len(_STOPPING):,} whole runs, judged document by document,"
    yield "ended as these looks say."


def _stopping_row(paths: Paths, candidate: Candidate, number: int) -> str:
    found = paths.follow(candidate, paths=number, seed=SEED)
    used = found.documents
    fixed = None
    if candidate.change == 0.0:
        fixed = documents_for_power(
            margin=candidate.margin,
            flip_rate=candidate.flip_rate,
            confidence=CONFIDENCE,
            power=0.9,
        )
    return _row(
        *(candidate.flip_rate, candidate.change, candidate.margin, found.promoted, found.blocked),
        f"{np.median(used):,.0f} / {used.mean():,.0f} / {np.quantile(used, 0.9):,.0f}",
        "" if fixed is None else f"{fixed:,}",
    )


def _settings() -> Iterator[tuple[float, int]]:
    return ((margin, n) for margin, sizes in _SETTINGS for n in sizes)


def _new_region(method: Callable[[int, float], Outcomes], n: int, margin: float) -> Region:
    most = enumeration.most_gains(n, max(_FLIP_RATES) / 2 * margin)
    return region(n, method(n, margin), gains=range(min(most, n) + 1))


_region = cache(_new_region)


def _failed(where: Region, margin: float) -> list[float]:
    return [rates(where, flip_rate=k * margin, change=-margin).failed for k in _FLIP_RATES]


def _percents(shares: Iterable[float]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def _header(*names: str) -> tuple[str, str]:
    return _row(*names), _row(*["---"] * len(names))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
