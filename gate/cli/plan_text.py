"""A plan as text: stages with reasons, documents, and what each check can prove."""

from collections.abc import Iterator, Sequence

from gate.cli.check_text import describe_checks
from gate.configuring.config import GateConfig
from gate.judging.looks import look_sizes
from gate.planning.past_runs import PastRun
from gate.planning.prospects import prospects
from gate.planning.todo import Sources, Todo
from gate.store import Store
from gate.terms import Task


def describe(
    config: GateConfig,
    todo: Todo,
    store: Store,
    *,
    sources: Sources,
    runs: Sequence[PastRun] = (),
) -> str:
    """What a run of this config would do, as lines for a terminal.

    Args:
        config: what is asked.
        todo: the plan, and what the store has of it.
        store: where finished stages are.
        sources: the base and adapters it is asked of.
        runs: earlier ones, the newest first.
    """
    sections = (
        [f"release {config.release}: {', '.join(config.ship)} up for release"],
        ["", _title(config), *_stages(todo, store, sources)],
        *([["", "notes", *(f"  {note}" for note in todo.notes)]] if todo.notes else []),
        ["", "documents", *(_documents(config, task) for task in config.suite.tasks)],
        ["", *describe_checks(prospects(config, todo.plan, runs), runs)],
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
