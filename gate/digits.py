"""Decimal digits, as many as it takes to tell a number from others that it is not."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

_MOST_DECIMALS = 20
_WITHOUT_DUST = Context(prec=12)
"""What sums of floats leave is not rounded up to a digit that nobody measured."""


def as_written(value: float) -> Decimal:
    """The number that the shortest text of a float stands for: 0.1 is a tenth."""
    return Decimal(repr(float(value)))


def decimals_for(value: Decimal, *, significant: int) -> int:
    """Decimals that show so many significant digits; 0 where fewer would not round the integer."""
    return max(0, significant - 1 - value.adjusted()) if value else 0


def digits(
    value: Decimal, decimals: int, others: Iterable[Decimal], *, rounding: str = ROUND_HALF_EVEN
) -> str:
    """The number with so many decimals, or as many as it takes to stand to others as it does.

    What is shown is above, below or equal to each of them exactly as the number is.

    Args:
        value: the number.
        decimals: the fewest.
        others: what it is told from.
        rounding: which way, one of the constants of `decimal`.
    """
    others = tuple(others)
    for places in range(decimals, _MOST_DECIMALS + 1):
        text = f"{rounded(value, places, rounding):,.{places}f}"
        shown = Decimal(text.replace(",", ""))
        if all(shown.compare(other) == value.compare(other) for other in others):
            return text.removeprefix("-") if not shown else text
    return f"{value:,f}"


def rounded(value: Decimal, decimals: int, rounding: str) -> Decimal:
    """The number to so many decimals, or to a power of ten where they are negative.

    Args:
        value: the number.
        decimals: of what is given.
        rounding: which way, one of the constants of `decimal`. Where it is not to the nearest,
            what lies beyond the twelfth significant digit does not count.
    """
    if rounding != ROUND_HALF_EVEN:
        value = _WITHOUT_DUST.plus(value)
    if not value.is_finite():
        return value
    with localcontext() as context:
        context.rounding = rounding
        context.prec = max(context.prec, value.adjusted() + decimals + 2)
        return round(value, decimals)


def trimmed(value: float, *, significant: int, apart_from: Iterable[float] = ()) -> str:
    """So many significant digits, or as many as `digits` takes, without zeros at the end."""
    number = as_written(value)
    decimals = decimals_for(number, significant=significant)
    shown = digits(number, decimals, map(as_written, apart_from))
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
