"""Where a variant's change of a metric comes from: the steps from base to what ships."""

from typing import Literal

from gate.result_records import Estimate
from gate.terms import Check, Noun

Cause = Literal["training", "merge", "runtime", "quantization"]


class LineageStep(Noun):
    """One step of the line from base to release, on the same documents as the others."""

    cause: Cause
    reference: str
    variant: str
    change: Estimate


class Lineage(Noun):
    """A variant's change of a task's metric from the base, split into its steps.

    The values of the steps add up to the total's; each has an interval of its own, as they are
    changes of the same documents and not independent.

    Attributes:
        variant: the last of the line.
        task: the task.
        steps: from base to variant.
        total: the change from base to variant.
        documents: how many all the line's variants have been asked.
    """

    variant: str
    task: str
    steps: tuple[LineageStep, ...]
    total: Estimate
    documents: int


class Duplicates(Noun):
    """Documents of a task that are the same, of which one is counted.

    Attributes:
        task: the task.
        groups: ids of equal documents, the one that counts first.
    """

    task: str
    groups: tuple[tuple[int, ...], ...]


class PolicyChange(Noun):
    """A check that is not as it was when the last release was judged.

    Attributes:
        check: what it compares: 'quantized against merged: delta [intent]'.
        before: its bounds, confidence and level then; None where it is new.
        after: those now; None where it was taken away.
    """

    check: str
    before: str | None
    after: str | None


class Policy(Noun):
    """What a release was judged by, and how that differs from the last release.

    Attributes:
        digest: content id of the checks, however they are written.
        checks: the checks.
        released: the release that was promoted last; None where none is known.
        released_digest: the content id of its checks.
        changes: what has changed since.
    """

    digest: str
    checks: tuple[Check, ...]
    released: str | None = None
    released_digest: str | None = None
    changes: tuple[PolicyChange, ...] = ()
