"""The rounds of a run: one for all documents, or look after look until each check is decided."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from gate.configuring.config import GateConfig
from gate.configuring.suites import Suite
from gate.jobs import NotRun
from gate.judging.judge import verdict_of_run
from gate.judging.pairing import places_reached
from gate.planning.plan import Plan
from gate.planning.prospects import prospects, refusals
from gate.planning.todo import Sources, Todo, look_up
from gate.released_records import Released
from gate.result_records import Verdict
from gate.running.filling import Filling, Watcher
from gate.running.judgement import Judgement, judge_plan
from gate.store import Store
from gate.terms import ResolvedCheck

Limits = Mapping[tuple[str, str], int]
"""{(variant, task): documents asked}, where the task has more."""


_MOST_LABELS = 8
_SETTLED: dict[Verdict, str] = {"block": "is blocked", "error": "could not be judged"}
"""The verdicts on one variant that decide the run's, whatever the others come to."""


class Filled(NamedTuple):
    """What a run asked in its last round, and what all of its rounds found.

    Attributes:
        todo: the last plan; of its stages, those that the store had before the run are cached.
    """

    todo: Todo
    judgement: Judgement


class _Open(NamedTuple):
    """A check that more documents may decide.

    Attributes:
        asked: documents so far.
        sizes: documents at the looks of its task.
        blocked_by: what makes its outcome idle; None where it matters.
    """

    check: ResolvedCheck
    asked: int
    sizes: tuple[int, ...]
    blocked_by: str | None

    @property
    def next_size(self) -> int:
        """Documents at its next look."""
        return next(size for size in self.sizes if size > self.asked)

    @property
    def note(self) -> str:
        """Why it stays open, as a sentence for the record."""
        return (
            f"{self.check.variant} was asked {self.asked:,} of {self.sizes[-1]:,} documents of "
            f"{self.check.task} and no more: {self.blocked_by or 'the run was cut short'}"
        )


def fill_in_rounds(
    config: GateConfig,
    sources: Sources,
    *,
    store: Store,
    filling: Filling,
    watcher: Watcher,
    released: Released | None = None,
) -> Filled:
    """Run what the store does not have and judge it, with more documents while a check is open.

    Args:
        config: what was asked.
        sources: the base and adapters it was asked of.
        store: where outputs are.
        filling: runs stages, and knows what failed.
        watcher: is told the plan, and each look after the first.
        released: the release that checks compare with.

    Raises:
        ConfigError: the input is wrong.
        StoreError: the store cannot be used.
    """
    run = _Run(config, sources, store, filling, released)
    todo = filling.untried(look_up(config, sources, store))
    watcher.planned(todo)
    for sentence in refusals(prospects(config, todo.plan)):
        watcher.say(sentence)
    look, asked = 1, _limits(todo.plan, config.suite)
    while True:
        filling.fill(todo, settled=partial(run.settled, todo.plan))
        if filling.is_cut and look > 1:
            todo = run.as_far_as_run(todo.plan, earlier=asked)
        judgement = run.judge(todo.plan)
        asked = _limits(todo.plan, config.suite)
        checks = list(_open_checks(todo.plan, judgement, asked, released))
        worthwhile = [one for one in checks if one.blocked_by is None and not filling.is_cut]
        if not worthwhile:
            whole = filling.whole(todo)
            return Filled(whole._replace(notes=(*whole.notes, *run.notes(checks))), judgement)
        look += 1
        raised = _raised(asked, worthwhile, todo.plan)
        todo = filling.untried(look_up(config, sources, store, limits=raised))
        documents = max(one.next_size for one in worthwhile)
        watcher.look(
            f"look {look}: {documents:,} documents; {len(worthwhile)} of {len(todo.plan.checks)} "
            "checks open",
            todo,
        )


