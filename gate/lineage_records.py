"""Where a variant's change of a metric comes from: the steps from base to what ships."""

from typing import Literal

from gate.result_records import Estimate
from gate.terms import Check, Noun

Cause = Literal["training", "merge", "runtime", "quantization"]


class LineageStep(Noun):
    """One step of the line from base to release, on the same documents as the others.

    Attributes:
        cause: what the step changes.
        also: what else it changes, where no variant that was evaluated stands between: a merge and
            a quantization at once, or another runtime.
        reference: the variant before the step.
        variant: the variant after it.
        change: of the metric, larger being better.
    """

    cause: Cause
    also: tuple[Cause, ...] = ()
    reference: str
    variant: str
    change: Estimate

    @property
    def causes(self) -> str:
        """All that the step changes, in words: 'merge', 'runtime and quantization'."""
        *first, last = (self.cause, *self.also)
        return f"{', '.join(first)} and {last}" if first else last


class Lineage(Noun):
    """A variant's change of a task's metric from the base, split into its steps.

    The values of the steps add up to the total's; each has an interval of its own, as they are
    changes of the same documents and not independent.

    Attributes:
        variant: the last of the line.
        task: the task.
        steps: from the first of the line to the variant. The first is the base, or what comes next
            where the base was not evaluated.
        total: the change from the first of the line to the variant.
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

    @property
    def uncounted(self) -> tuple[int, ...]:
        """Ids of the documents that do not count, sorted."""
        return tuple(sorted(number for group in self.groups for number in group[1:]))


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
    """What a run was judged by, and how that differs from the last release.

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

    @property
    def notice(self) -> str | None:
        """That it is not the policy of the last release, in one sentence; None where it is."""
        if not self.changes:
            return None
        count = len(self.changes)
        return (
            f"the thresholds are not those that {self.released} was promoted by: "
            f"{count} {'check differs' if count == 1 else 'checks differ'}"
        )
