"""A plan as text: stages with reasons, documents, and what each check can prove."""

from collections.abc import Iterator, Sequence

from gate.cli.check_text import describe_checks
from gate.configuring.config import GateConfig
from gate.declared_serving import DeclaredServing
from gate.judging.looks import look_sizes
from gate.planning.past_runs import PastRun, last_measured
from gate.planning.prospects import prospects
from gate.planning.released import notes_of_release
from gate.planning.todo import Sources, Todo
from gate.presentation import one_line
from gate.released_records import Released
from gate.reporting.advice import Ground, advice_on
from gate.store import Store
from gate.terms import Task, Variant

_MOST_SENTENCE = 600


def describe(
    config: GateConfig,
    todo: Todo,
    store: Store,
    *,
    sources: Sources,
    runs: Sequence[PastRun] = (),
    released: Released | None = None,
) -> str:
    """What a run of this config would do, as lines for a terminal.

    Args:
        config: what is asked.
        todo: the plan, and what the store has of it.
        store: where finished stages are.
        sources: the base and adapters it is asked of.
        runs: earlier ones, the newest first.
        released: the release whose stored scores checks compare with.
    """
    notes = (*todo.notes, *notes_of_release(config, released))
    sections = (
        [f"release {config.release}: {', '.join(config.ship)} up for release"],
        ["", _title(config), *_stages(todo, store, sources)],
        *([["", "notes", *(f"  {note}" for note in notes)]] if notes else []),
        ["", "documents", *(_documents(config, task) for task in config.suite.tasks)],
        ["", *describe_checks(prospects(config, todo.plan, runs), runs)],
        [*_advice(config, todo.plan.variants, runs)],
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def _title(config: GateConfig) -> str:
    """What the stages are: more are planned as long as a sequential run has not decided."""
    return "stages" if config.suite.sequential is None else "stages of the first look"


def _stages(todo: Todo, store: Store, sources: Sources) -> Iterator[str]:
    now = (sources.base, *sources.adapters.values())
    width = max(len(planned.label) for planned in todo.plan.stages)
    for planned in todo.plan.stages:
        if planned in todo.cached:
            state = "cached"
        else:
            state = f"to run: {store.reason(planned.stage, label=planned.label, sources=now)}"
        yield f"  {planned.label:<{width}}  {planned.stage.key[:8]}  {state}"


def _advice(
    config: GateConfig, variants: Sequence[Variant], runs: Sequence[PastRun]
) -> Iterator[str]:
    """When not to merge, by what is declared, and what an earlier run measured of such variants."""
    run = last_measured(runs, config.candidate)
    known = {one.name for one in run.variants if one in variants} if run else set()
    ground = Ground(
        declared=config.declared_serving or DeclaredServing(),
        variants=tuple(variants),
        ship=config.ship,
        serving=tuple(one for one in run.serving if one.variant in known) if run else (),
    )
    told = advice_on(ground)
    if told:
        by = f"; figures of an earlier run, {run.release}" if run and known else ""
        yield from ("", one_line(f"when not to merge (advice, which changes no verdict{by})", 200))
        yield from (f"  {one_line(sentence, _MOST_SENTENCE)}" for sentence in told)


def _documents(config: GateConfig, task: Task) -> str:
    documents = config.suite.files[task.name].documents
    told = "known when its data is loaded" if documents is None else str(documents)
    notes = []
    if config.suite.sequential is not None and documents is not None:
        looks = ", ".join(map(str, look_sizes(config.suite.sequential, documents)))
        notes.append(f"looked at after {looks}")
    if task.cluster is not None:
        notes.append(f"those of one {task.cluster!r} vary together: it takes 10 of these and more")
    return "; ".join((f"  {task.name}: {told} ({task.metric})", *notes))
