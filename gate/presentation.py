"""How a record reads: numbers that do not contradict the verdict, words, changed documents."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN
from typing import NamedTuple

from gate.aggregates import value_of
from gate.digest import digest_json
from gate.digits import as_written, decimals_for, digits, trimmed
from gate.errors import StageError
from gate.evaluation_records import Score
from gate.result_records import DIFFERENCE_OF_SHARES, CheckResult, Estimate, Outcome, Verdict
from gate.serving_records import RATIO
from gate.terms import Check

MISSING = "not measured"
"""What stands where there is no number; never zero, never empty."""

OUTCOME_WORDS: dict[Outcome, str] = {
    "pass": "passed",
    "fail": "failed",
    "inconclusive": "inconclusive",
    "error": "error",
}
"""Each outcome as a word, in the order in which outcomes are counted."""

VERDICT_SENTENCES: dict[Verdict, str] = {
    "promote": "may be released: every blocking check passed",
    "block": "may not be released: a blocking check failed",
    "inconclusive": "may not be released yet: the evidence does not decide",
    "error": "may not be released: something could not be measured",
}
"""What each verdict says of a release, to be read after its name."""

_DUST = 1e-12
_WHOLE_WIDTHS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 16.0, 32.0)
_LARGE = 1e6
_PERFECT = (0.0, 1.0, 100.0)
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


class SizeUnit(NamedTuple):
    """A unit of sizes on disk and its bytes."""

    name: str
    size_bytes: float = 1.0


_SIZE_UNITS = (SizeUnit("TB", 1e12), SizeUnit("GB", 1e9), SizeUnit("MB", 1e6), SizeUnit("kB", 1e3))


def printable(text: str) -> str:
    """The text with what terminals, XML and readers must not meet shown as U+FFFD.

    Control characters (escape sequences start with one), lone surrogates, and the marks that turn
    the direction of text; line feeds and tabs stay.
    """
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n"))


def one_line(text: str, limit: int) -> str:
    """A printable text on one line of at most `limit` characters, an ellipsis for what is cut."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def count(number: int, noun: str = "") -> str:
    """A whole number with its noun in the right number: '1 check', '1,200 documents'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if noun else f"{number:,}"


def percent(share: float, *, decimals: int = 1, apart_from: Iterable[float] = (0.0, 1.0)) -> str:
    """A share as '64.3 %', with more decimals where fewer would show a value it is not."""
    others = (as_written(other) * 100 for other in apart_from)
    return f"{digits(as_written(share) * 100, decimals, others)} %"


def quantity(value: float, unit: str, *, apart_from: Iterable[float] = ()) -> str:
    """A value in its unit, shares as percent, differences of shares as points: '-1.20 points'.

    Args:
        value: the unrounded value.
        unit: as in Estimate.unit.
        apart_from: values, such as bounds, that what is shown must be above, below or equal to
            exactly as the unrounded value is.
    """
    shown = amount(value, unit, apart_from=apart_from)
    return f"{shown} {_symbol(unit)}".rstrip()


def amount(
    value: float,
    unit: str,
    *,
    decimals: int | None = None,
    apart_from: Iterable[float] = (),
    rounding: str = ROUND_HALF_EVEN,
) -> str:
    """The number of `quantity`, without its unit; three significant digits unless told.

    What is not zero never reads as zero, but for the dust that sums of floats leave; nor does a
    share that is not whole read as 100, or a ratio that is not 1 as 1.
    """
    factor = 100 if _is_share(unit) else 1
    shown = as_written(value) * factor
    if decimals is None:
        decimals = 2 if factor != 1 else decimals_for(shown, significant=3)
    others = (*apart_from, *_telling_values(value, unit))
    told = (as_written(other) * factor for other in others)
    return digits(shown, decimals, told, rounding=rounding)


def precise(value: float, *, apart_from: Iterable[float] = ()) -> str:
    """A number as it is computed with, no percent: six significant digits, or as many as it takes.

    As in `quantity`, it stands to the values of `apart_from` as the unrounded number does.
    """
    return trimmed(value, significant=6, apart_from=apart_from)


def bits(per_weight: float | None) -> str:
    """Bits per weight: '4.85'; '16.0' only where it is 16, not where some tensors are wider."""
    if per_weight is None:
        return MISSING
    return amount(per_weight, "", apart_from=_WHOLE_WIDTHS)


def evidence_text(value: float, *, apart_from: Iterable[float] = ()) -> str:
    """An e-value, which can be astronomical: '19.14', '2.3e+15'.

    Below a million it stands to the values of `apart_from` as the unrounded number does.
    """
    if not math.isfinite(value) or value >= _LARGE:
        return f"{value:.3g}"
    return trimmed(value, significant=6, apart_from=apart_from)


def p_value(value: float) -> str:
    """A p-value: '0.0391', and '< 0.0001' below that; '1' only where it is 1."""
    return "< 0.0001" if value < 0.0001 else trimmed(value, significant=3, apart_from=(0.0, 1.0))  # noqa: PLR2004


def unit_label(unit: str) -> str:
    """The unit as a heading: 'share of documents' reads '% of documents'."""
    if unit == DIFFERENCE_OF_SHARES:
        return "percentage points"
    return re.sub(r"^share\b", "%", unit)


def short_unit(unit: str) -> str:
    """The unit as numbers need it where a heading names it: shares keep their percent sign."""
    if unit == DIFFERENCE_OF_SHARES:
        return unit
    return "share" if _is_share(unit) else ""


def no_difference(unit: str) -> float:
    """The value that says that nothing changed: 1 of a ratio, else 0."""
    return 1.0 if unit.startswith(RATIO) else 0.0


def bounds(check: Check) -> tuple[float, ...]:
    """The check's bounds, lower first; those that are set."""
    return tuple(bound for bound in (check.at_least, check.at_most) if bound is not None)