class _Run(NamedTuple):
    """What all rounds of a run have in common."""

    config: GateConfig
    sources: Sources
    store: Store
    filling: Filling
    released: Released | None

    def judge(self, plan: Plan, *, failures: Mapping[str, str] | None = None) -> Judgement:
        """What the store holds of a plan, judged."""
        return judge_plan(
            self.config,
            self.sources,
            plan,
            self.store,
            failures=self.filling.failures if failures is None else failures,
            released=self.released,
        )

    def settled(self, plan: Plan) -> str | None:
        """Why the verdict cannot change any more, whatever the rest of a plan finds; or None."""
        waiting = {one.stage.key: NotRun("it has not run yet") for one in plan.stages}
        judgement = self.judge(plan, failures={**waiting, **self.filling.failures})
        shipped = [one for one in judgement.verdicts if one.variant in self.config.ship]
        verdict = verdict_of_run(shipped)
        if verdict not in _SETTLED:
            return None
        worst = next(one.variant for one in shipped if one.verdict == verdict)
        return f"the verdict cannot change any more: {worst} {_SETTLED[verdict]}"

    def as_far_as_run(self, plan: Plan, *, earlier: Limits) -> Todo:
        """The plan of a round that was cut: with the documents of the one before where it was."""
        there = {one.stage.key for one in plan.stages if self.store.find(one.stage) is not None}
        again = {(noise.variant, noise.task): noise.again for noise in plan.noise}
        raised, limits = _limits(plan, self.config.suite), dict[tuple[str, str], int]()
        for variant, tasks in plan.evaluations.items():
            for task, key in tasks.items():
                keys = {key, again.get((variant, task), key)}
                limit = (raised if keys <= there else earlier).get((variant, task))
                limits |= {} if limit is None else {(variant, task): limit}
        return look_up(self.config, self.sources, self.store, limits=limits)

    def notes(self, checks: Iterable[_Open]) -> Iterator[str]:
        """What was not run, and which checks stay open, each with the reason."""
        for why, labels in self.filling.left_out().items():
            rest = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
            yield f"not run: {', '.join(labels[:_MOST_LABELS])}{rest}: {why}"
        yield from dict.fromkeys(one.note for one in checks)


def _limits(plan: Plan, suite: Suite) -> dict[tuple[str, str], int]:
    """The documents that a plan asks, where that is not what the task itself says."""
    own = {task.name: task.limit for task in suite.tasks}
    stages = {planned.stage.key: planned for planned in plan.stages}
    asked = {
        (variant, name): task.limit
        for variant, tasks in plan.evaluations.items()
        for name, key in tasks.items()
        if (task := stages[key].task) is not None
    }
    return {
        pair: limit for pair, limit in asked.items() if limit is not None and limit != own[pair[1]]
    }


def _open_checks(
    plan: Plan, judgement: Judgement, limits: Limits, released: Released | None
) -> Iterator[_Open]:
    """The undecided checks of tasks that have more documents than both variants were asked."""
    blocks = _blocks(plan, judgement)
    stored = _stored_places(released)
    for check, result in zip(plan.checks, judgement.results, strict=True):
        sizes = judgement.looks.get(check.task)
        if result.outcome != "inconclusive" or sizes is None:
            continue
        arms = (check.variant, check.reference)
        asked = min(limits.get((arm, check.task), sizes[-1]) for arm in arms)
        if asked < stored.get((check.reference, check.task), sizes[-1]):
            yield _Open(check, asked, sizes, _idle(check.variant, plan, blocks))


def _stored_places(released: Released | None) -> dict[tuple[str, str], int]:
    """How far a release was asked, which no further document of the candidate changes."""
    scores = released.scores if released else ()
    return {(one.variant, one.task): places_reached(one) for one in scores if one.samples}


def _blocks(plan: Plan, judgement: Judgement) -> dict[str, str]:
    """What blocks each variant: the last fault or failed check on the way to it."""
    found: dict[str, str] = {}
    for audit in judgement.audits:
        if audit.audit is not None and audit.audit.faults:
            found |= dict.fromkeys(audit.variants, f"{audit.label} found a fault")
    for check, result in zip(plan.checks, judgement.results, strict=True):
        if result.outcome == "fail" and result.check.level == "block":
            found.setdefault(check.variant, f"{check.label} failed")
    return {
        variant: found[ancestor]
        for variant, lineage in plan.lineages.items()
        for ancestor in lineage
        if ancestor in found
    }


def _idle(variant: str, plan: Plan, blocks: Mapping[str, str]) -> str | None:
    """Why it does not matter how a variant does: all that rests on it is blocked, or None."""
    heirs = [
        one.name
        for one in plan.variants
        if one.merge is not None and not one.is_bridge and variant in plan.lineages[one.name]
    ]
    reasons = [blocks.get(heir) for heir in heirs or [variant]]
    return None if None in reasons else reasons[0]


def _raised(limits: Limits, checks: Sequence[_Open], plan: Plan) -> Limits:
    """The limits with both variants of each check at its next look.

    With them go the variants whose second run tells the noise of the engines that serve the two.
    """
    engines = {variant.name: variant.backend.name for variant in plan.variants}
    wanted: dict[tuple[str, str], int] = {}
    for one in checks:
        arms = {one.check.variant, one.check.reference}
        served_by = {engines[arm] for arm in arms & engines.keys()}  # a released arm by none
        arms |= {
            noise.variant
            for noise in plan.noise
            if noise.task == one.check.task and noise.engine in served_by
        }
        for arm in arms:
            pair = (arm, one.check.task)
            wanted[pair] = max(wanted.get(pair, 0), one.next_size)
    last = {one.check.task: one.sizes[-1] for one in checks}
    return {
        pair: max(limit, wanted.get(pair, 0))
        for pair, limit in limits.items()
        if wanted.get(pair, 0) < last.get(pair[1], limit)
    }
