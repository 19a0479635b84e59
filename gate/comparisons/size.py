"""How many times as large a candidate is as a reference: on disk, or its weights alone."""

from typing import Literal

from gate.errors import StageError
from gate.result_records import Estimate
from gate.serving_records import RATIO, Serving

PACKAGES = ()

COMPARES = "serving"
"""What is compared: what two variants cost to serve, not how they score."""

_UNITS = {"disk": "the size on disk", "weights": "the size of the weights"}


def compare(
    reference: Serving,
    candidate: Serving,
    *,
    confidence: float,
    measure: Literal["disk", "weights"] = "disk",
) -> Estimate:
    """The candidate's bytes over the reference's; above 1 it is larger.

    Bytes are counted, not sampled: the interval is the ratio itself, at any confidence.

    Args:
        reference: what it is compared with.
        candidate: what is judged.
        confidence: not used.
        measure: all files that are served, or the weights alone.

    Raises:
        StageError: the size of one of the two is not known.
    """
    ratio = _bytes(candidate, measure) / _bytes(reference, measure)
    return Estimate(
        value=ratio,
        low=ratio,
        high=ratio,
        n=1,
        unit=f"{RATIO} {_UNITS[measure]}",
        method="exact",
    )


def _bytes(serving: Serving, measure: Literal["disk", "weights"]) -> int:
    found = serving.size_bytes if measure == "disk" else serving.weight_bytes
    if not found:
        what = "its size on disk" if measure == "disk" else "the size of its weights"
        raise StageError(f"{serving.variant}: {what} is not known")
    return found
