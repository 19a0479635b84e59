"""How a check's verdict follows from its numbers: what was counted, by which formula, against what.

Nothing is judged here: the outcome is the record's own, and what is shown is what it rests on.
"""

from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

from gate.judging.bounds import Bound, bounds_of
from gate.presentation import (
    bounds,
    count,
    evidence_text,
    exact,
    interval_text,
    p_value,
    percent,
    precise,
)
from gate.reporting.formulas import (
    CLOPPER_PEARSON,
    FLOOR,
    HOLM,
    MCNEMAR_E,
    MID_P,
    Formula,
    formulas_of,
)
from gate.result_records import CheckResult, Estimate
from gate.serving_records import RATIO
from gate.stats.proportions import clopper_pearson, floor_documents, tango_z
from gate.stats.sequential import e_value, mcnemar_e_value
from gate.terms import Check

_NORMAL = NormalDist()


class Fact(NamedTuple):
    """A number of a derivation, under its name; `term` is what the glossary has it under."""

    name: str
    value: str
    term: str = ""


class Derivation(NamedTuple):
    """What a reader needs to come to a check's verdict by hand.

    Attributes:
        facts: the numbers that were found and asked.
        formulas: what the interval follows by, and what is reported beside it.
        steps: each bound held against the interval, and Holm's correction.
    """

    facts: tuple[Fact, ...]
    formulas: tuple[Formula, ...]
    steps: tuple[str, ...]


def derive(result: CheckResult) -> Derivation | None:
    """The derivation of a check's verdict; None where nothing was measured."""
    if result.estimate is None:
        return None
    return Derivation(
        facts=tuple(_facts(result, result.estimate)),
        formulas=tuple(_formulas(result, result.estimate)),
        steps=tuple(_steps(result, result.estimate)),
    )


def flip_rate(result: CheckResult) -> str | None:
    """The share of documents that changed, with its interval.

    None of a metric without flips, where the estimate itself is that share, and of a sequential
    check: the interval is one that may be looked at once.
    """
    estimate = result.estimate
    if estimate is None or estimate.flips is None or _is_flip_rate(estimate) or result.looks:
        return None
    changed = estimate.flips.gains + estimate.flips.losses
    low, high = clopper_pearson(changed, estimate.n, confidence=result.check.confidence)
    ends = " to ".join(percent(end, decimals=2).removesuffix(" %") for end in (low, high))
    return f"{percent(changed / estimate.n, decimals=2)} ({ends})"


def change_test(result: CheckResult) -> str:
    """Whether gains and losses could be equally likely: at looks, by evidence that allows them."""
    if result.estimate is None or result.estimate.flips is None:
        return ""
    flips = result.estimate.flips
    if result.looks:
        return f"McNemar's e-value {evidence_text(mcnemar_e_value(flips.gains, flips.losses))}"
    return f"mid-p {p_value(flips.mid_p)}"


def correction_text(result: CheckResult) -> str:
    """Holm's correction in a sentence; empty where there is none."""
    correction = result.correction
    if correction is None:
        return ""
    asked = percent(correction.confidence, decimals=2)
    found = interval_text(correction.estimate, result.check)
    is_so = "confirmed" if correction.is_confirmed else "not confirmed"
    checks = count(correction.hypotheses, "check")
    return f"{is_so} by Holm's correction over {checks}, at {asked} on one side: {found}"


def evidence(result: CheckResult) -> tuple[str, ...]:
    """What an estimate rests on, as short phrases: flips, clusters, method, Holm's correction."""
    estimate, rate = result.estimate, flip_rate(result)
    if estimate is None:
        return ()
    found = [estimate.method]
    if estimate.clusters not in (None, estimate.n):
        found.append(count(estimate.clusters or 0, "cluster"))
    if estimate.flips is not None:
        flips = estimate.flips
        told = f"{count(flips.losses)} lost, {count(flips.gains)} gained"
        told += f", {change_test(result)}"
        found.append(f"{told}, {rate} flipped" if rate else told)
    if result.looks:
        found.append(
            f"decided at look {len(result.looks)}"
            if result.outcome != "inconclusive"
            else f"undecided after {count(len(result.looks), 'look')}"
        )
    if result.correction is not None:
        found.append(correction_text(result))
    return tuple(found)


def _facts(result: CheckResult, estimate: Estimate) -> Iterator[Fact]:
    check = result.check
    counted = "repeat" if estimate.unit.startswith(RATIO) else "document"
    yield Fact("n", count(estimate.n, counted), "n")
    if estimate.clusters not in (None, estimate.n):
        yield Fact("G", count(estimate.clusters or 0, "cluster"), "clusters")
    yield from _counts(result, estimate)
    yield Fact("value", _number(estimate.value, check), "estimate")
    if estimate.standard_error is not None:
        yield Fact("SE", _number(estimate.standard_error, check))
    ends = f"{_number(estimate.low, check)}, {_number(estimate.high, check)}"
    yield Fact("low, high", ends, "estimate")
    yield Fact("unit", estimate.unit)
    yield Fact("confidence", f"{check.confidence!r} on each side", "confidence")
    yield from _quantiles(result, estimate)
    yield from _firmness(result)


def _firmness(result: CheckResult) -> Iterator[Fact]:
    """How firm the outcome is, or what it would take."""
    if result.tolerance is not None:
        undoing = count(result.tolerance + 1, "more changed document")
        yield Fact("tolerance", f"{count(result.tolerance)}; {undoing} would undo it", "tolerance")
    if result.needed is not None:
        yield Fact("needed", f"about {count(result.needed, 'document')} in all", "needed")


