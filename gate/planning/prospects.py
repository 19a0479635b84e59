"""What every check of a plan can show before it is run, and those that cannot pass at all."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gate.configuring.config import GateConfig
from gate.evaluate import BINARY_METRICS
from gate.planning.expectations import Expectation, expect, smallest_margin
from gate.planning.past_runs import PastRun
from gate.planning.plan import Plan
from gate.planning.spreads import spread_of
from gate.terms import ResolvedCheck


class Prospect(NamedTuple):
    """A check of one pair on one task, and what it can show; None where that has no arithmetic."""

    check: ResolvedCheck
    expectation: Expectation | None

    @property
    def refusal(self) -> str | None:
        """Why it cannot pass, as the end of a sentence; None where it can, or nobody knows."""
        found = self.expectation
        if found is None or found.can_pass:
            return None
        check = self.check.check
        if check.compare.name == "flips":
            proven = f"proving at most {check.at_most:g}"
        else:
            proven = f"proving a margin of {smallest_margin(check):g}"
        return (
            f"as a share: {found.documents} documents, and {proven} takes {found.fewest} "
            "even when no answer changes"
        )


def prospects(config: GateConfig, plan: Plan, runs: Sequence[PastRun] = ()) -> tuple[Prospect, ...]:
    """What each check of a plan can show, in the order of the checks.

    Args:
        config: what is asked.
        plan: its checks, resolved.
        runs: earlier ones, the newest first, that tell how much documents vary.
    """
    tasks = {task.name: task for task in config.suite.tasks}
    found = []
    for one in plan.checks:
        task = tasks.get(one.task)
        if task is None:
            found.append(Prospect(one, None))
            continue
        documents = None if one.check.slice else config.suite.files[task.name].documents
        spread = spread_of(one, plan.variants, runs, is_share=task.metric in BINARY_METRICS)
        is_sequential = config.suite.sequential is not None and task.cluster is None
        found.append(
            Prospect(one, expect(one.check, documents, spread, is_sequential=is_sequential))
        )
    return tuple(found)


def refusals(found: Iterable[Prospect]) -> Iterator[str]:
    """One sentence for each check that cannot pass with the documents there are."""
    for one in found:
        if one.refusal is not None:
            level = "" if one.check.check.level == "block" else " (warns only)"
            yield f"{one.check.label}{level} cannot pass {one.refusal}"
