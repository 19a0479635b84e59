"""One variant's steps -> Stages, each named by everything that can change what it gives."""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from gate import extensions
from gate.configuring.config import GateConfig, compares_texts
from gate.digest import digest_file, digest_json
from gate.environments import probe
from gate.errors import ConfigError
from gate.planning.quantizers import calibrates, packages_of
from gate.provenance import NOT_INSTALLED, machine, versions
from gate.terms import Noun, Source, Stage, Task, Text, Use, Variant

_EVALUATION_CODE = (
    "evaluate.py",
    "evaluating/*.py",
    "aggregates.py",
    "engines/language_models.py",
    "engines/interface.py",
    "adapters.py",
    "engines/hf_*.py",
    "engines/llama_models.py",
    "nf4.py",
    "tensors.py",
    "engines/tokenized.py",
)
"""Files of the gate, besides the backend, that decide what an evaluate stage gives."""

_EVALUATION_PACKAGES = ("sacrebleu",)
"""Distributions, besides those of the backend, whose versions can change a metric."""

_SPEED_CODE = (*_EVALUATION_CODE, "measuring.py", "provenance.py", "serving_records.py")
_AUDIT_CODE = ("auditing/*.py", "checkpoints.py", "tensors.py", "nf4.py")
_AUDIT_PACKAGES = ("torch", "numpy", "transformers", "gguf")
_FOLDERS = {"merge": "mergers", "convert": "quantizers", "quantize": "quantizers"}


class PlannedStage(Noun):
    """A stage with what the runner needs to start it.

    Attributes:
        label: what people call it: 'merge merged', 'evaluate q8_0 desk_intent'.
        variant: the first variant that needs it.
        needs: {role: key} of the stages whose outputs it reads.
        adapters: names of the candidate's adapters it reads, in order.
        task: the task with its path, for an evaluate stage.
        python: the interpreter it runs in; None for the gate's own.
        is_between: nothing but stages that need it reads what it gives: it runs where one of them
            has to.
        is_live: it asks a server, which has no content id: what it gave before does not count.
        is_repeat: the second of two evaluations of one variant, in other batches and order.
        repeat: which of several measurements of speed, from 1.
        text: the text to read, for a read stage.
        reference: the variant that is loaded beside it, for a read stage of the full vocabulary.
    """

    stage: Stage
    label: str
    variant: str
    needs: dict[str, str] = Field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    task: Task | None = None
    python: str | None = None
    is_between: bool = False
    is_live: bool = False
    is_repeat: bool = False
    repeat: int = 0
    text: Text | None = None
    reference: Variant | None = None


class Weights(Noun):
    """What a backend serves: the content id of a checkpoint, and the stage that makes it."""

    digest: str
    needs: dict[str, str] = Field(default_factory=dict)


