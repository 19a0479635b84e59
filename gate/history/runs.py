"""What the history tells of a run: verdicts, scores, changes and sizes, and no document."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from gate.result_records import CheckResult, Verdict
from gate.signoff_records import SignOff
from gate.stats.intervals import Interval


class Shipped(NamedTuple):
    """A variant that was up for release.

    Attributes:
        variant: its name.
        verdict: may it ship; None where the record does not say.
        size_bytes: its artifact on disk; None where it has none, as a base with its adapters.
    """

    variant: str
    verdict: Verdict | None
    size_bytes: int | None


class Measured(NamedTuple):
    """A variant's score on a task.

    Attributes:
        variant: its name.
        task: the task.
        metric: what the score is.
        is_share: whether it is a share of documents that were right.
        value: the score, as the report of the run has it.
        interval: at a one-sided confidence of 0.95; None where no method is known for it.
        documents: how many were asked.
        corpus: content id of their hashes.
        asked: content id of their hashes and of how they were asked and scored: scores for which
            it differs cannot be compared.
    """

    variant: str
    task: str
    metric: str
    is_share: bool
    value: float
    interval: Interval | None
    documents: int
    corpus: str
    asked: str


class Run(NamedTuple):
    """A run, as its record tells it.

    Attributes:
        folder: names of the folders that lead to it, from the folder of reports on.
        has_report: whether report.html lies beside the record.
        release: what was up for release.
        made_at: when it was judged, in UTC.
        verdict: of the run.
        base: the base model, as written in gate.yaml.
        adapters: names of the candidate's adapters, sorted.
        shipped: the variants up for release.
        suite: the suite's name.
        suite_digest: the content id of its files.
        policy_digest: the content id of its checks; None in records that do not tell.
        scores: of the shipped variants and the adapter.
        changes: the checks of shipped variants that compare scores with a reference's.
        signoff: who decided what, in the order in which they did.
    """

    folder: tuple[str, ...]
    has_report: bool
    release: str
    made_at: datetime
    verdict: Verdict
    base: str
    adapters: tuple[str, ...]
    shipped: tuple[Shipped, ...]
    suite: str
    suite_digest: str
    policy_digest: str | None
    scores: tuple[Measured, ...]
    changes: tuple[CheckResult, ...]
    signoff: tuple[SignOff, ...]

    def score(self, variant: str, task: str) -> Measured | None:
        """A variant's score on a task; None where there is none."""
        named = (one for one in self.scores if (one.variant, one.task) == (variant, task))
        return next(named, None)


class Differences(NamedTuple):
    """What a run was judged by that the run before it was not.

    Attributes:
        before: the run before; None of the first.
        suite: whether the suite is another.
        policy: whether the policy is another; None where either record does not tell.
        tasks: tasks that were asked of other documents, or otherwise.
    """

    before: Run | None
    suite: bool
    policy: bool | None
    tasks: tuple[str, ...]


class Unreadable(NamedTuple):
    """A record that the history leaves out.

    Attributes:
        place: names of the folders and the file that lead to it.
        reason: why, in a sentence.
    """

    place: tuple[str, ...]
    reason: str


class History(NamedTuple):
    """What a folder of reports tells: its runs, the oldest first, and what could not be read."""

    runs: tuple[Run, ...]
    unreadable: tuple[Unreadable, ...]


def products(runs: Iterable[Run]) -> dict[tuple[str, ...], tuple[Run, ...]]:
    """{names of the adapters: the runs of candidates with these}, in the order of the runs.

    Reports of several products may lie in one folder, and a score of one says nothing of another.
    """
    found: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found.setdefault(run.adapters, []).append(run)
    return {adapters: tuple(some) for adapters, some in found.items()}


def differences(run: Run, before: Run | None) -> Differences:
    """How a run was judged otherwise than the one before it."""
    if before is None:
        return Differences(None, suite=False, policy=None, tasks=())
    digests = (before.policy_digest, run.policy_digest)
    asked = {one.task: one.asked for one in before.scores}
    return Differences(
        before,
        suite=run.suite_digest != before.suite_digest,
        policy=None if None in digests else digests[0] != digests[1],
        tasks=tuple(
            dict.fromkeys(
                one.task for one in run.scores if asked.get(one.task, one.asked) != one.asked
            )
        ),
    )
