"""From what a run found to a Record: the findings gathered, artifacts named, costs told."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gate.configuring.config import GateConfig
from gate.jobs import NotRun
from gate.judging.duplicates import duplicate_warnings
from gate.judging.judge import verdict_of_run
from gate.judging.noise import Noise, noise_floor
from gate.judging.pairing import Pair
from gate.lineage import lineages
from gate.lineage_records import Policy
from gate.planning.past_runs import PastRun
from gate.planning.plan import Plan, artifact_name
from gate.planning.released import notes_of_release
from gate.planning.todo import Sources, Todo
from gate.policy import policy_of
from gate.provenance import collect_provenance, repository
from gate.records import Artifact, Record, RunCommand, StageRecord, WeightReport
from gate.released_records import Released
from gate.result_records import NoiseFloor
from gate.running.judgement import Judgement
from gate.running.worker import REPORT_FILE
from gate.store import Finished, Store
from gate.terms import Task, Variant


def make_record(
    config: GateConfig,
    sources: Sources,
    todo: Todo,
    store: Store,
    *,
    judgement: Judgement,
    failures: Mapping[str, str],
    released: PastRun | None = None,
    compared: Released | None = None,
    budget_seconds: float | None = None,
) -> Record:
    """The record of a run whose stages are in the store or among the failures.

    Args:
        config: what was asked.
        sources: the base and adapters it was asked of.
        todo: the plan, and which of its stages had been there before.
        store: where the outputs are.
        judgement: what the checks found in them.
        failures: {stage key: why it failed}.
        released: the last release, with whose policy this run's is compared.
        compared: the release with whose scores checks compare.
        budget_seconds: the time that the stages were given; None for all they take.
    """
    plan = todo.plan
    verdicts = judgement.verdicts
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
        corpora=tuple(judgement.corpora.values()),
        scores=tuple(judgement.scores.values()),
        artifacts=artifacts,
        audits=judgement.audits,
        noise=_noise_floors(judgement.noise),
        lineages=lineages(config.suite.tasks, plan.variants, plan.checks, judgement.scores),
        duplicates=judgement.duplicates,
        policy=_policy(config, released),
        serving=judgement.serving,
        distributions=judgement.distributions,
        results=judgement.results,
        verdicts=verdicts,
        verdict=verdict_of_run([one for one in verdicts if one.variant in config.ship]),
        stages=tuple(_stage_records(todo, store, failures)),
        provenance=collect_provenance(
            {name for planned in plan.stages for name in planned.stage.packages},
            root=config.path.parent,
        ),
        run=_run_command(config, store, budget_seconds),
        warnings=(
            *todo.notes,
            *notes_of_release(config, compared),
            *_warnings(artifacts, judgement),
        ),
        declared_serving=config.declared_serving,
        released=compared,
        first_release=config.first_release,
    )


def _run_command(config: GateConfig, store: Store, budget_seconds: float | None) -> RunCommand:
    root = repository(config.path.parent)

    def told(path: Path) -> str:
        path = path.resolve()
        return str(path.relative_to(root) if root and path.is_relative_to(root) else path)

    return RunCommand(
        config=told(config.path),
        config_digest=config.digest,
        suite=told(config.suite.path),
        store=told(store.root),
        allow_pickle=config.allow_pickle,
        trust_remote_code=config.trust_remote_code,
        budget_seconds=budget_seconds,
    )


def _policy(config: GateConfig, released: PastRun | None) -> Policy:
    if released is None or released.policy is None:
        return policy_of(config.suite.checks)
    return policy_of(config.suite.checks, released=released.policy, release=released.release)


def _noise_floors(noise: Noise) -> tuple[NoiseFloor, ...]:
    return tuple(
        noise_floor(engine, pair)
        for (engine, _), pair in noise.pairs.items()
        if isinstance(pair, Pair)
    )


def _warnings(artifacts: Iterable[Artifact], judgement: Judgement) -> Iterator[str]:
    """What documents, mergers, quantizers and audits give cause to warn of, each with whose."""
    yield from duplicate_warnings(judgement.duplicates)
    for artifact in artifacts:
        yield from (f"{artifact.variant}: {warning}" for warning in artifact.report.warnings)
    for one in judgement.audits:
        if one.audit is not None:
            yield from (f"{one.label}: {warning}" for warning in one.audit.warnings)
    for read in judgement.distributions:
        yield from (f"text {read.text}, read by {read.variant}: {one}" for one in read.warnings)


def _without_folder(task: Task) -> Task:
    """The task with the name of its file alone: where it lay is no part of the record."""
    return task.model_copy(update={"path": task.path and Path(task.path).name})


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
        finished, why = store.find(stage), failures.get(stage.key)
        yield StageRecord(
            key=stage.key,
            kind=stage.kind,
            label=planned.label,
            is_cached=stage.key in cached,
            seconds=finished.cost.seconds if finished else 0.0,
            peak_memory_bytes=finished.cost.peak_memory_bytes if finished else None,
            packages=stage.packages,
            interpreter=finished.cost.interpreter if finished else None,
            threads=finished.cost.threads if finished else None,
            error=None if isinstance(why, NotRun) else why,
            skipped=str(why) if isinstance(why, NotRun) else None,
        )