class StageMaker:
    """Makes the stages of a config whose sources have been located."""

    def __init__(
        self,
        config: GateConfig,
        base: Source,
        adapters: Mapping[str, Source],
        *,
        interpreters: Mapping[str, str],
    ) -> None:
        """Take what every stage is made from.

        Args:
            config: what was asked.
            base: the base model.
            adapters: {name: adapter}.
            interpreters: {extension: path of the Python it runs in}, where not the gate's own.
        """
        self._config = config
        self._base = base
        self._adapters = adapters
        self._interpreters = interpreters

    def merge(self, variant: Variant, use: Use) -> PlannedStage:
        """The merge of a variant's adapters into the base."""
        inputs = {"base": self._base.digest} | self._adapter_inputs(variant)
        if compares_texts(variant):
            digests = self._config.suite.text_digests
            inputs |= {f"text:{name}": digest for name, digest in digests.items()}
        return self._built(
            "merge", use, inputs, variant, label=f"merge {_told(variant)}"
        ).model_copy(update={"adapters": variant.adapters})

    def convert(self, variant: Variant, use: Use, merge: PlannedStage) -> PlannedStage:
        """What a merge gave in the form that a quantizer reads, whatever it then makes of it."""
        made = {"model": merge.stage.key}
        label = f"convert {merge.label.removeprefix('merge ')} for {use.name}"
        return self._built("convert", Use(name=use.name), made, variant, label=label).model_copy(
            update={"needs": made, "is_between": True}
        )

    def quantize(
        self, variant: Variant, use: Use, merge: PlannedStage, converted: PlannedStage | None
    ) -> PlannedStage:
        """The quantization of what a merge gave; how that is read does not change what it is."""
        inputs = {"model": merge.stage.key}
        if calibrates(use):
            digests = self._config.suite.calibration_digests
            inputs |= {f"calibration:{index}": one for index, one in enumerate(digests)}
        needs = {"model": merge.stage.key}
        if converted is not None:
            needs["converted"] = converted.stage.key
        return self._built(
            "quantize", use, inputs, variant, label=f"quantize {variant.name}"
        ).model_copy(update={"needs": needs})

    def audit(self, built: PlannedStage, merge: PlannedStage | None) -> PlannedStage:
        """The audit of a merge, or of what was quantized from one."""
        inputs = {"model": built.stage.key, "base": self._base.digest}
        needs = {"model": built.stage.key}
        if merge is not None:
            inputs["merged"] = needs["merged"] = merge.stage.key
        stage = Stage(
            kind="audit",
            use=built.stage.use,
            inputs=inputs,
            code=_digest_of(_AUDIT_CODE),
            packages=versions(_AUDIT_PACKAGES),
        )
        return PlannedStage(
            stage=stage,
            label=f"audit {built.label}",
            variant=built.variant,
            needs=needs,
            adapters=built.adapters,
        )

    def evaluate(
        self, variant: Variant, task: Task, weights: Weights, *, is_repeat: bool = False
    ) -> PlannedStage:
        """The evaluation of a variant on a task, the second one in other batches and order."""
        inputs = {"task": self._config.suite.files[task.name].digest}
        if is_repeat:
            inputs["repeat"] = "other batches, other order"
        again = " again" if is_repeat else ""
        return self.served(
            "evaluate",
            variant,
            weights,
            inputs=inputs,
            code=_EVALUATION_CODE,
            label=f"evaluate {variant.name} {task.name}{again}",
            task=task,
        ).model_copy(update={"is_repeat": is_repeat})

    def speeds(self, variant: Variant, weights: Weights) -> Iterator[PlannedStage]:
        """The repeats of measuring what a variant costs to serve, on this machine."""
        if self._config.suite.speed is None:
            return
        settings = self._config.suite.speed.model_dump(mode="json")
        for repeat in range(1, settings.pop("repeats") + 1):
            inputs = {"machine": machine(), "repeat": str(repeat), "speed": digest_json(settings)}
            yield self.served(
                "speed",
                variant,
                weights,
                inputs=inputs,
                code=_SPEED_CODE,
                label=f"speed {variant.name} {repeat}",
            ).model_copy(update={"repeat": repeat})

    def _built(
        self,
        kind: Literal["merge", "convert", "quantize"],
        use: Use,
        inputs: dict[str, str],
        variant: Variant,
        *,
        label: str,
    ) -> PlannedStage:
        """A stage that makes a checkpoint, or what one is made from."""
        extension = extensions.find(_FOLDERS[kind], use.name)
        stage = Stage(
            kind=kind,
            use=use,
            inputs=inputs,
            code=extension.code,
            packages=self._versions(extension),
        )
        python = self._interpreters.get(use.name)
        return PlannedStage(stage=stage, label=label, variant=variant.name, python=python)

    def served(
        self,
        kind: Literal["evaluate", "read", "speed"],
        variant: Variant,
        weights: Weights,
        *,
        inputs: dict[str, str],
        code: tuple[str, ...],
        label: str,
        task: Task | None = None,
    ) -> PlannedStage:
        """A stage that loads a variant in its backend."""
        extension = extensions.find("backends", variant.backend.name)
        live = variant.adapters if variant.merge is None else ()
        if live:
            inputs = inputs | self._adapter_inputs(variant)
        stage = Stage(
            kind=kind,
            use=variant.backend,
            inputs={"weights": weights.digest, **inputs},
            code=digest_json({"backend": extension.code, "gate": _digest_of(code)}),
            packages=self._versions(
                extension, packages_of(variant) + (_EVALUATION_PACKAGES if task else ())
            ),
            task=None if task is None else task.model_copy(update={"path": None}),
        )
        return PlannedStage(
            stage=stage,
            label=label,
            variant=variant.name,
            needs=weights.needs,
            adapters=live,
            task=task,
            python=self._interpreters.get(variant.backend.name),
            is_live=bool(getattr(extension.module, "IS_LIVE", False)),
        )

    def _versions(
        self, extension: extensions.Extension, more: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """Versions in the interpreter that will run it.

        Raises:
            ConfigError: the engine that the extension is made for is not installed there.
        """
        python = self._interpreters.get(extension.name)
        packages = sorted({*extension.packages, *more})
        found = versions(packages) if python is None else probe(python, packages).versions
        engines: tuple[str, ...] = getattr(extension.module, "ENGINE", ())
        if engines and all(found.get(engine) == NOT_INSTALLED for engine in engines):
            raise ConfigError(
                f"{extension.name} needs {engines[0]}, which is not installed in "
                f"{python or sys.executable}",
                hint=extension.constant("REMEDY", ""),
            )
        return found

    def _adapter_inputs(self, variant: Variant) -> dict[str, str]:
        """What of a variant's adapters can change an output: content, weights and order."""
        weights = {one.name: one.weight for one in self._config.candidate.adapters}
        inputs = {f"adapter:{name}": self._adapters[name].digest for name in variant.adapters}
        inputs |= {
            f"weight:{name}": repr(weights[name])
            for name in variant.adapters
            if weights[name] != 1.0
        }
        if len(variant.adapters) > 1:
            inputs["order"] = ",".join(variant.adapters)
        return inputs


def _told(variant: Variant) -> str:
    """The variant's name; a bridge's merge goes by the variant whose weights it has."""
    return variant.name.partition("@")[0] if variant.is_bridge else variant.name


@cache
def _digest_of(patterns: tuple[str, ...]) -> str:
    """The digest of files of the gate that decide what a stage gives."""
    here = Path(__file__).parents[1]
    files = sorted(file for pattern in patterns for file in here.glob(pattern))
    return digest_json({file.relative_to(here).as_posix(): digest_file(file) for file in files})
