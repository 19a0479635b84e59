"""A plan as text: stages with reasons, documents, and what each check can prove."""

from collections.abc import Iterator

from gate.config import GateConfig
from gate.recording import Sources, Todo
from gate.stats import proportions, sample_size
from gate.store import Store
from gate.terms import Check, ResolvedCheck

_ASSUMED_FLIP_RATE = 0.04
_POWER = 0.9


def describe(config: GateConfig, todo: Todo, store: Store, *, sources: Sources) -> str:
    """What a run of this config would do, as lines for a terminal."""
    sections = (
        [f"release {config.release}: {', '.join(config.ship)} up for release"],
        ["", "stages", *_stages(todo, store, sources)],
        *([["", "notes", *(f"  {note}" for note in todo.notes)]] if todo.notes else []),
        ["", "documents", *_documents(config)],
        ["", "checks", *_checks(config, todo)],
    )
    return "\n".join(line for section in sections for line in section) + "\n"


def _stages(todo: Todo, store: Store, sources: Sources) -> Iterator[str]:
    now = (sources.base, *sources.adapters.values())
    width = max(len(planned.label) for planned in todo.plan.stages)
    for planned in todo.plan.stages:
        if planned in todo.cached:
            state = "cached"
        else:
            state = f"to run: {store.reason(planned.stage, label=planned.label, sources=now)}"
        yield f"  {planned.label:<{width}}  {planned.stage.key[:8]}  {state}"


def _documents(config: GateConfig) -> Iterator[str]:
    for task in config.suite.tasks:
        documents = config.suite.files[task.name].documents
        told = "known when its data is loaded" if documents is None else str(documents)
        yield f"  {task.name}: {told} ({task.metric})"


def _checks(config: GateConfig, todo: Todo) -> Iterator[str]:
    for resolved in todo.plan.checks:
        check = resolved.check
        level = "" if check.level == "block" else f" ({check.level} only)"
        yield f"  {resolved.label}: {check.bound_text}{level}"
        if resolved.task:
            for sentence in _power(resolved, config.suite.files[resolved.task].documents):
                yield f"      {sentence}"


def _power(resolved: ResolvedCheck, documents: int | None) -> Iterator[str]:
    margin = _margin(resolved.check)
    if margin is None:
        return
    confidence = resolved.check.confidence
    floor = proportions.floor_documents(margin, confidence=confidence)
    needed = sample_size.documents_for_power(
        margin=margin, flip_rate=_ASSUMED_FLIP_RATE, confidence=confidence, power=_POWER
    )
    if documents is None:
        yield f"a share needs at least {floor} documents to pass"
    elif documents < floor:
        yield (
            f"CANNOT PASS as a share: {documents} documents, and proving a margin of {margin:g} "
            f"takes {floor} even when no answer changes"
        )
    else:
        yield (
            f"can pass: {documents} documents of at least {floor}; where {_ASSUMED_FLIP_RATE:.0%} "
            f"of answers change, {needed} prove a harmless change {_POWER:.0%} of the time"
        )


def _margin(check: Check) -> float | None:
    """The smallest loss or gain that a non-inferiority check must rule out."""
    if check.compare.name != "delta" or check.at_least is None or check.at_least >= 0:
        return None
    return -check.at_least
