"""Signing a record: each entry is chained to the one before it and to what the record found."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

from gate.digest import digest_json
from gate.errors import ConfigError, RecordError, suggest
from gate.presentation import count, moment, one_line, printable
from gate.records import Record
from gate.result_records import labels_of
from gate.signoff_records import Decision, SignOff

MOST_REASON_CHARACTERS = 2_000
MOST_NAME_CHARACTERS = 200

_LISTED = 20


def record_digest(record: Record) -> str:
    """The content id of a record without its sign-offs, which is what a signer signs.

    Fields at their default are left out: a record has the same content id when it is read by a
    later gate, whose records have more fields.
    """
    return digest_json(record.model_dump(mode="json", exclude_defaults=True, exclude={"signoff"}))


def signed(
    record: Record,
    *,
    name: str,
    decision: Decision,
    reason: str,
    check: str | None = None,
    until: date | None = None,
    at: datetime,
) -> Record:
    """The record with one more sign-off at the end of its chain.

    Args:
        record: what is signed; its chain has to hold.
        name: who decides, on one line.
        decision: approve or reject the release, or waive one check that did not pass.
        reason: why.
        check: of a waiver, and only of one, the check's label or its number as '#12'.
        until: the last day, in UTC, on which it counts; a waiver has one.
        at: now.

    Raises:
        ConfigError: the name, the reason, the check or the day is missing or does not fit.
        RecordError: the chain of the record's sign-offs is broken, or ends in the future.
    """
    at = at.astimezone(UTC).replace(microsecond=0)
    name = _words(" ".join(name.split()), of="name", most=MOST_NAME_CHARACTERS)
    reason = _words(reason.strip(), of="reason", most=MOST_REASON_CHARACTERS)
    check = _checked(record, check, decision)
    _require_end(until, decision, today=at.date())
    content = record_digest(record)
    _require_chain(record, content, at)
    entry = SignOff(
        name=name,
        decision=decision,
        reason=reason,
        check=check,
        until=until,
        signed_at=at,
        record=content,
        previous=record.signoff[-1].digest if record.signoff else "",
        digest="",
    )
    entry = entry.model_copy(update={"digest": _entry_digest(entry)})
    return record.model_copy(update={"signoff": (*record.signoff, entry)})


def chain_faults(record: Record) -> tuple[str, ...]:
    """What shows that sign-offs, or what they were given for, were changed: a sentence each.

    Entries that are missing at the end leave no trace: only who noted the digest of the last one
    can tell.
    """
    return _chain_faults(record, record_digest(record)) if record.signoff else ()


def in_force(entry: SignOff, on: date) -> bool:
    """Whether a sign-off counts on a day, in UTC: its last day is not over."""
    return entry.until is None or on <= entry.until


def open_labels(record: Record) -> tuple[str, ...]:
    """The labels of the checks that did not pass, which are those that can be waived."""
    labels = zip(labels_of(record.results), record.results, strict=True)
    return tuple(label for label, result in labels if result.outcome != "pass")


def _entry_digest(entry: SignOff) -> str:
    return digest_json(entry.model_dump(mode="json", exclude_defaults=True, exclude={"digest"}))


def _chain_faults(record: Record, content: str) -> tuple[str, ...]:
    pairs = zip((None, *record.signoff), record.signoff, strict=False)
    return tuple(
        f"sign-off {number} ({entry.decision} by {one_line(entry.name, 80)}) {fault}"
        for number, (before, entry) in enumerate(pairs, start=1)
        for fault in _faults(entry, before, content)
    )


def _faults(entry: SignOff, before: SignOff | None, content: str) -> Iterator[str]:
    if entry.digest != _entry_digest(entry):
        yield "was changed after it was signed"
    if before is None and entry.previous:
        yield "is not the first that was given: what came before it was removed or moved"
    if before is not None and entry.previous != before.digest:
        yield "was not given after the one before it: that was changed, inserted, removed or moved"
    if before is not None and entry.signed_at < before.signed_at:
        yield f"is dated {moment(entry.signed_at)}, earlier than the one before it"
    if entry.record != content:
        yield "was given for another content: the record was changed since, or is another one"


def _words(text: str, *, of: str, most: int) -> str:
    """What a signer wrote, if it can be shown as it is.

    Raises:
        ConfigError: empty, too long, or with control characters.
    """
    if not text:
        raise ConfigError(f"the {of} is empty", hint="a sign-off says who decided, and why")
    if len(text) > most:
        raise ConfigError(
            f"the {of} has {count(len(text), 'character')}, more than {count(most)}",
            hint="say the rest in a document, and name that one here",
        )
    if printable(text) != text:
        raise ConfigError(
            f"the {of} has a character that cannot be shown",
            hint="leave out control characters and marks that turn the direction of text",
        )
    return text


def _checked(record: Record, check: str | None, decision: Decision) -> str | None:
    """The label of the check that is waived; None where none is.

    Raises:
        ConfigError: a waiver of nothing, of a check that there is not or that passed.
    """
    if decision != "waive":
        if check is not None:
            raise ConfigError(
                f"{decision} stands for the whole release, not for check {check}",
                hint="to accept that one check did not pass: --decision waive",
            )
        return None
    if check is None:
        raise ConfigError("a waiver names its check", hint=f"--check LABEL; {_choice(record)}")
    labels = labels_of(record.results)
    label = _label(labels, check)
    if label is None:
        near = suggest(check, labels)
        near = f"{near} " if near.startswith("did") else ""
        raise ConfigError(f"no check {check!r}", hint=f"{near}{_choice(record)}")
    if label not in open_labels(record):
        raise ConfigError(
            f"check {one_line(label, 200)} passed: there is nothing to waive",
            hint=_choice(record),
        )
    return label


def _label(labels: tuple[str, ...], check: str) -> str | None:
    """The label that is meant: by itself, as it is shown, or by its number in the report."""
    number = check.removeprefix("#")
    if number.isdecimal() and 1 <= int(number) <= len(labels):
        return labels[int(number) - 1]
    return next((label for label in labels if check in (label, printable(label))), None)


def _choice(record: Record) -> str:
    found = [one_line(label, 200) for label in open_labels(record)]
    rest = f" and {count(len(found) - _LISTED, 'more')}" if len(found) > _LISTED else ""
    return f"did not pass: {', '.join(found[:_LISTED])}{rest}" if found else "every check passed"


def _require_end(until: date | None, decision: Decision, *, today: date) -> None:
    """A waiver ends, and nothing ends before it began.

    Raises:
        ConfigError: otherwise.
    """
    if until is None and decision == "waive":
        raise ConfigError("a waiver has a last day", hint="for example --until 2026-12-31")
    if until is not None and until <= today:
        raise ConfigError(
            f"until {until}: that is not in the future",
            hint=f"the last day on which it counts, after today, {today}",
        )


def _require_chain(record: Record, content: str, at: datetime) -> None:
    """A chain that holds, and to which an entry of this moment can be added.

    Raises:
        RecordError: otherwise.
    """
    faults = _chain_faults(record, content)
    if faults:
        raise RecordError(
            f"the sign-offs of {one_line(record.release, 80)} do not hold: {'; '.join(faults)}",
            hint="nothing is signed on top of them: take the record from where it is intact",
        )
    if record.signoff and at < record.signoff[-1].signed_at:
        raise RecordError(
            f"the last sign-off is dated {moment(record.signoff[-1].signed_at)}, later than now, "
            f"{moment(at)}",
            hint="set the clock of this machine",
        )
