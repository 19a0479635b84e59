"""A config -> the stages that answer it, each named by content, and the checks resolved."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field

from gate.configuring.config import GateConfig
from gate.configuring.suites import is_of_texts
from gate.descent import lineage_of
from gate.planning.quantizers import converts
from gate.planning.readings import PlannedReading, ReadingMaker
from gate.planning.resolution import resolve_checks
from gate.planning.stages import PlannedStage, StageMaker, Weights
from gate.terms import Kind, Noun, ResolvedCheck, Source, StageKind, Task, Use, Variant

_ORDER = {kind: place for place, kind in enumerate(get_args(StageKind))}
_REFERENCES: tuple[Kind, ...] = ("adapter", "bridge", "merged", "base", "quantized")
"""Whose second run tells an engine's noise: the first kind that the engine serves."""


class PlannedAudit(Noun):
    """An audit of one artifact, and the variants that are it or were made from it."""

    of: Literal["merge", "quantize"]
    key: str
    variants: tuple[str, ...]


class PlannedNoise(Noun):
    """Two evaluations of one variant on a task, to know what the engine changes by itself."""

    engine: str
    variant: str
    task: str
    again: str
    """Key of the second one's stage."""


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
        noise: one for each engine and task.
        speeds: {variant: keys of its speed stages, in the order of the repeats}.
        readings: one for each candidate, reference and text whose distributions are compared.
        readings_again: a second reading for each engine and text, against the first.
    """

    variants: tuple[Variant, ...]
    stages: tuple[PlannedStage, ...]
    checks: tuple[ResolvedCheck, ...]
    lineages: dict[str, tuple[str, ...]]
    artifacts: dict[str, str]
    evaluations: dict[str, dict[str, str]]
    audits: tuple[PlannedAudit, ...] = ()
    noise: tuple[PlannedNoise, ...] = ()
    speeds: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    readings: tuple[PlannedReading, ...] = ()
    readings_again: tuple[PlannedReading, ...] = ()


def make_plan(
    config: GateConfig,
    base: Source,
    adapters: Mapping[str, Source],
    *,
    interpreters: Mapping[str, str] | None = None,
    limits: Mapping[tuple[str, str], int] | None = None,
) -> Plan:
    """The stages, bridges and checks of a config whose sources have been located.

    Args:
        config: what was asked.
        base: the base model.
        adapters: {name: adapter}.
        interpreters: {extension: path of the Python it runs in}, where not the gate's own.
        limits: {(variant, task): documents to evaluate}, where not what the task itself says.

    Raises:
        ConfigError: a check with an ambiguous or absent reference, a shipped variant that no
            blocking check judges, or an engine that is not installed.
    """
    checks, bridges, references = resolve_checks(config)
    variants = (*config.variants, *references, *bridges)
    maker = StageMaker(config, base, adapters, interpreters=interpreters or {})
    planning = _Planning(config, maker, checks, base=base.digest, limits=limits or {})
    for variant in variants:
        planning.add(variant, is_reference=variant in references)
    planning.add_readings(variants, checks)
    planning.add_noise(variants)
    return Plan(
        variants=variants,
        stages=_in_order(planning.stages.values()),
        checks=checks,
        lineages={variant.name: lineage_of(variant, variants, checks) for variant in variants},
        artifacts=planning.artifacts,
        evaluations=planning.evaluations,
        audits=tuple(planning.audits.values()),
        noise=tuple(planning.noise),
        readings_again=tuple(planning.readings_again),
        speeds=planning.speeds,
        readings=tuple(planning.readings.values()),
    )


def artifact_name(variant: Variant, *, base: str, release: str) -> str:
    """The traceable name of what a variant ships: variant, base, adapters and release.

    merged-smollm2-135m-instruct-adapter-support-v3 is the variant `merged` of release v3: the
    adapter `support` merged into smollm2-135m-instruct.
    """
    base_name = base.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    adapters = "-".join(variant.adapters)
    return f"{variant.name.replace('@', '-on-')}-{base_name}-adapter-{adapters}-{release}"


class _Planning:
    """Collects the stages of all variants, each stage once."""

    def __init__(
        self,
        config: GateConfig,
        maker: StageMaker,
        checks: Sequence[ResolvedCheck],
        *,
        base: str,
        limits: Mapping[tuple[str, str], int],
    ) -> None:
        self.stages: dict[str, PlannedStage] = {}
        self.artifacts: dict[str, str] = {}
        self.evaluations: dict[str, dict[str, str]] = {}
        self.audits: dict[str, PlannedAudit] = {}
        self.noise: list[PlannedNoise] = []
        self.speeds: dict[str, tuple[str, ...]] = {}
        self.readings: dict[tuple[str, str, str], PlannedReading] = {}
        self.readings_again: list[PlannedReading] = []
        self._config = config
        self._maker = maker
        self._asked = {(one.variant, one.task) for one in checks}
        self._asked |= {(one.reference, one.task) for one in checks}
        self._weights: dict[str, Weights] = {}
        self._base = base
        self._limits = limits

    def add(self, variant: Variant, *, is_reference: bool) -> None:
        """The stages of one variant; a task's own reference answers only where it is asked."""
        weights = self._weights[variant.name] = self._build(variant)
        self.evaluations[variant.name] = {
            task.name: self._keep(self._evaluation(variant, task))
            for task in self._config.suite.tasks
            if not is_reference or (variant.name, task.name) in self._asked
        }
        if not is_reference:
            keys = tuple(self._keep(one) for one in self._maker.speeds(variant, weights))
            self.speeds |= {variant.name: keys} if keys else {}

    def add_readings(self, variants: Sequence[Variant], checks: Sequence[ResolvedCheck]) -> None:
        """What the checks of distributions read."""
        named = {variant.name: variant for variant in variants}
        maker = ReadingMaker(self._config.suite, self._maker, named, self._weights)
        for one in checks:
            if is_of_texts(one.check.compare):
                key = (one.variant, one.reference, one.task)
                self.readings[key] = maker.read(one, self._keep)
        for text in self._config.suite.texts if self._config.suite.noise_floor else ():
            for variant in self._first_of_each_engine(variants, text.name):
                again = maker.read_again(variant.name, text, self._keep)
                self.readings_again.append(again)

    def add_noise(self, variants: Sequence[Variant]) -> None:
        """A second evaluation of one variant of each engine, on each task that is judged."""
        if not self._config.suite.noise_floor:
            return
        for task in self._config.suite.tasks:
            for variant in self._first_of_each_engine(variants, task.name):
                self._repeat(variant, task)

    def _first_of_each_engine(self, variants: Sequence[Variant], task: str) -> Iterator[Variant]:
        """Of the variants that answer a task or read a text, whose second run tells the noise."""
        seen: set[str] = set()
        asked = [one for one in variants if (one.name, task) in self._asked]
        for variant in sorted(asked, key=lambda one: _REFERENCES.index(one.kind)):
            if variant.backend.name not in seen:
                seen.add(variant.backend.name)
                yield variant

    def _evaluation(self, variant: Variant, task: Task, *, is_repeat: bool = False) -> PlannedStage:
        """The evaluation of a variant whose weights are planned, on as much of a task as asked."""
        limit = self._limits.get((variant.name, task.name), task.limit)
        return self._maker.evaluate(
            variant,
            task.model_copy(update={"limit": limit}),
            self._weights[variant.name],
            is_repeat=is_repeat,
        )

    def _repeat(self, variant: Variant, task: Task) -> None:
        again = self._evaluation(variant, task, is_repeat=True)
        self.noise.append(
            PlannedNoise(
                engine=variant.backend.name,
                variant=variant.name,
                task=task.name,
                again=self._keep(again),
            )
        )

    def _build(self, variant: Variant) -> Weights:
        """The stages that make what a variant serves, each with its audit."""
        weights = Weights(digest=self._base)
        merge: PlannedStage | None = None
        for built in self._built(variant):
            key = self._keep(built)
            weights = Weights(digest=key, needs={"weights": key})
            self.artifacts[variant.name] = key
            audit = self._maker.audit(self.stages[key], merge)
            self._note_audit(self._keep(audit), variant.name, is_merge=merge is None)
            merge = merge or built
        return weights

    def _built(self, variant: Variant) -> Iterator[PlannedStage]:
        if variant.merge is None:
            return
        merge = self._maker.merge(variant, variant.merge)
        yield merge
        if variant.quantize is not None:
            yield self._maker.quantize(
                variant, variant.quantize, merge, self._converted(variant, variant.quantize, merge)
            )

    def _converted(self, variant: Variant, use: Use, merge: PlannedStage) -> PlannedStage | None:
        """What a quantizer reads in the place of the merge, made once for all that do."""
        if not converts(use):
            return None
        first = self.stages[merge.stage.key]
        return self.stages[self._keep(self._maker.convert(variant, use, first))]

    def _keep(self, planned: PlannedStage) -> str:
        return self.stages.setdefault(planned.stage.key, planned).stage.key

    def _note_audit(self, key: str, variant: str, *, is_merge: bool) -> None:
        of: Literal["merge", "quantize"] = "merge" if is_merge else "quantize"
        known = self.audits.get(key, PlannedAudit(of=of, key=key, variants=()))
        self.audits[key] = known.model_copy(update={"variants": (*known.variants, variant)})


def _in_order(stages: Iterable[PlannedStage]) -> tuple[PlannedStage, ...]:
    """Stages after what they need; the repeats of measuring speed take turns."""

    def place(planned: PlannedStage) -> tuple[int, int]:
        is_second = "reference" in planned.needs
        return _ORDER[planned.stage.kind], planned.repeat or is_second

    return tuple(sorted(stages, key=place))