def bound_text(check: Check, unit: str) -> str:
    """The check's bounds in words and unrounded: 'at least -2 % and at most 2 %'."""
    words = (("at least", check.at_least), ("at most", check.at_most))
    return " and ".join(
        f"{word} {exact(bound, unit)}" for word, bound in words if bound is not None
    )


def exact(value: float, unit: str) -> str:
    """A value as it was written, unrounded: '-2 points', '8 %'."""
    number = f"{as_written(value) * (100 if _is_share(unit) else 1):f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number} {_symbol(unit)}".rstrip()


def interval_text(estimate: Estimate, check: Check | None = None) -> str:
    """The estimate and its interval: '-1.20 % (-2.61 to 0.10)'; digits enough for the bounds.

    A unit other than percent is left to the rule or heading that stands beside it, and so is the
    interval of a ratio that was counted, which has none.
    """
    apart_from = bounds(check) if check else ()
    if is_counted(estimate):
        return amount(estimate.value, estimate.unit, apart_from=apart_from)
    is_share = _is_share(estimate.unit)
    width = as_written(estimate.high - estimate.low)
    decimals = 2 if is_share else decimals_for(width or as_written(estimate.value), significant=2)
    value, low, high = (
        amount(number, estimate.unit, decimals=decimals, apart_from=apart_from)
        for number in (estimate.value, estimate.low, estimate.high)
    )
    symbol = f" {_symbol(estimate.unit)}" if is_share else ""
    return f"{value}{symbol} ({low} to {high})"


def is_counted(estimate: Estimate) -> bool:
    """Whether a ratio was counted and not sampled, so that it has no interval."""
    return estimate.unit.startswith(RATIO) and estimate.low == estimate.high


def rule_text(result: CheckResult) -> str:
    """What the check asks, in the unit it was measured in, or as written if it was not."""
    if result.estimate is None:
        return f"{result.check.compare} {result.check.bound_text}"
    return f"{result.check.compare} {bound_text(result.check, result.estimate.unit)}"


def task_text(result: CheckResult) -> str:
    """The task a check judges, and of which slice: 'desk_intent, slice spanish'; empty of none."""
    return f"{result.task}, slice {result.check.slice}" if result.check.slice else result.task


def score_text(score: Score | None) -> str:
    """A variant's score on a task: a share right that tells single documents apart, or the metric.

    Of a metric of the corpus it is the metric, which no mean over documents gives.
    """
    if score is None or not score.samples:
        return MISSING
    if score.is_binary and score.aggregate == "mean":
        return percent(score.mean, decimals=max(1, len(str(len(score.samples) - 1)) - 2))
    try:
        value = value_of(score)
    except StageError:
        return MISSING
    return amount(value, "", apart_from=_PERFECT) if math.isfinite(value) else "infinite"


def unit_of_sizes(largest_bytes: float) -> SizeUnit:
    """The decimal unit in which sizes up to this one are told beside each other."""
    return next((one for one in _SIZE_UNITS if largest_bytes >= one.size_bytes), SizeUnit("bytes"))


def size(size_bytes: int | None) -> str:
    """Bytes in decimal units: '271 MB'."""
    if size_bytes is None:
        return MISSING
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 999.5:  # noqa: PLR2004 - the next unit begins where this one rounds to 1000
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB" if value < 999.5 else f"{value:,.0f} TB"  # noqa: PLR2004 - as above


def duration(seconds: float) -> str:
    """A time: '0.04 s', '12.3 s', '3 min 05 s', '2 h 14 min'."""
    if seconds < 59.95:  # noqa: PLR2004 - what would read as 60.0 s is a minute
        decimals = 1 if seconds >= 1 else decimals_for(as_written(seconds), significant=2)
        return f"{as_written(seconds):.{decimals}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(when: datetime) -> str:
    """A moment to the minute, in UTC: '2026-11-22 15:04 UTC'."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def typeset(text: str) -> str:
    """Numbers with a minus sign for the hyphen, and not parted from their percent sign."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def anchor(*names: str | int) -> str:
    """A permanent id for a part of a page: 'doc-arc_easy-17'; odd names keep theirs by a hash."""
    given = "-".join(str(name) for name in names)
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", given)
    return slug if slug == given else f"{slug}-{digest_json(list(names))[:8]}"


def _is_share(unit: str) -> bool:
    return re.match(r"share\b", unit) is not None


def _symbol(unit: str) -> str:
    """What stands behind a number of this unit: %, points, or the unit itself."""
    if unit == DIFFERENCE_OF_SHARES:
        return "points"
    return "%" if _is_share(unit) else unit.removeprefix("KL divergence in ")


def _telling_values(value: float, unit: str) -> tuple[float, ...]:
    """What a number of this unit must not read as, unless it is: nothing, all, no difference."""
    is_part = _is_share(unit) and unit != DIFFERENCE_OF_SHARES
    telling = (0.0, 1.0) if is_part else (no_difference(unit),)
    return tuple(one for one in telling if abs(value - one) > _DUST)
