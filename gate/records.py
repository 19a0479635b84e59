"""The nouns: everything the gate reads from or writes to disk, frozen and strict."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from gate.digest import digest_json

__all__ = ["JsonValue"]

SCHEMA_VERSION = 1

Kind = Literal["base", "adapter", "merged", "bridge", "quantized"]
StageKind = Literal["merge", "quantize", "evaluate"]
Level = Literal["block", "warn"]
Outcome = Literal["pass", "fail", "inconclusive", "error"]
Verdict = Literal["promote", "block", "inconclusive", "error"]


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
        limit: take this many documents, chosen once by `seed`; None for all of them.
        seed: the seed that chooses the documents of a limit and the few-shot examples.
        chat: render each prompt with the tokenizer's chat template.
    """

    name: str
    metric: str
    filter: str = "none"
    path: str | None = None
    num_fewshot: int | None = None
    limit: int | None = None
    seed: int = 1234
    chat: bool = False


class Check(Noun):
    """A bound on a comparison of two variants, for every task or for those named.

    Attributes:
        of: the variant, or the kind of variant, that is judged.
        against: the variant, or the kind, it is compared with.
        compare: the comparison, by its file's name in gate/comparisons.
        at_least: lower bound in the comparison's unit; a margin m is at_least -m.
        at_most: upper bound in the comparison's unit.
        tasks: names of tasks; None for all of the suite's.
        confidence: one-sided confidence of each bound, in (0.5, 1).
        level: whether a check that does not pass blocks the release or only warns.
    """

    of: str
    against: str
    compare: Use
    at_least: float | None = None
    at_most: float | None = None
    tasks: tuple[str, ...] | None = None
    confidence: float = 0.95
    level: Level = "block"

    @property
    def bound_text(self) -> str:
        """The bound in words, unrounded: 'at least -0.02 and at most 0.02'."""
        lower = None if self.at_least is None else f"at least {self.at_least!r}"
        upper = None if self.at_most is None else f"at most {self.at_most!r}"
        return " and ".join(bound for bound in (lower, upper) if bound)


class ResolvedCheck(Noun):
    """A check of one variant against one other on one task: what a Check comes down to."""

    check: Check
    variant: str
    reference: str
    task: str

    @property
    def label(self) -> str:
        """The name people and CI know it by: q4_k_m-vs-merged[desk_intent]:delta."""
        return f"{self.variant}-vs-{self.reference}[{self.task}]:{self.check.compare}"


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
        kind: merge, quantize or evaluate.
        use: the extension that does it (for evaluate: the backend).
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


class Fallback(Noun):
    """A tensor that a quantizer stored in another type than was asked for."""

    tensor: str
    asked: str
    got: str


