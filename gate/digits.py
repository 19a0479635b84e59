"""Decimal digits, as many as it takes to tell a number from others that it is not."""

from collections.abc import Iterable
from decimal import Decimal

_MOST_DECIMALS = 20


def as_written(value: float) -> Decimal:
    """The number that the shortest text of a float stands for: 0.1 is a tenth."""
    return Decimal(repr(float(value)))


def decimals_for(value: Decimal, *, significant: int) -> int:
    """Decimals that show so many significant digits; 0 where fewer would not round the integer."""
    return max(0, significant - 1 - value.adjusted()) if value else 0


def digits(value: Decimal, decimals: int, others: Iterable[Decimal]) -> str:
    """The number with so many decimals, or as many as it takes to stand to others as it does.

    What is shown is above, below or equal to each of them exactly as the number is.
    """
    others = tuple(others)
    for places in range(decimals, _MOST_DECIMALS + 1):
        text = f"{value:,.{places}f}"
        shown = Decimal(text.replace(",", ""))
        if all(shown.compare(other) == value.compare(other) for other in others):
            return text.removeprefix("-") if not shown else text
    return f"{value:,f}"


def trimmed(value: float, *, significant: int, apart_from: Iterable[float] = ()) -> str:
    """So many significant digits, or as many as `digits` takes, without zeros at the end."""
    number = as_written(value)
    decimals = decimals_for(number, significant=significant)
    shown = digits(number, decimals, map(as_written, apart_from))
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
