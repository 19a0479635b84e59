"""From a filled store to a Record: scores read, checks judged, artifacts named."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gate.audit_records import ArtifactAudit, Audit
from gate.calibration import find_overlap, read_calibration
from gate.config import GateConfig
from gate.errors import ConfigError
from gate.evaluation_records import Corpus, Evaluation
from gate.found import read_noise, read_serving, score_of, unmeasured
from gate.judging.judge import judge, verdict_of, verdict_of_run
from gate.judging.noise import Noise, noise_floor
from gate.judging.pairing import Pair
from gate.plan import Plan, artifact_name
from gate.provenance import collect_provenance
from gate.records import Artifact, Record, StageRecord, WeightReport
from gate.result_records import CheckResult, NoiseFloor, VariantVerdict
from gate.stages import PlannedStage
from gate.store import Finished, Store
from gate.terms import Source, Task, Variant
from gate.worker import AUDIT_FILE, EVALUATION_FILE, REPORT_FILE


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


def make_record(
    config: GateConfig,
    sources: Sources,
    todo: Todo,
    store: Store,
    *,
    failures: Mapping[str, str],
) -> Record:
    """The record of a run whose stages are in the store or among the failures.

    Args:
        config: what was asked.
        sources: the base and adapters it was asked of.
        todo: the plan, and which of its stages had been there before.
        store: where the outputs are.
        failures: {stage key: why it failed}.
    """
    plan = todo.plan
    evaluations = _read_evaluations(plan, store)
    corpora = _corpora(config, evaluations)
    _refuse_shown(config, corpora.values())
    scores = {pair: score_of(pair[0], one) for pair, one in evaluations.items()}
    failed = _failed(plan, evaluations, failures)
    audits = tuple(_audits(plan, store, failures))
    noise = read_noise(plan, scores, failed, store, failures)
    serving = read_serving(config, sources.base, sources.adapters, plan, store)
    results = judge(
        plan.checks,
        scores,
        corpora,
        failed | unmeasured(plan, store, failures),
        noise=noise,
        serving={one.variant: one for one in serving},
    )
    verdicts = _verdicts(plan, results, audits)
    artifacts = tuple(_artifacts(config, plan, store))
    return Record(
        release=config.release,
        candidate=config.candidate,
        suite=config.suite.name,
        suite_digest=config.suite.digest,
        base=sources.base,
        adapters=sources.adapters,
        variants=plan.variants,
        ship=config.ship,
        tasks=tuple(_without_folder(task) for task in config.suite.tasks),
        corpora=tuple(corpora.values()),
        scores=tuple(scores.values()),
        artifacts=artifacts,
        audits=audits,
        noise=_noise_floors(noise),
        serving=serving,
        results=results,
        verdicts=verdicts,
        verdict=verdict_of_run([one for one in verdicts if one.variant in config.ship]),
        stages=tuple(_stage_records(todo, store, failures)),
        provenance=collect_provenance(
            {name for planned in plan.stages for name in planned.stage.packages},
            root=config.path.parent,
        ),
        warnings=(*todo.notes, *_warnings(artifacts, audits)),
    )


def _noise_floors(noise: Noise) -> tuple[NoiseFloor, ...]:
    return tuple(
        noise_floor(engine, pair)
        for (engine, _), pair in noise.pairs.items()
        if isinstance(pair, Pair)
    )


def _warnings(artifacts: Iterable[Artifact], audits: Iterable[ArtifactAudit]) -> Iterator[str]:
    """What mergers, quantizers and audits warn of, each with whose it is."""
    for artifact in artifacts:
        yield from (f"{artifact.variant}: {warning}" for warning in artifact.report.warnings)
    for one in audits:
        if one.audit is not None:
            yield from (f"{one.label}: {warning}" for warning in one.audit.warnings)


def _refuse_shown(config: GateConfig, corpora: Iterable[Corpus]) -> None:
    """See that no quantizer was shown a document of a task whose files are not at hand before.

    Raises:
        ConfigError: it was, by the prompt that the model was given.
    """
    inputs = read_calibration(Path(one.path) for one in config.suite.calibration)
    for corpus in corpora:
        if config.suite.files[corpus.task].judged:
            continue
        found = find_overlap(inputs, ((one.prompt, *one.choices) for one in corpus.documents))
        if found is not None:
            shown, place = found
            raise ConfigError(
                f"calibration: {shown.where} is also document {corpus.documents[place].id} of task "
                f"{corpus.task!r}",
                hint="calibrate on inputs that no task judges, or the verdict flatters",
            )


def _failed(
    plan: Plan, evaluations: Mapping[tuple[str, str], Evaluation], failures: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Why each variant and task without an evaluation has none."""
    return {
        (variant, task): failures.get(key, "it was not run")
        for variant, tasks in plan.evaluations.items()
        for task, key in tasks.items()
        if (variant, task) not in evaluations
    }


