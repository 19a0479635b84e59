"""The checks of distributions -> the stages that read texts, each with its reference."""

from collections.abc import Callable, Mapping

from gate.configuring.suites import Suite
from gate.digest import digest_json
from gate.errors import ConfigError
from gate.planning.stages import PlannedStage, StageMaker, Weights
from gate.terms import Noun, ResolvedCheck, Text, Variant

_CODE = (
    "distributions/*.py",
    "distribution_records.py",
    "texts.py",
    "engines/interface.py",
    "adapters.py",
    "engines/hf_caches.py",
    "engines/hf_models.py",
    "engines/llama_models.py",
    "nf4.py",
    "tensors.py",
    "engines/tokenized.py",
)
"""Files of the gate, besides the backend, that decide what a read stage gives."""


class PlannedReading(Noun):
    """A candidate and its reference on one text, and the key of the stage that compares them."""

    variant: str
    reference: str
    text: str
    key: str


class ReadingMaker:
    """Makes the stages that read texts, whose variants' weights are planned."""

    def __init__(
        self,
        suite: Suite,
        maker: StageMaker,
        variants: Mapping[str, Variant],
        weights: Mapping[str, Weights],
    ) -> None:
        """Take what every reading is made from.

        Args:
            suite: gives the texts, and how they are compared.
            maker: makes stages that load a variant.
            variants: {name: variant}.
            weights: {name: what it serves}.
        """
        self._suite = suite
        self._maker = maker
        self._variants = variants
        self._weights = weights

    def read(self, one: ResolvedCheck, keep: Callable[[PlannedStage], str]) -> PlannedReading:
        """The stages of one check of distributions, and where its answer will be.

        At the reference's top tokens, what the reference expects is read first and stored; over
        the full vocabulary both are read side by side.

        Args:
            one: the check; its task is a text.
            keep: takes a stage into the plan, and gives its key.

        Raises:
            ConfigError: the full vocabulary is asked for of two that run in two interpreters.
        """
        text = next(text for text in self._suite.texts if text.name == one.task)
        variant, reference = self._variants[one.variant], self._variants[one.reference]
        before = self._reference(reference, text)
        if self._suite.distributions.vocabulary == "full":
            planned = self._side_by_side(variant, reference, text, before)
        else:
            needs = {"reference": keep(before)}
            planned = self._candidate(variant, reference, text, before, needs)
        return PlannedReading(
            variant=one.variant, reference=one.reference, text=one.task, key=keep(planned)
        )

    def read_again(
        self, name: str, text: Text, keep: Callable[[PlannedStage], str]
    ) -> PlannedReading:
        """A variant read against itself, in batches of another size: what its engine changes."""
        variant = self._variants[name]
        before = self._reference(variant, text)
        planned = self._candidate(
            variant, variant, text, before, {"reference": keep(before)}, is_repeat=True
        )
        return PlannedReading(variant=name, reference=name, text=text.name, key=keep(planned))

    def _reference(self, variant: Variant, text: Text) -> PlannedStage:
        settings = {"top": self._suite.distributions.top}
        return self._stage(variant, text, settings, label=f"read {variant.name} {text.name}")

    def _candidate(
        self,
        variant: Variant,
        reference: Variant,
        text: Text,
        before: PlannedStage,
        needs: dict[str, str],
        *,
        is_repeat: bool = False,
    ) -> PlannedStage:
        against = "again" if is_repeat else f"against {reference.name}"
        inputs = {"reference": before.stage.key}
        if is_repeat:
            inputs["repeat"] = "other batches"
        planned = self._stage(
            variant,
            text,
            self._suite.distributions.model_dump(mode="json"),
            label=f"read {variant.name} {against} {text.name}",
            inputs=inputs,
        )
        return planned.model_copy(update={"needs": planned.needs | needs, "is_repeat": is_repeat})

    def _side_by_side(
        self, variant: Variant, reference: Variant, text: Text, before: PlannedStage
    ) -> PlannedStage:
        needs = {f"reference_{role}": key for role, key in before.needs.items()}
        planned = self._candidate(variant, reference, text, before, needs)
        if planned.python != before.python:
            raise ConfigError(
                f"{variant.name} and {reference.name} run in different interpreters, and their "
                "distributions are compared over the full vocabulary",
                hint="set distributions: {vocabulary: top} in the suite",
            )
        return planned.model_copy(update={"reference": reference})

    def _stage(
        self,
        variant: Variant,
        text: Text,
        settings: Mapping[str, object],
        *,
        label: str,
        inputs: Mapping[str, str] | None = None,
    ) -> PlannedStage:
        digest = self._suite.text_digests[text.name]
        read = {"text": digest, "reading": digest_json(dict(settings)), **(inputs or {})}
        return self._maker.served(
            "read", variant, self._weights[variant.name], inputs=read, code=_CODE, label=label
        ).model_copy(update={"text": text})
