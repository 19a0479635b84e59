"""What an engine changes by itself: two evaluations of one variant, in other batches and order."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gate.comparisons import delta
from gate.evaluation_records import Sample
from gate.judging.bounds import Bound, bounds_of
from gate.judging.pairing import Pair
from gate.judging.reasons import Finding
from gate.result_records import Estimate, NoiseFloor, Outcome
from gate.terms import Check, ResolvedCheck

_CONFIDENCE = 0.95


class Noise(NamedTuple):
    """Second evaluations, and which engine serves which variant.

    Attributes:
        pairs: {(engine, task): both evaluations, or why there are not two}.
        engines: {variant: its backend's name}.
    """

    pairs: Mapping[tuple[str, str], Pair | str]
    engines: Mapping[str, str]


class EngineNoise(NamedTuple):
    """A check's comparison of an engine with itself, or why it could not be made."""

    engine: str
    found: Estimate | str


def noise_floor(engine: str, pair: Pair) -> NoiseFloor:
    """What two evaluations of one variant differ by, for the record."""
    samples = list(zip(pair.reference.samples, pair.candidate.samples, strict=True))
    changes = [
        abs(after - before)
        for one, other in samples
        for before, after in zip(one.loglikelihoods, other.loglikelihoods, strict=True)
    ]
    return NoiseFloor(
        engine=engine,
        variant=pair.reference.variant,
        task=pair.reference.task,
        delta=delta.compare(pair.reference, pair.candidate, confidence=_CONFIDENCE),
        largest_change=max(changes, default=None),
        kl=_divergence(samples),
    )


def find_noise(
    resolved: ResolvedCheck, noise: Noise | None, compare: Callable[[Pair], Estimate | str]
) -> tuple[EngineNoise, ...]:
    """A check's comparison, of each of its two engines with itself.

    Args:
        resolved: the check.
        noise: the second evaluations; None where none were made.
        compare: the check's comparison, or why it cannot be made of these two.

    Raises:
        StageError: the two evaluations cannot be compared.
    """
    if noise is None:
        return ()
    engines = dict.fromkeys(noise.engines[name] for name in (resolved.variant, resolved.reference))
    asked = [(engine, noise.pairs.get((engine, resolved.task))) for engine in engines]
    return tuple(
        EngineNoise(engine, twice if isinstance(twice, str) else compare(twice))
        for engine, twice in asked
        if twice is not None
    )


def noise_doubt(
    finding: Finding, check: Check, stirred: Sequence[EngineNoise], *, outcome: Outcome
) -> str | None:
    """Why an outcome cannot be told from an engine's own noise, or None.

    Bounds that allow no loss, or ask for a gain, are not held against the noise. A fail stands
    where the interval is beyond the bound by more than the noise reaches.
    """
    for engine, found in stirred:
        if isinstance(found, str):
            return f"what {engine} changes by itself is not known: {found}"
        inside = list(_inside(bounds_of(check, found)))
        if inside and not (outcome == "fail" and _is_far_beyond(finding.bounds, found)):
            alone = finding._replace(estimate=found)
            return (
                f"the margin lies inside the noise of {engine}, which alone, asked twice, "
                f"has {alone.evidence}"
            )
    return None


def _inside(bounds: Sequence[Bound]) -> Iterator[Bound]:
    return (bound for bound in bounds if bound.margin > 0 and not bound.is_kept)


def _is_far_beyond(bounds: Sequence[Bound], noise: Estimate) -> bool:
    reach = max(abs(noise.low), abs(noise.high))
    return any(bound.sign * (bound.far - bound.limit) < -reach for bound in bounds)


def _divergence(samples: Sequence[tuple[Sample, Sample]]) -> float | None:
    """Mean KL of the choices' probabilities, first run from second, in nats a document."""
    found = [
        _kl(one.loglikelihoods, other.loglikelihoods)
        for one, other in samples
        if len(one.loglikelihoods) > 1
    ]
    return math.fsum(found) / len(found) if found else None


def _kl(reference: Sequence[float], candidate: Sequence[float]) -> float:
    before, after = _log_shares(reference), _log_shares(candidate)
    divergence = math.fsum(math.exp(p) * (p - q) for p, q in zip(before, after, strict=True))
    return max(0.0, divergence)


def _log_shares(loglikelihoods: Sequence[float]) -> list[float]:
    top = max(loglikelihoods)
    total = top + math.log(math.fsum(math.exp(one - top) for one in loglikelihoods))
    return [one - total for one in loglikelihoods]