class WeightReport(Noun):
    """What a merger or quantizer wrote: how many weights, in how many bytes, and what to know.

    Attributes:
        parameters: number of weights in the checkpoint.
        weight_bytes: bytes those weights take (nominal for a simulated quantization).
        fallbacks: tensors stored in another type than was asked for.
        warnings: sentences for the report.
    """

    parameters: int
    weight_bytes: int
    fallbacks: tuple[Fallback, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        """Bits of storage per weight, over all tensors."""
        return 8 * self.weight_bytes / self.parameters


class Document(Noun):
    """One document of a task, as every variant was asked it.

    Attributes:
        id: its position in the task.
        hash: lm-eval's sha256 of the document.
        prompt: the text the model continues, chat template included.
        target: the right answer, as text.
        choices: the answers offered; empty for a generation task.
    """

    id: int
    hash: str
    prompt: str
    target: str
    choices: tuple[str, ...] = ()


class Sample(Noun):
    """What one variant made of one document.

    Attributes:
        id: the document's position in the task.
        hash: the document's hash.
        value: the metric, larger or smaller being better as the evaluation says.
        answer: the choice taken, or the text generated.
        request_hash: sha256 of every token id the model was given for this document.
        loglikelihoods: summed log-probability of each choice, in nats; empty for generation.
    """

    id: int
    hash: str
    value: float
    answer: str
    request_hash: str
    loglikelihoods: tuple[float, ...] = ()


class Evaluation(Noun):
    """What an evaluate stage gives: one sample per document of a task, sorted by document id."""

    task: str
    metric: str
    higher_is_better: bool
    is_binary: bool
    documents: tuple[Document, ...]
    samples: tuple[Sample, ...]


class Score(Noun):
    """How one variant did on one task: one sample per document, sorted by document id."""

    variant: str
    task: str
    metric: str
    higher_is_better: bool
    is_binary: bool
    samples: tuple[Sample, ...]

    @property
    def mean(self) -> float:
        """The mean of the metric over the documents; 0.0 where there are none."""
        if not self.samples:
            return 0.0
        return sum(sample.value for sample in self.samples) / len(self.samples)


class Corpus(Noun):
    """The documents of one task, the same for every variant."""

    task: str
    documents: tuple[Document, ...]


class Flips(Noun):
    """How many documents changed between two arms of a binary metric.

    Attributes:
        gains: documents the reference got wrong and the candidate right.
        losses: documents the reference got right and the candidate wrong.
        mid_p: mid-p McNemar p-value of 'gains and losses are equally likely'.
    """

    gains: int
    losses: int
    mid_p: float


DIFFERENCE_OF_SHARES = "share difference"
"""The unit of a change in a share of documents: 0.02 is told as 2 points."""


class Estimate(Noun):
    """A comparison's result with its interval.

    Attributes:
        value: the point estimate, larger being better for the candidate unless `unit` says else.
        low: one-sided lower confidence bound at the check's confidence.
        high: one-sided upper confidence bound at the check's confidence.
        n: number of paired documents.
        unit: what the numbers are, such as 'share of documents'.
        method: the interval's method, by its name in the literature.
        flips: documents changed, for a binary metric.
    """

    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str
    flips: Flips | None = None


class CheckResult(Noun):
    """What a check found for one variant and task, with the reason in one sentence."""

    check: Check
    variant: str
    reference: str
    task: str
    outcome: Outcome
    reason: str
    estimate: Estimate | None = None


class VariantVerdict(Noun):
    """May this variant ship: the verdict over the checks of its whole lineage, and why."""

    variant: str
    verdict: Verdict
    reasons: tuple[str, ...]


class Artifact(Noun):
    """A checkpoint the run made: its release name, where it lies, and which bytes it is.

    Attributes:
        variant: the variant it serves.
        name: traceable name, from release, base, adapter and quantization.
        path: the directory that holds it.
        digest: content id of its tree of files.
        size_bytes: bytes on disk, all files.
        made_at: when the stage that made it finished, in UTC.
        seconds: how long the stage that made it took.
        method: the merger and quantizer, as written.
        report: what the merger or quantizer says of the weights.
    """

    variant: str
    name: str
    path: str
    digest: str
    size_bytes: int
    made_at: datetime
    seconds: float
    method: str
    report: WeightReport


class StageRecord(Noun):
    """A stage of the run: its key, whether it ran or was taken from the store, at what cost."""

    key: str
    kind: StageKind
    label: str
    is_cached: bool
    seconds: float
    peak_memory_bytes: int | None
    packages: dict[str, str]
    error: str | None = None


class Provenance(Noun):
    """What the run stood on: machine, interpreter, packages, code and moment."""

    created_at: datetime
    python: str
    platform: str
    cpu: str
    cpu_count: int
    memory_bytes: int
    gpus: tuple[str, ...]
    packages: dict[str, str]
    git_commit: str | None
    gate_version: str


class Record(Noun):
    """A finished run: the product. Every report is rendered from this and nothing else."""

    schema_version: int = SCHEMA_VERSION
    release: str
    candidate: Candidate
    suite: str
    suite_digest: str
    base: Source
    adapters: dict[str, Source]
    variants: tuple[Variant, ...]
    ship: tuple[str, ...]
    tasks: tuple[Task, ...]
    corpora: tuple[Corpus, ...]
    scores: tuple[Score, ...]
    artifacts: tuple[Artifact, ...]
    results: tuple[CheckResult, ...]
    verdicts: tuple[VariantVerdict, ...]
    verdict: Verdict
    stages: tuple[StageRecord, ...]
    provenance: Provenance
    warnings: tuple[str, ...] = ()


EXIT_STATUS: dict[Verdict, int] = {"promote": 0, "block": 1, "error": 3, "inconclusive": 4}
"""The exit status of a run, by its verdict; 2 is kept for wrong config and usage."""


class LocalAdapter(Noun):
    """An adapter on this machine, as mergers and backends receive it."""

    name: str
    path: Path
    weight: float = 1.0
