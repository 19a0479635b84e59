"""What a run found, and the record of it: everything that reports are rendered from."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from gate.audit_records import ArtifactAudit
from gate.serving_records import Serving
from gate.terms import Candidate, Check, Noun, Source, StageKind, Task, Variant

SCHEMA_VERSION = 1

Outcome = Literal["pass", "fail", "inconclusive", "error"]
Verdict = Literal["promote", "block", "inconclusive", "error"]


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
        merger: the merger that did it, where that is not the one that was asked for.
        kept: {tensor: share of the adapters' change that survived rounding} of a merge.
        base_precision: what a QLoRA adapter was added to, where the merger chose it.
        divergences: {base precision: mean KL from the adapter on its 4-bit base, in nats a token},
            where the merger compared them.
    """

    parameters: int
    weight_bytes: int
    fallbacks: tuple[Fallback, ...] = ()
    warnings: tuple[str, ...] = ()
    merger: str | None = None
    kept: dict[str, float] = Field(default_factory=dict)
    base_precision: str | None = None
    divergences: dict[str, float] = Field(default_factory=dict)

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


class NoiseFloor(Noun):
    """What two evaluations of one variant differ by: batches of another size, another order.

    Attributes:
        engine: the backend's name.
        variant: whose evaluation was repeated.
        task: the task.
        delta: the change of the metric from the first to the second, with its flips.
        largest_change: of a choice's log-likelihood, in nats; None for a generation task.
        kl: mean divergence of the second from the first, over the choices' probabilities, in nats
            a document; None where there are no choices.
    """

    engine: str
    variant: str
    task: str
    delta: Estimate
    largest_change: float | None
    kl: float | None


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
    """A stage of the run: its key, whether it ran or was taken from the store, at what cost.

    Attributes:
        packages: versions of what it names, in the interpreter that ran it.
        interpreter: version and path of that interpreter; None where it did not run.
    """

    key: str
    kind: StageKind
    label: str
    is_cached: bool
    seconds: float
    peak_memory_bytes: int | None
    packages: dict[str, str]
    interpreter: str | None = None
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
    audits: tuple[ArtifactAudit, ...] = ()
    noise: tuple[NoiseFloor, ...] = ()
    serving: tuple[Serving, ...] = ()
    results: tuple[CheckResult, ...]
    verdicts: tuple[VariantVerdict, ...]
    verdict: Verdict
    stages: tuple[StageRecord, ...]
    provenance: Provenance
    warnings: tuple[str, ...] = ()


EXIT_STATUS: dict[Verdict, int] = {"promote": 0, "block": 1, "error": 3, "inconclusive": 4}
"""The exit status of a run, by its verdict; 2 is kept for wrong config and usage."""
