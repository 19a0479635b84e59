"""What figures tell of a check: its number in the record, its title, its estimate in words."""

from typing import NamedTuple

from gate.figures.lettering import name, typeset
from gate.figures.strips import Limits
from gate.presentation import (
    MISSING,
    OUTCOME_WORDS,
    bound_text,
    count,
    interval_text,
    one_line,
    percent,
    rule_text,
    task_text,
    unit_label,
)
from gate.records import Record
from gate.reporting.concerns import ASIDE, bearing
from gate.result_records import CheckResult, Estimate
from gate.terms import Check

_MOST_REASON = 300


class Numbered(NamedTuple):
    """A check result with its number in the record, from 1.

    `is_aside` is of a check of a variant that is not up for release: it decides nothing.
    """

    number: int
    result: CheckResult
    is_aside: bool

    @property
    def pair(self) -> str:
        """Who is compared with whom."""
        return f"{name(self.result.variant)} vs {name(self.result.reference)}"

    @property
    def task(self) -> str:
        """The task and slice; empty where the check is of none."""
        return name(task_text(self.result))

    @property
    def title(self) -> str:
        """The check as a heading: number, variants, task and rule."""
        aside = f", {ASIDE}" if self.is_aside else ""
        return typeset(f"{self.short_title}: {rule_text(self.result)}{aside}")

    @property
    def short_title(self) -> str:
        """The heading without the rule."""
        return f"#{self.number} {self.pair}" + (f" on {self.task}" if self.task else "")

    @property
    def limits(self) -> Limits:
        """The check's bounds."""
        return Limits(self.result.check.at_least, self.result.check.at_most)


def numbered(record: Record) -> tuple[Numbered, ...]:
    """The results of a record with their numbers."""
    names = bearing(record)
    return tuple(
        Numbered(at, result, result.variant not in names)
        for at, result in enumerate(record.results, start=1)
    )


def check_facts(one: Numbered) -> dict[str, str]:
    """{what: in words} of a check, all but its estimate."""
    result = one.result
    level = ", warns only" if result.check.level == "warn" else ""
    aside = f", {ASIDE}" if one.is_aside else ""
    return {
        "Check": f"#{one.number} {name(str(result.check.compare))}",
        "Variant": f"{name(result.variant)} against {name(result.reference)}",
        "Task": one.task or "none",
        "Outcome": f"{OUTCOME_WORDS[result.outcome]}{level}{aside}",
        "Reason": typeset(one_line(result.reason, _MOST_REASON)),
    }


def estimate_facts(found: Estimate | None, check: Check) -> dict[str, str]:
    """{what: in words} of an estimate and the bound it is held against."""
    if found is None:
        return {
            "Estimate (interval)": MISSING,
            "Unit": MISSING,
            "Bound": check.bound_text or "none",
            "n": MISSING,
            "Method": MISSING,
        }
    clusters = "" if found.clusters is None else f" in {count(found.clusters, 'cluster')}"
    return {
        "Estimate (interval)": found_text(found, check),
        "Unit": unit_label(found.unit),
        "Bound": typeset(bound_text(check, found.unit)) or "none",
        "n": f"{count(found.n)}{clusters}",
        "Method": f"{found.method}, {typeset(percent(check.confidence, decimals=0))} each side",
    }


def found_text(found: Estimate | None, check: Check) -> str:
    """The estimate and its interval."""
    return typeset(interval_text(found, check)) if found else MISSING


def value_text(found: Estimate | None, check: Check) -> str:
    """The estimate alone, to the same digits."""
    return found_text(found, check).partition(" (")[0]
