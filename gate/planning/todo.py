"""What a run has to do: the sources it works on, its plan, and what the store has of it."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from gate.configuring.config import GateConfig
from gate.configuring.suites import Suite
from gate.environments import find_python
from gate.planning.fallbacks import fit_backends
from gate.planning.plan import Plan, make_plan
from gate.planning.stages import PlannedStage
from gate.sources import SourceKind, check_fit, locate
from gate.store import Store
from gate.terms import Source


class Sources(NamedTuple):
    """The base and the adapters, located and checked to fit each other."""

    base: Source
    adapters: dict[str, Source]


class Todo(NamedTuple):
    """The stages of a plan, split into those in the store and those to run.

    Attributes:
        notes: what was planned other than asked, in sentences.
    """

    plan: Plan
    cached: tuple[PlannedStage, ...]
    to_run: tuple[PlannedStage, ...]
    notes: tuple[str, ...] = ()


def locate_sources(config: GateConfig, store: Store) -> Sources:
    """Find and fingerprint the base and adapters of a config, and see that they fit.

    Raises:
        SourceError: missing, unreadable, refused, or made for another base.
    """

    def find(given: str, kind: SourceKind) -> Source:
        return locate(
            given,
            root=config.path.parent,
            kind=kind,
            allow_pickle=config.allow_pickle,
            trust_remote_code=config.trust_remote_code,
            file_digest=store.file_digest,
        )

    base = find(config.candidate.base, "base")
    adapters = {one.name: find(one.source, "adapter") for one in config.candidate.adapters}
    for adapter in adapters.values():
        check_fit(base, adapter)
    store.file_digest.save()
    return Sources(base, adapters)


def look_up(
    config: GateConfig,
    sources: Sources,
    store: Store,
    *,
    limits: Mapping[tuple[str, str], int] | None = None,
) -> Todo:
    """The plan of a config, and which of its stages the store already has.

    What only other stages read is no part of it where it is gone and none of those has to run.

    Args:
        config: what was asked.
        sources: the base and adapters it is asked of.
        store: where finished stages are.
        limits: {(variant, task): documents to ask now}, where that is not what the task says;
            None for what a run begins with: the first look of a sequential one.

    Raises:
        ConfigError: a check that cannot be resolved, or an engine that is not installed.
    """
    fitted = fit_backends(config, sources.adapters)
    used = (use for one in fitted.variants for use in (one.merge, one.quantize, one.backend))
    names = {use.name for use in used if use is not None}
    found = {name: find_python(name, store=store.root, given=config.interpreters) for name in names}
    make = partial(
        make_plan,
        config.model_copy(update={"variants": fitted.variants}),
        sources.base,
        sources.adapters,
        interpreters={name: python for name, python in found.items() if python is not None},
    )
    plan = make(limits=limits)
    if limits is None and config.suite.sequential is not None:
        plan = make(limits=first_limits(config.suite, plan))
    cached = tuple(
        one for one in plan.stages if not one.is_live and store.find(one.stage) is not None
    )
    to_run = tuple(planned for planned in plan.stages if planned not in cached)
    needed = {key for planned in to_run for key in planned.needs.values()}
    idle = [one for one in to_run if one.is_between and one.stage.key not in needed]
    stages = tuple(one for one in plan.stages if one not in idle)
    return Todo(
        plan.model_copy(update={"stages": stages}),
        cached,
        tuple(one for one in to_run if one not in idle),
        fitted.notes,
    )


def first_limits(suite: Suite, plan: Plan) -> dict[tuple[str, str], int]:
    """{(variant, task): documents at the first look}, where the task has, or may have, more."""
    if suite.sequential is None:
        return {}
    first = suite.sequential.first
    known = {task.name: suite.files[task.name].documents or task.limit for task in suite.tasks}
    larger = {task for task, documents in known.items() if documents is None or documents > first}
    return {
        (variant, task): first
        for variant, tasks in plan.evaluations.items()
        for task in tasks
        if task in larger
    }