def _counts(result: CheckResult, estimate: Estimate) -> Iterator[Fact]:
    flips = estimate.flips
    rate = flip_rate(result)
    if flips is None:
        return
    yield Fact("gains, losses", f"{flips.gains:,}, {flips.losses:,}", "flips")
    if rate is not None:
        yield Fact("flip rate", rate, "flips")
    if result.looks:
        found = mcnemar_e_value(flips.gains, flips.losses)
        yield Fact("McNemar's e-value", evidence_text(found), "e-value")
    else:
        yield Fact("mid-p", p_value(flips.mid_p), "mid-p")


def _quantiles(result: CheckResult, estimate: Estimate) -> Iterator[Fact]:
    """The quantiles that the interval rests on, where they are no more than the confidence's."""
    from scipy.special import stdtrit

    check = result.check
    if _is_tango(estimate):
        yield Fact("z", f"{_NORMAL.inv_cdf(check.confidence):.6g}")
    elif estimate.standard_error is not None and not result.looks:
        freedom = (estimate.clusters or estimate.n) - 1
        yield Fact(f"t, {freedom:,} degrees", f"{float(stdtrit(freedom, check.confidence)):.6g}")


def _formulas(result: CheckResult, estimate: Estimate) -> Iterator[Formula]:
    yield from formulas_of(estimate.method)
    if estimate.flips is not None:
        yield MCNEMAR_E if result.looks else MID_P
        if flip_rate(result) is not None:
            yield CLOPPER_PEARSON
        if any(_has_floor(bound, result) for bound in bounds_of(result.check, estimate)):
            yield FLOOR
    if result.correction is not None:
        yield HOLM


def _steps(result: CheckResult, estimate: Estimate) -> Iterator[str]:
    for bound in bounds_of(result.check, estimate):
        yield _step(bound, result.check)
        yield from _statistic_step(bound, result.check, estimate)
        if _has_floor(bound, result):
            yield _floor_step(bound, result.check, estimate)
    if result.correction is not None:
        yield correction_text(result)


def _step(bound: Bound, check: Check) -> str:
    """One bound held against the ends of the interval, in the numbers of gate.yaml."""
    side, beyond = ("least", "<") if bound.sign > 0 else ("most", ">")
    inside = ">" if bound.sign > 0 else "<"
    near, far = ("low", "high") if bound.sign > 0 else ("high", "low")
    limit = exact(bound.limit, "")
    kept = "so it is kept" if bound.is_kept else "so it is not proved kept"
    broken = "so it is broken" if bound.is_broken else "so it is not proved broken"
    return (
        f"at {side} {limit}: kept where {near} {inside} {limit}; {near} is "
        f"{_number(bound.near, check)}, {kept}. Broken where {far} {beyond} {limit}; {far} is "
        f"{_number(bound.far, check)}, {broken}."
    )


def _statistic_step(bound: Bound, check: Check, estimate: Estimate) -> Iterator[str]:
    """The same by the statistic at the bound, which is one evaluation of the formula."""
    flips, limit = estimate.flips, exact(bound.limit, "")
    if flips is None or not -1 < bound.limit < 1:
        return
    counts = {"gains": flips.gains, "losses": flips.losses, "n": estimate.n}
    if _is_tango(estimate) and flips.gains and flips.losses:
        z = _NORMAL.inv_cdf(check.confidence)
        found = bound.sign * tango_z(**counts, difference=bound.limit)
        yield (
            f"the same by {'' if bound.sign > 0 else '-'}Z({limit}) = "
            f"{precise(found, apart_from=(z, -z))}: kept above {z:.6g}, broken below {-z:.6g}."
        )
    elif _is_anytime(estimate):
        enough = 1 / (1 - check.confidence)
        kept, broken = (
            e_value(**counts, margin=-bound.limit, is_loss=is_loss)
            for is_loss in (bound.sign < 0, bound.sign > 0)
        )
        yield (
            f"the same by E({exact(-bound.limit, '')}): "
            f"{evidence_text(kept, apart_from=(enough,))} for kept, "
            f"{evidence_text(broken, apart_from=(enough,))} for broken; "
            f"either takes {precise(enough)}."
        )


def _floor_step(bound: Bound, check: Check, estimate: Estimate) -> str:
    fewest = floor_documents(bound.margin, confidence=check.confidence)
    enough = "no fewer" if estimate.n >= fewest else "fewer, so it cannot be proved kept"
    return (
        f"a margin of {exact(bound.margin, '')} takes {count(fewest, 'document')} at the least; "
        f"there are {count(estimate.n)}, {enough}."
    )


def _has_floor(bound: Bound, result: CheckResult) -> bool:
    """Whether too few documents cannot prove the bound: not so where it is looked at early."""
    estimate = result.estimate
    return bool(estimate and estimate.flips and bound.margin > 0 and not result.looks)


def _is_flip_rate(estimate: Estimate) -> bool:
    return estimate.method.lower().startswith("clopper")


def _is_tango(estimate: Estimate) -> bool:
    return estimate.flips is not None and estimate.method.lower().startswith("tango")


def _is_anytime(estimate: Estimate) -> bool:
    return estimate.flips is not None and estimate.method.lower().startswith("anytime-valid")


def _number(value: float, check: Check) -> str:
    return precise(value, apart_from=bounds(check))
