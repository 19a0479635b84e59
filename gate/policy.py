"""What a run is judged by, and what of it has changed since the last release."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from gate.digest import digest_json
from gate.lineage_records import Policy, PolicyChange
from gate.terms import Check


def policy_of(
    checks: Sequence[Check], *, released: Policy | None = None, release: str | None = None
) -> Policy:
    """The policy that checks make, and how it differs from the last release's.

    Args:
        checks: of the suite, as written.
        released: the policy of the last release; None where none is known.
        release: its name.
    """
    return Policy(
        digest=policy_digest(checks),
        checks=tuple(checks),
        released=release if released else None,
        released_digest=released.digest if released else None,
        changes=tuple(_changes(released.checks, checks)) if released else (),
    )


def policy_digest(checks: Sequence[Check]) -> str:
    """The content id of checks, however they are formatted and in whatever order.

    A margin and the bounds it stands for are the same; so is a check that is written twice.
    """
    return digest_json(sorted(_by_digest(checks)))


def _by_digest(checks: Iterable[Check]) -> dict[str, Check]:
    return {digest_json(_sorted(check).model_dump(mode="json")): check for check in checks}


def _sorted(check: Check) -> Check:
    """The check with its tasks in alphabetical order, each once."""
    tasks = None if check.tasks is None else tuple(sorted(set(check.tasks)))
    return check.model_copy(update={"tasks": tasks})


def _changes(before: Sequence[Check], after: Sequence[Check]) -> Iterator[PolicyChange]:
    """Each check that is not as it was: those there are in their order, then those that went."""
    then, now = _by_digest(before), _by_digest(after)
    gone = [check for digest, check in then.items() if digest not in now]
    new = [check for digest, check in now.items() if digest not in then]
    for subject in dict.fromkeys(map(_subject, (*new, *gone))):
        old_ones, new_ones = (
            sorted((one for one in ones if _subject(one) == subject), key=lambda one: one.level)
            for ones in (gone, new)
        )
        for old, changed in zip_longest(old_ones, new_ones):
            yield PolicyChange(
                check=subject, before=_terms(old, beside=changed), after=_terms(changed, beside=old)
            )


def _subject(check: Check) -> str:
    """What a check compares: 'quantized against merged: delta [intent, extract]'."""
    tasks = ", ".join(_sorted(check).tasks or ())
    part = f"/{check.slice}" if check.slice else ""
    where = f" [{tasks}{part}]" if tasks or part else ""
    return f"{check.of} against {check.against}: {check.compare}{where}"


def _terms(check: Check | None, *, beside: Check | None) -> str | None:
    """A check's terms in words: all of them, or those in which it differs from another."""
    if check is None:
        return None
    own, other = _words(check), _words(beside) if beside else ()
    return ", ".join(word for word in own if word not in other)


def _words(check: Check) -> tuple[str, ...]:
    """Its bounds, confidence and level: ('margin 0.02', 'confidence 0.95', 'blocks')."""
    level = "blocks" if check.level == "block" else "warns only"
    return _bounds(check), f"confidence {check.confidence!r}", level


def _bounds(check: Check) -> str:
    if check.at_least is None or check.at_least >= 0:
        return check.bound_text
    if check.at_most is None:
        return f"margin {-check.at_least!r}"
    if check.at_most == -check.at_least:
        return f"margin {check.at_most!r} both ways"
    return check.bound_text
