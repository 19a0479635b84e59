"""What repeats found, from a filled store: an engine's noise, and what variants cost to serve."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gate.checkpoints import has_safetensors, read_headers
from gate.configuring.config import GateConfig, is_of_serving
from gate.distribution_records import Distribution
from gate.distributions.reading import DISTRIBUTION_FILE
from gate.errors import GateError
from gate.evaluation_records import Evaluation, Score
from gate.judging.noise import Noise
from gate.judging.pairing import Pair, pair_scores
from gate.planning.plan import Plan, PlannedNoise
from gate.planning.readings import PlannedReading
from gate.provenance import machine
from gate.records import WeightReport
from gate.running.sharing import Shared
from gate.running.worker import EVALUATION_FILE, REPORT_FILE, SPEED_FILE
from gate.serving_records import Serving, SpeedRun
from gate.store import Store
from gate.terms import Source, Stage, Variant


class _Sizes(NamedTuple):
    """Sizes of what is served, each None where it is not known."""

    size_bytes: int | None
    weight_bytes: int | None
    parameters: int | None


def score_of(variant: str, evaluation: Evaluation) -> Score:
    """An evaluation as the score of a variant."""
    return Score(
        variant=variant,
        task=evaluation.task,
        metric=evaluation.metric,
        higher_is_better=evaluation.higher_is_better,
        is_binary=evaluation.is_binary,
        aggregate=evaluation.aggregate,
        available=evaluation.available,
        samples=evaluation.samples,
    )


def read_noise(
    plan: Plan,
    scores: Mapping[tuple[str, str], Score],
    failed: Mapping[tuple[str, str], str],
    store: Store,
    failures: Mapping[str, str],
    *,
    shared: Shared,
) -> Noise:
    """Both evaluations of what was evaluated twice, or why there are not two.

    Args:
        plan: what was to be done.
        scores: {(variant, task): the first evaluation}.
        failed: {(variant, task): why there is no first one}.
        store: where the second ones are.
        failures: {stage key: why it failed}.
        shared: has read the first ones.
    """
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    pairs: dict[tuple[str, str], Pair | str] = {}
    for one in plan.noise:
        file = store.path(stages[one.again]) / EVALUATION_FILE
        if file.is_file():
            again = score_of(one.variant, shared.read(file))
            pairs[one.engine, one.task] = _twice(one, again, scores, failed)
        else:
            pairs[one.engine, one.task] = failures.get(one.again, "it was not run")
    engines = {variant.name: variant.backend.name for variant in plan.variants}
    texts = {
        (engines[one.variant], one.text): _read(one, stages, store)
        or failures.get(one.key, "it was not run")
        for one in plan.readings_again
    }
    return Noise(pairs, engines, texts)


def read_serving(
    config: GateConfig,
    base: Source,
    adapters: Mapping[str, Source],
    plan: Plan,
    store: Store,
) -> tuple[Serving, ...]:
    """What each variant of gate.yaml costs to serve; nothing where the suite does not ask for it.

    Args:
        config: what was asked.
        base: the base model.
        adapters: {name: adapter}.
        plan: what was to be done.
        store: where the measurements are.
    """
    if config.suite.speed is None and not any(map(is_of_serving, config.suite.checks)):
        return ()
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    here = machine()
    asked = {variant.name for variant in config.variants} | plan.speeds.keys()
    return tuple(
        Serving(
            variant=variant.name,
            backend=str(variant.backend),
            machine=here,
            runs=tuple(_speed_runs(plan.speeds.get(variant.name, ()), stages, store)),
            **_sizes(variant, base, adapters, plan, store)._asdict(),
        )
        for variant in plan.variants
        if variant.name in asked
    )


def read_distributions(plan: Plan, store: Store) -> dict[tuple[str, str, str], Distribution]:
    """{(candidate, reference, text): how their distributions differ}, of what was read."""
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    read = {
        (one.variant, one.reference, one.text): _read(one, stages, store) for one in plan.readings
    }
    return {names: found for names, found in read.items() if found is not None}


def _read(one: PlannedReading, stages: Mapping[str, Stage], store: Store) -> Distribution | None:
    """What a reading found, under the names that this plan gives to what was read."""
    file = store.path(stages[one.key]) / DISTRIBUTION_FILE
    if not file.is_file():
        return None
    names = {"variant": one.variant, "reference": one.reference, "text": one.text}
    return Distribution.model_validate_json(file.read_bytes()).model_copy(update=names)


def unread(plan: Plan, store: Store, failures: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Why a text was not read with a variant, by (variant, text)."""
    stages = {planned.stage.key: planned for planned in plan.stages}
    return {
        (one.variant, one.text): failures.get(one.key, f"'{stages[one.key].label}' was not run")
        for one in plan.readings
        if store.find(stages[one.key].stage) is None
    }


def unmeasured(plan: Plan, store: Store, failures: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Why it was not measured what a variant costs to serve, by (variant, '')."""
    stages = {planned.stage.key: planned for planned in plan.stages}
    return {
        (variant, ""): failures.get(key, f"'{stages[key].label}' was not run")
        for variant, keys in plan.speeds.items()
        for key in reversed(keys)
        if store.find(stages[key].stage) is None
    }


def _twice(
    one: PlannedNoise,
    again: Score,
    scores: Mapping[tuple[str, str], Score],
    failed: Mapping[tuple[str, str], str],
) -> Pair | str:
    """The two evaluations as a pair; the second goes by another name in what is said of it."""
    name = f"{one.variant} again"
    both = {
        (one.variant, one.task): scores.get((one.variant, one.task)),
        (name, one.task): again.model_copy(update={"variant": name}),
    }
    present = {place: score for place, score in both.items() if score is not None}
    try:
        return pair_scores(present, failed, reference=one.variant, candidate=name, task=one.task)
    except GateError as error:
        return error.problem


def _speed_runs(
    keys: Iterable[str], stages: Mapping[str, Stage], store: Store
) -> Iterator[SpeedRun]:
    for key in keys:
        file = store.path(stages[key]) / SPEED_FILE
        if file.is_file():
            yield SpeedRun.model_validate_json(file.read_bytes())


def _sizes(
    variant: Variant,
    base: Source,
    adapters: Mapping[str, Source],
    plan: Plan,
    store: Store,
) -> _Sizes:
    """What of a variant lies on disk: its artifact, or the base with its live adapters."""
    if variant.merge is None:
        return _sizes_of([base, *(adapters[name] for name in variant.adapters)])
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    stage = stages[plan.artifacts[variant.name]]
    finished = store.find(stage)
    if finished is None:
        return _Sizes(None, None, None)
    report = WeightReport.model_validate_json(store.path(stage).with_name(REPORT_FILE).read_bytes())
    return _Sizes(finished.size_bytes, report.weight_bytes, report.parameters)


def _sizes_of(sources: Sequence[Source]) -> _Sizes:
    files = [file for source in sources for file in _files(source)]
    folders = [Path(source.path) for source in sources]
    headers = []
    if all(map(has_safetensors, folders)):
        headers = [one for folder in folders for one in read_headers(folder).values()]
    return _Sizes(
        size_bytes=sum(file.stat().st_size for file in files),
        weight_bytes=sum(one.size_bytes for one in headers) or None,
        parameters=sum(one.parameters for one in headers) or None,
    )


def _files(source: Source) -> list[Path]:
    folder = Path(source.path)
    if source.manifest:
        return [folder / name for name in source.manifest]
    return [file for file in folder.rglob("*") if file.is_file()]
