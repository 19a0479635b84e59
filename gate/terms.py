"""What a gate is asked, in its own terms: candidate, variants, tasks, checks, sources, stages."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from gate.digest import digest_json

__all__ = ["JsonValue"]

Kind = Literal["base", "adapter", "merged", "bridge", "quantized"]
StageKind = Literal["merge", "convert", "quantize", "audit", "read", "evaluate", "speed"]
"""In the order of a plan."""
Level = Literal["block", "warn"]


class Noun(BaseModel):
    """A frozen record: unknown keys are refused, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Use(Noun):
    """An extension by its name in gate.yaml, with the keyword arguments written beside it."""

    name: str
    params: dict[str, JsonValue] = {}

    def __str__(self) -> str:
        """The name with its parameters, as people write it: gguf(type=Q8_0)."""
        inside = ", ".join(f"{key}={value}" for key, value in self.params.items())
        return f"{self.name}({inside})" if inside else self.name


def read_use(value: Any) -> Use:
    """An extension as written: a name, or a mapping with a name and its parameters.

    Raises:
        ValueError: neither of the two.
    """
    if isinstance(value, Use):
        return value
    if isinstance(value, str):
        return Use(name=value)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        params: dict[str, JsonValue] = {key: value[key] for key in value if key != "name"}
        return Use(name=value["name"], params=params)
    raise ValueError("expected a name, or a mapping with 'name' and parameters")


class Adapter(Noun):
    """A LoRA adapter of the candidate: its name in gate.yaml and where it is."""

    name: str
    source: str
    weight: float = 1.0


class Candidate(Noun):
    """What is up for release: a base model, the adapters trained on it, and by which run."""

    base: str
    adapters: tuple[Adapter, ...]
    training_run: str | None = None


class Variant(Noun):
    """One way to serve the candidate: which adapters, merged or not, quantized how, run by what.

    A bridge is the merged weights unquantized in a quantized variant's runtime: it separates
    what the runtime costs from what quantization costs.
    """

    name: str
    adapters: tuple[str, ...]
    backend: Use
    merge: Use | None = None
    quantize: Use | None = None
    is_bridge: bool = False

    @property
    def kind(self) -> Kind:
        """Which step of the line from base to release the variant stands on."""
        if self.is_bridge:
            return "bridge"
        if self.quantize is not None:
            return "quantized"
        if self.merge is not None:
            return "merged"
        return "adapter" if self.adapters else "base"


class Task(Noun):
    """One lm-eval task and the metric that stands for it.

    Attributes:
        name: the task's name in lm-eval.
        metric: the per-document metric to compare, such as acc or exact_match.
        filter: the lm-eval filter the metric is read after.
        path: the task's YAML file; None for a task that lm-eval ships.
        num_fewshot: examples before each document; None for the task's own number.
        limit: take the first so many documents of the order drawn by `seed`; None for all of them.
        seed: the seed that chooses the documents of a limit and the few-shot examples.
        chat: render each prompt with the tokenizer's chat template.
        reference: adapter:NAME for the adapter that the task is for, where several are merged: it
            alone on the base is what `adapter` means in this task's checks.
        cluster: the field of a document that names what it shares with others (a passage, a
            conversation); None where documents are independent.
        slice: the field of a document that names its part of the task (a language, a topic).
    """

    name: str
    metric: str
    filter: str = "none"
    path: str | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    seed: int = 1234
    chat: bool = False
    reference: str | None = None
    cluster: str | None = None
    slice: str | None = None

    @property
    def adapter(self) -> str | None:
        """The name of the adapter that the task is for; None for all of the candidate's."""
        return None if self.reference is None else self.reference.partition(":")[2]


class Text(Noun):
    """Texts that are read token by token, one to a line of a JSON-lines file: text or messages.

    Of messages, which are rendered with the chat template, the assistant's words are read.
    """

    name: str
    path: str


class Reading(Noun):
    """How the distributions over texts are compared.

    Attributes:
        top: the reference's most probable tokens whose probabilities are kept at each place.
        vocabulary: compare at those tokens and what is left over, or over the full vocabulary,
            for which reference and candidate are loaded together.
        worst: places shown, of those where the two differ most.
    """

    top: int = 128
    vocabulary: Literal["top", "full"] = "top"
    worst: int = 20


