"""What an engine changes by itself: two evaluations of one variant, in other batches and order."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gate.comparisons import delta
from gate.distribution_records import Distribution
from gate.judging.bounds import Bound, bounds_of
from gate.judging.pairing import Arms, Pair
from gate.judging.reasons import Finding, decimal
from gate.result_records import Estimate, NoiseFloor, Outcome
from gate.terms import Check, ResolvedCheck

_CONFIDENCE = 0.95
_SHARE_OF_TEXTS = 1 / 3


class Noise(NamedTuple):
    """Second evaluations, and which engine serves which variant.

    Attributes:
        pairs: {(engine, task): both evaluations, or why there are not two}.
        engines: {variant: its backend's name}.
        texts: {(engine, text): how the second reading differs, or why there are not two}.
    """

    pairs: Mapping[tuple[str, str], Pair | str]
    engines: Mapping[str, str]
    texts: Mapping[tuple[str, str], Distribution | str] = {}


class EngineNoise(NamedTuple):
    """A check's comparison of an engine with itself, or why it could not be made.

    Attributes:
        engine: its name.
        found: the comparison, or why there is none.
        share: of a bound that the noise may take: all of it, where a mean of changes to either
            side is as likely above as below; a third of a divergence, which noise only adds to.
    """

    engine: str
    found: Estimate | str
    share: float = 1.0


def noise_floor(engine: str, pair: Pair) -> NoiseFloor:
    """What two evaluations of one variant differ by, for the record."""
    before, after = (score.samples.column("loglikelihoods") for score in pair)
    changes = abs(after.numbers - before.numbers).tolist()
    return NoiseFloor(
        engine=engine,
        variant=pair.reference.variant,
        task=pair.reference.task,
        delta=delta.compare(pair.reference, pair.candidate, confidence=_CONFIDENCE),
        largest_change=max(changes, default=None),
        kl=_divergence(pair),
    )


def find_noise(
    resolved: ResolvedCheck, noise: Noise | None, compare: Callable[[Arms], Estimate | str]
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
    repeats: Mapping[tuple[str, str], Arms | str] = {**noise.pairs, **noise.texts}
    share = _SHARE_OF_TEXTS if any(text == resolved.task for _, text in noise.texts) else 1.0
    asked = [(engine, repeats.get((engine, resolved.task))) for engine in engines]
    return tuple(
        EngineNoise(engine, twice if isinstance(twice, str) else compare(twice), share)
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
    for engine, found, share in stirred:
        if isinstance(found, str):
            return f"what {engine} changes by itself is not known: {found}"
        inside = list(_inside(bounds_of(check, found), share))
        if not inside or (outcome == "fail" and _is_far_beyond(finding.bounds, found)):
            continue
        if share < 1:
            return (
                f"the noise of {engine} takes more than a third of the bound: alone, reading the "
                f"text twice, it differs by up to {decimal(found.high, 2)} {found.unit}"
            )
        alone = finding._replace(estimate=found)
        return (
            f"the margin lies inside the noise of {engine}, which alone, asked twice, "
            f"has {alone.evidence}"
        )
    return None


def _inside(bounds: Sequence[Bound], share: float) -> Iterator[Bound]:
    shares = (bound._replace(limit=share * bound.limit) for bound in bounds if bound.margin > 0)
    return (bound for bound in shares if not bound.is_kept)


def _is_far_beyond(bounds: Sequence[Bound], noise: Estimate) -> bool:
    reach = max(abs(noise.low), abs(noise.high))
    return any(bound.sign * (bound.far - bound.limit) < -reach for bound in bounds)


def _divergence(pair: Pair) -> float | None:
    """Mean KL of the choices' probabilities, first run from second, in nats a document."""
    found = [
        _kl(one.loglikelihoods, other.loglikelihoods)
        for one, other in zip(pair.reference.samples, pair.candidate.samples, strict=True)
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