def _audits(plan: Plan, store: Store, failures: Mapping[str, str]) -> Iterator[ArtifactAudit]:
    planned = {one.stage.key: one for one in plan.stages}
    for one in plan.audits:
        stage = planned[one.key]
        file = store.path(stage.stage) / AUDIT_FILE
        found = Audit.model_validate_json(file.read_bytes()) if file.is_file() else None
        yield ArtifactAudit(
            of=one.of,
            label=stage.label,
            variants=one.variants,
            audit=found,
            error=None if found else failures.get(one.key, "it was not run"),
        )


def _verdicts(
    plan: Plan, results: Sequence[CheckResult], audits: Sequence[ArtifactAudit]
) -> tuple[VariantVerdict, ...]:
    """A verdict for each variant that could ship: the merged and the quantized ones."""
    return tuple(
        verdict_of(variant.name, plan.lineages[variant.name], results, audits)
        for variant in plan.variants
        if variant.merge is not None and not variant.is_bridge
    )


def _without_folder(task: Task) -> Task:
    """The task with the name of its file alone: where it lay is no part of the record."""
    return task.model_copy(update={"path": task.path and Path(task.path).name})


def _read_evaluations(plan: Plan, store: Store) -> dict[tuple[str, str], Evaluation]:
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    found = {}
    for variant, tasks in plan.evaluations.items():
        for task, key in tasks.items():
            file = store.path(stages[key]) / EVALUATION_FILE
            if file.is_file():
                found[variant, task] = Evaluation.model_validate_json(file.read_bytes())
    return found


def _corpora(
    config: GateConfig, evaluations: Mapping[tuple[str, str], Evaluation]
) -> dict[str, Corpus]:
    """The documents of each task, as the first variant that was evaluated saw them."""
    corpora: dict[str, Corpus] = {}
    for task in config.suite.tasks:
        for (_, name), evaluation in evaluations.items():
            if name == task.name:
                corpora[name] = Corpus(task=name, documents=evaluation.documents)
                break
    return corpora


def _artifacts(config: GateConfig, plan: Plan, store: Store) -> Iterator[Artifact]:
    stages = {planned.stage.key: planned for planned in plan.stages}
    for variant in plan.variants:
        key = plan.artifacts.get(variant.name)
        finished = store.find(stages[key].stage) if key else None
        if key and finished:
            yield _artifact(variant, finished, store.path(stages[key].stage), config)


def _artifact(variant: Variant, finished: Finished, path: Path, config: GateConfig) -> Artifact:
    report = WeightReport.model_validate_json(path.with_name(REPORT_FILE).read_bytes())
    method = " -> ".join(str(use) for use in (variant.merge, variant.quantize) if use)
    return Artifact(
        variant=variant.name,
        name=artifact_name(variant, base=config.candidate.base, release=config.release),
        path=str(path),
        digest=finished.digest,
        size_bytes=finished.size_bytes,
        made_at=finished.finished_at,
        seconds=finished.cost.seconds,
        method=method,
        report=report,
    )


def _stage_records(todo: Todo, store: Store, failures: Mapping[str, str]) -> Iterator[StageRecord]:
    cached = {planned.stage.key for planned in todo.cached}
    for planned in todo.plan.stages:
        stage = planned.stage
        finished = store.find(stage)
        yield StageRecord(
            key=stage.key,
            kind=stage.kind,
            label=planned.label,
            is_cached=stage.key in cached,
            seconds=finished.cost.seconds if finished else 0.0,
            peak_memory_bytes=finished.cost.peak_memory_bytes if finished else None,
            packages=stage.packages,
            interpreter=finished.cost.interpreter if finished else None,
            error=failures.get(stage.key),
        )