class Sequential(Noun):
    """Looks at the documents so far, in one seeded order, until each check is decided.

    Attributes:
        first: documents at the first look.
        growth: how many times as many at the next; the last look is at all of them.
    """

    first: int = 50
    growth: float = 2.0


class Calibration(Noun):
    """Inputs that quantizers are shown, one to a line of a JSON-lines file: texts or messages."""

    path: str


class Speed(Noun):
    """How it is measured what a variant costs to serve; the same prompts for every variant.

    Attributes:
        repeats: times each variant is loaded and measured, interleaved with the others.
        batch_size: prompts at once, besides one alone.
        prompt_tokens: tokens of each prompt.
        new_tokens: tokens written after it.
    """

    repeats: int = 3
    batch_size: int = 8
    prompt_tokens: int = 128
    new_tokens: int = 32


class Check(Noun):
    """A bound on a comparison of two variants, for every task or for those named.

    Attributes:
        of: the variant, or the kind of variant, that is judged.
        against: the variant, or the kind, it is compared with.
        compare: the comparison, by its file's name in gate/comparisons.
        at_least: lower bound in the comparison's unit; a margin m is at_least -m.
        at_most: upper bound in the comparison's unit.
        tasks: names of tasks, or of texts for a comparison of distributions; None for all of them.
        slice: judge only the documents of this slice.
        confidence: one-sided confidence of each bound, in (0.5, 1).
        level: whether a check that does not pass blocks the release or only warns.
    """

    of: str
    against: str
    compare: Use
    at_least: float | None = None
    at_most: float | None = None
    tasks: tuple[str, ...] | None = None
    slice: str | None = None
    confidence: float = 0.95
    level: Level = "block"

    @property
    def bound_text(self) -> str:
        """The bound in words, unrounded: 'at least -0.02 and at most 0.02'."""
        lower = None if self.at_least is None else f"at least {self.at_least!r}"
        upper = None if self.at_most is None else f"at most {self.at_most!r}"
        return " and ".join(bound for bound in (lower, upper) if bound)


class ResolvedCheck(Noun):
    """A check of one variant against one other on one task: what a Check comes down to.

    `task` is a text's name where distributions are compared, and empty where what is compared is
    no task's: speed and size.
    """

    check: Check
    variant: str
    reference: str
    task: str

    @property
    def label(self) -> str:
        """The name people and CI know it by: q4_k_m-vs-merged[desk_intent]:delta."""
        part = f"/{self.check.slice}" if self.check.slice else ""
        task = f"[{self.task}{part}]" if self.task else ""
        return f"{self.variant}-vs-{self.reference}{task}:{self.check.compare}"


class Source(Noun):
    """Where a base model or adapter came from, and which bytes it was.

    Attributes:
        given: the path or hub id as written in gate.yaml.
        path: the local directory that was read.
        digest: content id: the sha256 of the manifest, or of the hub id and commit.
        commit: the hub commit, where there is one.
        manifest: {file: sha256} for a local directory; empty for a hub snapshot.
    """

    given: str
    path: str
    digest: str
    commit: str | None = None
    manifest: dict[str, str] = {}


class Stage(Noun):
    """One expensive step, named by everything that can change what it gives.

    Attributes:
        kind: merge, convert, quantize, audit, read, evaluate or speed.
        use: the extension that does it (for evaluate, read and speed the backend, for audit what
            it looks at).
        inputs: {role: content id}; a stage's output goes by that stage's key.
        code: the sha256 of the extension's source.
        packages: {distribution: version} of what the extension names in PACKAGES.
        task: the task to evaluate, else None.
    """

    kind: StageKind
    use: Use
    inputs: dict[str, str]
    code: str
    packages: dict[str, str]
    task: Task | None = None

    @property
    def key(self) -> str:
        """The sha256 of the canonical JSON of every field: the stage's name in the store."""
        return digest_json(self.model_dump(mode="json"))


class LocalAdapter(Noun):
    """An adapter on this machine, as mergers and backends receive it."""

    name: str
    path: Path
    weight: float = 1.0
