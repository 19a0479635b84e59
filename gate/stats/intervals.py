"""An interval: two one-sided bounds.

`confidence` is one-sided everywhere: 0.95 gives both ends of the two-sided 90 % interval.
"""

from typing import NamedTuple


class Interval(NamedTuple):
    """The two ends of an interval, each a one-sided bound at the same confidence."""

    low: float
    high: float
