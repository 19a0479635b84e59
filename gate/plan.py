"""A config -> the stages that answer it, each named by content, and the checks resolved."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from gate import extensions
from gate.config import GateConfig, compares_texts
from gate.digest import digest_file, digest_json
from gate.provenance import versions
from gate.resolution import lineage_of, resolve_checks
from gate.terms import Noun, ResolvedCheck, Source, Stage, Task, Variant

_EVALUATION_CODE = (
    "evaluate.py",
    "language_models.py",
    "engines.py",
    "adapters.py",
    "hf_models.py",
    "llama_models.py",
    "nf4.py",
    "tensors.py",
)
"""Files of the gate, besides the backend, that decide what an evaluate stage gives."""


_AUDIT_CODE = ("auditing/*.py", "checkpoints.py", "tensors.py", "nf4.py")
_AUDIT_PACKAGES = ("torch", "numpy", "transformers", "gguf")


class PlannedStage(Noun):
    """A stage with what the runner needs to start it.

    Attributes:
        label: what people call it: 'merge merged', 'evaluate q8_0 desk_intent'.
        variant: the first variant that needs it.
        needs: {role: key} of the stages whose outputs it reads.
        adapters: names of the candidate's adapters it reads, in order.
        task: the task with its path, for an evaluate stage.
    """

    stage: Stage
    label: str
    variant: str
    needs: dict[str, str] = Field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    task: Task | None = None


class PlannedAudit(Noun):
    """An audit of one artifact, and the variants that are it or were made from it."""

    of: Literal["merge", "quantize"]
    key: str
    variants: tuple[str, ...]


class Plan(Noun):
    """What a gate run will do, in an order in which every stage follows what it needs.

    Attributes:
        variants: the variants of gate.yaml and the bridges that the checks call for.
        stages: each once, however many variants need it.
        checks: every check for every variant and task it is about.
        lineages: {variant: the variants whose checks its verdict rests on, itself last}.
        artifacts: {variant: key of the stage that makes what it ships}.
        evaluations: {variant: {task: key of its evaluate stage}}.
        audits: one for each artifact.
    """

    variants: tuple[Variant, ...]
    stages: tuple[PlannedStage, ...]
    checks: tuple[ResolvedCheck, ...]
    lineages: dict[str, tuple[str, ...]]
    artifacts: dict[str, str]
    evaluations: dict[str, dict[str, str]]
    audits: tuple[PlannedAudit, ...] = ()


def make_plan(config: GateConfig, base: Source, adapters: Mapping[str, Source]) -> Plan:
    """The stages, bridges and checks of a config whose sources have been located.

    Raises:
        ConfigError: a check with an ambiguous or absent reference, or a shipped variant that no
            blocking check judges.
    """
    checks, bridges, references = resolve_checks(config)
    variants = (*config.variants, *references, *bridges)
    asked = {(one.variant, one.task) for one in checks} | {
        (one.reference, one.task) for one in checks
    }
    stages: dict[str, PlannedStage] = {}
    artifacts: dict[str, str] = {}
    evaluations: dict[str, dict[str, str]] = {}
    audits: dict[str, PlannedAudit] = {}
    for variant in variants:
        weights, needs = base.digest, {}
        merge: PlannedStage | None = None
        for built in _build_stages(variant, base, adapters, config):
            key = built.stage.key
            stages.setdefault(key, built)
            weights, needs = key, {"weights": key}
            artifacts[variant.name] = key
            audit = _audit_stage(stages[key], merge, base=base)
            merge = merge or built
            stages.setdefault(audit.stage.key, audit)
            _note_audit(audits, audit, variant.name)
        evaluations[variant.name] = {}
        for task in config.suite.tasks:
            if variant in references and (variant.name, task.name) not in asked:
                continue
            evaluated = _evaluate_stage(
                variant, task, weights=weights, needs=needs, adapters=adapters, config=config
            )
            stages.setdefault(evaluated.stage.key, evaluated)
            evaluations[variant.name][task.name] = evaluated.stage.key
    return Plan(
        variants=variants,
        stages=_in_order(stages.values()),
        checks=checks,
        lineages={variant.name: lineage_of(variant, variants, checks) for variant in variants},
        artifacts=artifacts,
        evaluations=evaluations,
        audits=tuple(audits.values()),
    )


def artifact_name(variant: Variant, *, base: str, release: str) -> str:
    """The traceable name of what a variant ships: variant, base, adapters and release.

    merged-smollm2-135m-instruct-adapter-support-v3 is the variant `merged` of release v3: the
    adapter `support` merged into smollm2-135m-instruct.
    """
    base_name = base.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    adapters = "-".join(variant.adapters)
    return f"{variant.name.replace('@', '-on-')}-{base_name}-adapter-{adapters}-{release}"


def _in_order(stages: Iterable[PlannedStage]) -> tuple[PlannedStage, ...]:
    order = {"merge": 0, "quantize": 1, "audit": 2, "evaluate": 3}
    return tuple(sorted(stages, key=lambda planned: order[planned.stage.kind]))


def _build_stages(
    variant: Variant, base: Source, adapters: Mapping[str, Source], config: GateConfig
) -> Iterator[PlannedStage]:
    if variant.merge is None:
        return
    extension = extensions.find("mergers", variant.merge.name)
    inputs = {"base": base.digest} | _adapter_inputs(variant, adapters, config)
    if compares_texts(variant):
        digests = config.suite.text_digests
        inputs |= {f"text:{name}": digest for name, digest in digests.items()}
    merge = Stage(
        kind="merge",
        use=variant.merge,
        inputs=inputs,
        code=extension.code,
        packages=versions(extension.packages),
    )
    label = f"merge {variant.name.partition('@')[0]}" if variant.is_bridge else None
    yield PlannedStage(
        stage=merge,
        label=label or f"merge {variant.name}",
        variant=variant.name,
        adapters=variant.adapters,
    )
    if variant.quantize is None:
        return
    extension = extensions.find("quantizers", variant.quantize.name)
    quantize = Stage(
        kind="quantize",
        use=variant.quantize,
        inputs={"model": merge.key},
        code=extension.code,
        packages=versions(extension.packages),
    )
    yield PlannedStage(
        stage=quantize,
        label=f"quantize {variant.name}",
        variant=variant.name,
        needs={"model": merge.key},
    )


def _audit_stage(built: PlannedStage, merge: PlannedStage | None, *, base: Source) -> PlannedStage:
    """The audit of a merge, or of what was quantized from one."""
    inputs = {"model": built.stage.key, "base": base.digest}
    needs = {"model": built.stage.key}
    if merge is not None:
        inputs["merged"] = needs["merged"] = merge.stage.key
    stage = Stage(
        kind="audit",
        use=built.stage.use,
        inputs=inputs,
        code=_audit_code(),
        packages=versions(_AUDIT_PACKAGES),
    )
    return PlannedStage(
        stage=stage,
        label=f"audit {built.label}",
        variant=built.variant,
        needs=needs,
        adapters=built.adapters,
    )


def _note_audit(audits: dict[str, PlannedAudit], audit: PlannedStage, variant: str) -> None:
    of: Literal["merge", "quantize"] = "quantize" if "merged" in audit.needs else "merge"
    key = audit.stage.key
    known = audits.get(key, PlannedAudit(of=of, key=key, variants=()))
    audits[key] = known.model_copy(update={"variants": (*known.variants, variant)})


@cache
def _audit_code() -> str:
    """The digest of the code that decides what an audit finds."""
    here = Path(__file__).parent
    files = sorted(file for pattern in _AUDIT_CODE for file in here.glob(pattern))
    return digest_json({file.name: digest_file(file) for file in files})


def _evaluate_stage(
    variant: Variant,
    task: Task,
    *,
    weights: str,
    needs: dict[str, str],
    adapters: Mapping[str, Source],
    config: GateConfig,
) -> PlannedStage:
    extension = extensions.find("backends", variant.backend.name)
    live = variant.adapters if variant.merge is None else ()
    inputs = {"weights": weights, "task": config.suite.files[task.name].digest}
    if live:
        inputs |= _adapter_inputs(variant, adapters, config)
    stage = Stage(
        kind="evaluate",
        use=variant.backend,
        inputs=inputs,
        code=_evaluation_code(extension.code),
        packages=versions(extension.packages),
        task=task.model_copy(update={"path": None}),
    )
    return PlannedStage(
        stage=stage,
        label=f"evaluate {variant.name} {task.name}",
        variant=variant.name,
        needs=needs,
        adapters=live,
        task=task,
    )


def _adapter_inputs(
    variant: Variant, adapters: Mapping[str, Source], config: GateConfig
) -> dict[str, str]:
    """What of a variant's adapters can change an output: their content, weights and order."""
    weights = {adapter.name: adapter.weight for adapter in config.candidate.adapters}
    inputs = {f"adapter:{name}": adapters[name].digest for name in variant.adapters}
    inputs |= {
        f"weight:{name}": repr(weights[name]) for name in variant.adapters if weights[name] != 1.0
    }
    if len(variant.adapters) > 1:
        inputs["order"] = ",".join(variant.adapters)
    return inputs


def _evaluation_code(backend: str) -> str:
    files = {name: digest_file(Path(__file__).with_name(name)) for name in _EVALUATION_CODE}
    return digest_json({"backend": backend, **files})
