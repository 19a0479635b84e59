"""How many times as fast, or as large in memory, a candidate is served as a reference."""

import math
from typing import Literal

import numpy as np

from gate.errors import StageError
from gate.presentation import count
from gate.result_records import Estimate
from gate.serving_records import RATIO, Serving, SpeedMeasure, SpeedRun
from gate.stats import means

PACKAGES = ("numpy", "scipy")

COMPARES = "serving"
"""What is compared: what two variants cost to serve, not how they score."""

_UNITS: dict[SpeedMeasure, str] = {
    "decode": "as fast in decoding",
    "prefill": "as fast in prefill",
    "first_token": "as fast to the first token",
    "load": "as fast to load",
    "memory": "the peak memory",
}
_IS_TIME = ("first_token", "load")
_FEWEST_REPEATS = 2


def compare(
    reference: Serving,
    candidate: Serving,
    *,
    confidence: float,
    measure: Literal["decode", "prefill", "first_token", "load", "memory"] = "decode",
    batch: Literal["one", "many"] = "many",
) -> Estimate:
    """The ratio of the candidate to the reference, over repeats of the same number.

    Above 1 the candidate is faster, whether tokens a second or seconds were measured; of memory
    it is the candidate's over the reference's, so that above 1 it takes more. The value is the
    geometric mean of the repeats' ratios, the interval Student's of their logarithms; ratios that
    are all equal leave it no width.

    Args:
        reference: what it is compared with.
        candidate: what is judged, measured on the same machine with the same settings.
        confidence: one-sided confidence of each end of the interval.
        measure: tokens a second in decode or prefill, seconds to the first token or to load,
            or the peak memory: the GPU's where both used one.
        batch: for decode and prefill, whether one prompt alone or many at once.

    Raises:
        StageError: too few repeats, or figures that cannot be set against each other.
    """
    _require_same_terms(reference, candidate, measure)
    ratios = [
        math.log(after.value(measure, batch) / before.value(measure, batch))
        for before, after in zip(_runs(reference), _runs(candidate), strict=True)
    ]
    logarithms = np.array(ratios) * (-1.0 if measure in _IS_TIME else 1.0)
    interval = means.paired_t_interval(logarithms, confidence=confidence)
    return Estimate(
        value=math.exp(logarithms.mean()),
        low=math.exp(interval.low),
        high=math.exp(interval.high),
        n=len(ratios),
        unit=f"{RATIO} {_UNITS[measure]}",
        method="geometric mean, paired t of the logarithms",
    )


def _runs(serving: Serving) -> list[SpeedRun]:
    return sorted(serving.runs, key=lambda run: run.repeat)


def _require_same_terms(reference: Serving, candidate: Serving, measure: SpeedMeasure) -> None:
    for one in (reference, candidate):
        if len(one.runs) < _FEWEST_REPEATS:
            raise StageError(
                f"the speed of {one.variant} was measured in {count(len(one.runs), 'repeat')}: an "
                f"interval takes {_FEWEST_REPEATS}"
            )
    both = f"{reference.variant} and {candidate.variant}"
    if reference.machine != candidate.machine:
        raise StageError(
            f"{both} were measured on different machines: {reference.machine}; {candidate.machine}"
        )
    repeats = [[run.repeat for run in _runs(one)] for one in (reference, candidate)]
    if repeats[0] != repeats[1]:
        raise StageError(
            f"{both} were not measured in the same repeats: {repeats[0]} and {repeats[1]}"
        )
    if len({run.settings for one in (reference, candidate) for run in one.runs}) > 1:
        raise StageError(f"{both} were not measured with the same prompts, lengths and batch size")
    if measure == "memory" and reference.is_on_gpu != candidate.is_on_gpu:
        on_gpu, other = (reference, candidate) if reference.is_on_gpu else (candidate, reference)
        raise StageError(
            f"{on_gpu.variant} was measured on a GPU and {other.variant} was not: their memory is "
            "not the same"
        )
