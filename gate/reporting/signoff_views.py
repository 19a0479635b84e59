"""What reports show of a record's sign-offs: who decided what, when, why and until when."""

from collections.abc import Iterable
from datetime import date
from typing import Literal, NamedTuple

from gate.presentation import moment
from gate.records import Record
from gate.reporting.views import relied_on
from gate.result_records import labels_of
from gate.signoff import chain_faults
from gate.signoff_records import Decision, SignOff

DECIDED: dict[Decision, str] = {"approve": "approved", "reject": "rejected", "waive": "waived"}
"""Each decision as what was done."""

Mark = Literal["pass", "fail", "inconclusive"]

MARKS: dict[Decision, Mark] = {"approve": "pass", "reject": "fail", "waive": "inconclusive"}
"""The shape and colour each decision is shown with, by the outcome that looks like it."""


class Waiver(NamedTuple):
    """That someone accepts, until a day, that a check did not pass.

    Attributes:
        check: the check's label.
        until: the last day on which it counts.
        name: who waived it.
        reason: why.
    """

    check: str
    until: date
    name: str
    reason: str

    @property
    def text(self) -> str:
        """The waiver in a sentence: 'waived until 2026-12-31 by Ada Lovelace: why'."""
        return f"waived until {self.until} by {self.name}: {self.reason}"


class Entry(NamedTuple):
    """A sign-off for a reader.

    Attributes:
        number: its place, the first is 1.
        signoff: what was signed.
        decided: 'approved', 'rejected' or 'waived'.
        mark: the shape and colour it is shown with.
        when: the moment, in UTC.
        check_number: of a waiver, the number of its check in the report; None of others.
    """

    number: int
    signoff: SignOff
    decided: str
    mark: Mark
    when: str
    check_number: int | None


def entries(record: Record) -> tuple[Entry, ...]:
    """The sign-offs in the order in which they were given."""
    numbers = {label: place for place, label in enumerate(labels_of(record.results), start=1)}
    return tuple(
        Entry(
            number=number,
            signoff=one,
            decided=DECIDED[one.decision],
            mark=MARKS[one.decision],
            when=moment(one.signed_at),
            check_number=None if one.check is None else numbers.get(one.check),
        )
        for number, one in enumerate(record.signoff, start=1)
    )


def signoff_lines(record: Record) -> tuple[str, ...]:
    """The sign-offs as a sentence each, after a warning for each fault of their chain.

    Empty where nobody signed.
    """
    warnings = (f"WARNING, do not rely on these sign-offs: {one}" for one in chain_faults(record))
    return (*warnings, *map(_line, record.signoff))


def waivers(record: Record) -> tuple[Waiver, ...]:
    """Every waiver, in the order in which they were given."""
    return tuple(
        Waiver(one.check, one.until, one.name, one.reason)
        for one in record.signoff
        if one.decision == "waive" and one.check is not None and one.until is not None
    )


def waivers_beside(record: Record, variant: str) -> tuple[Waiver, ...]:
    """The waivers of checks that a variant's verdict rests on, and which they do not change."""
    related = set(_related(record, variant))
    return tuple(one for one in waivers(record) if one.check in related)


def waivers_of_check(record: Record, label: str) -> tuple[str, ...]:
    """The waivers of one check, each in a sentence: 'waived until 2026-12-31 by Ada: why'."""
    return tuple(one.text for one in waivers(record) if one.check == label)


def _related(record: Record, name: str) -> Iterable[str]:
    """The labels of the checks of a variant and of what it descends from."""
    way = relied_on(record, name)
    labels = zip(labels_of(record.results), record.results, strict=True)
    return (label for label, result in labels if result.variant in way)


def _decided(one: SignOff) -> str:
    return DECIDED[one.decision] + (f" until {one.until}" if one.until else "")


def _line(one: SignOff) -> str:
    check = f"{one.check}: " if one.check else ""
    return f"{check}{_decided(one)} by {one.name}, {moment(one.signed_at)}: {one.reason}"
