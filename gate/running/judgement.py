"""A filled store read and judged: what a run has found, at each of its looks and at its end."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gate.audit_records import ArtifactAudit, Audit
from gate.configuring.config import GateConfig
from gate.distribution_records import Distribution
from gate.errors import ConfigError
from gate.evaluation_records import Corpus, Evaluation, Score
from gate.jobs import NotRun
from gate.judging.duplicates import (
    find_duplicates,
    noise_without_duplicates,
    without_duplicates,
)
from gate.judging.judge import judge, verdict_of
from gate.judging.looks import planned_looks
from gate.judging.noise import Noise
from gate.lineage_records import Duplicates
from gate.planning.plan import Plan
from gate.planning.released import without_counterpart
from gate.planning.todo import Sources
from gate.quantizing.calibration import find_overlap, read_calibration
from gate.released_records import Released, arm_name
from gate.result_records import CheckResult, VariantVerdict
from gate.running.found import (
    read_distributions,
    read_noise,
    read_serving,
    score_of,
    unmeasured,
    unread,
)
from gate.running.sharing import Shared
from gate.running.worker import AUDIT_FILE, EVALUATION_FILE
from gate.serving_records import Serving
from gate.store import Store


class Judgement(NamedTuple):
    """What a store holds of a plan, and what the checks find in it.

    Attributes:
        corpora: {task: its documents}, as far as they were asked.
        scores: {(variant, task): score}, each document counted once.
        audits: one for each artifact.
        noise: what the engines change by themselves.
        serving: what the variants cost to serve.
        results: one for each check.
        verdicts: one for each variant that could ship.
        looks: {task: documents at each planned look}; empty where the suite is not sequential.
        duplicates: documents that are the same as others, and were counted once.
        distributions: how variants read the suite's texts, and one again of each engine.
    """

    corpora: Mapping[str, Corpus]
    scores: Mapping[tuple[str, str], Score]
    audits: tuple[ArtifactAudit, ...]
    noise: Noise
    serving: tuple[Serving, ...]
    results: tuple[CheckResult, ...]
    verdicts: tuple[VariantVerdict, ...]
    looks: Mapping[str, tuple[int, ...]]
    duplicates: tuple[Duplicates, ...] = ()
    distributions: tuple[Distribution, ...] = ()


def judge_plan(
    config: GateConfig,
    sources: Sources,
    plan: Plan,
    store: Store,
    *,
    failures: Mapping[str, str],
    released: Released | None = None,
) -> Judgement:
    """Read what a plan's stages gave and judge every check.

    Args:
        config: what was asked.
        sources: the base and adapters it was asked of.
        plan: whose stages are in the store or among the failures.
        store: where the outputs are.
        failures: {stage key: why it failed}.
        released: the release that checks compare with.

    Raises:
        ConfigError: a quantizer was calibrated on what a task judges.
    """
    shared = Shared()
    evaluations = _read_evaluations(plan, store, shared)
    corpora = _corpora(config, evaluations)
    _refuse_shown(config, corpora.values())
    asked = {pair: score_of(pair[0], one) for pair, one in evaluations.items()}
    duplicates = find_duplicates(corpora.values(), asked.values())
    scores = without_duplicates(asked, duplicates)
    failed = _failed(plan, evaluations, failures)
    audits = tuple(_audits(plan, store, failures))
    again = read_noise(plan, asked, failed, store, failures, shared=shared)
    noise = noise_without_duplicates(again, duplicates)
    serving = read_serving(config, sources.base, sources.adapters, plan, store)
    looks = planned_looks(config.suite.sequential, config.suite.tasks, scores.values())
    distributions = read_distributions(plan, store)
    results = judge(
        plan.checks,
        {**scores, **without_duplicates(_stored(released), duplicates)},
        corpora,
        failed | _unmeasured(plan, store, failures, released),
        noise=_with_released(noise),
        distributions=distributions,
        serving={one.variant: one for one in serving},
        looks=looks,
    )
    verdicts = _verdicts(plan, results, audits)
    return Judgement(
        corpora,
        scores,
        audits,
        noise,
        serving,
        results,
        verdicts,
        looks,
        duplicates,
        (*distributions.values(), *_readings_again(noise)),
    )


def _unmeasured(
    plan: Plan, store: Store, failures: Mapping[str, str], released: Released | None
) -> dict[tuple[str, str], str]:
    """Why there is nothing to compare, besides scores of this run."""
    return {
        **unmeasured(plan, store, failures),
        **unread(plan, store, failures),
        **without_counterpart(plan.checks, released),
    }


def _stored(released: Released | None) -> dict[tuple[str, str], Score]:
    return {(one.variant, one.task): one for one in released.scores} if released else {}


def _with_released(noise: Noise) -> Noise:
    """What was released in a variant's place is taken to be as noisy as its engine is now."""
    then = {arm_name(variant): engine for variant, engine in noise.engines.items()}
    return noise._replace(engines={**noise.engines, **then})


def _readings_again(noise: Noise) -> Iterator[Distribution]:
    """What each engine changes in a text by itself, told as of a variant of its own."""
    for twice in noise.texts.values():
        if isinstance(twice, Distribution):
            yield twice.model_copy(update={"variant": f"{twice.variant} again", "worst": ()})


def _read_evaluations(
    plan: Plan, store: Store, shared: Shared
) -> dict[tuple[str, str], Evaluation]:
    stages = {planned.stage.key: planned.stage for planned in plan.stages}
    found = {}
    for variant, tasks in plan.evaluations.items():
        for task, key in tasks.items():
            file = store.path(stages[key]) / EVALUATION_FILE
            if file.is_file():
                found[variant, task] = shared.read(file)
    return found


def _corpora(
    config: GateConfig, evaluations: Mapping[tuple[str, str], Evaluation]
) -> dict[str, Corpus]:
    """The documents of each task, as the first variant that was asked most of them saw them."""
    corpora: dict[str, Corpus] = {}
    for task in config.suite.tasks:
        asked = [one.documents for (_, name), one in evaluations.items() if name == task.name]
        if asked:
            corpora[task.name] = Corpus(task=task.name, documents=max(asked, key=len))
    return corpora


def _refuse_shown(config: GateConfig, corpora: Iterable[Corpus]) -> None:
    """See that no quantizer was shown a document of a task whose files are not at hand before.

    Raises:
        ConfigError: it was, by the prompt that the model was given, or the text it was scored on.
    """
    inputs = read_calibration(Path(one.path) for one in config.suite.calibration)
    for corpus in corpora:
        if config.suite.files[corpus.task].judged:
            continue
        asked = map(corpus.documents.column, ("prompt", "target", "choices"))
        texts = (
            (prompt or target, *choices) for prompt, target, choices in zip(*asked, strict=True)
        )
        found = find_overlap(inputs, texts)
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
            is_skipped=found is None and isinstance(failures.get(one.key), NotRun),
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
