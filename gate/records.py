"""What a run found, and the record of it: everything that reports are rendered from."""

from datetime import datetime

from pydantic import Field

from gate.audit_records import ArtifactAudit
from gate.declared_serving import DeclaredServing
from gate.distribution_records import Distribution
from gate.evaluation_records import Corpus, Score
from gate.lineage_records import Duplicates, Lineage, Policy
from gate.released_records import Released
from gate.result_records import CheckResult, NoiseFloor, VariantVerdict, Verdict
from gate.serving_records import Serving
from gate.signoff_records import SignOff
from gate.terms import Candidate, Noun, Source, StageKind, Task, Variant

SCHEMA_VERSION = 1


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
    kept: dict[str, float] = Field(default={})
    base_precision: str | None = None
    divergences: dict[str, float] = Field(default={})

    @property
    def bits_per_weight(self) -> float:
        """Bits of storage per weight, over all tensors."""
        return 8 * self.weight_bytes / self.parameters


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
        threads: that it computed with beside others, which can change the last digit of a sum;
            None where its engine chose.
        error: why it failed.
        skipped: why it was not run, where nothing failed.
    """

    key: str
    kind: StageKind
    label: str
    is_cached: bool
    seconds: float
    peak_memory_bytes: int | None
    packages: dict[str, str]
    interpreter: str | None = None
    threads: int | None = None
    error: str | None = None
    skipped: str | None = None


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


class RunCommand(Noun):
    """How a run was started, so that it can be again.

    Attributes:
        config: gate.yaml, from the root of its git repository; from the root of the file system
            where it is in none.
        config_digest: the sha256 of that file, as it was read.
        suite: the suite's file, likewise.
        store: where finished stages were kept, likewise.
        allow_pickle: whether weights could be read that run code when they are read.
        trust_remote_code: whether models could run Python code of their own.
        budget_seconds: the time that its stages were given; None where they had all they took.
    """

    config: str
    config_digest: str
    suite: str
    store: str
    allow_pickle: bool = False
    trust_remote_code: bool = False
    budget_seconds: float | None = None


class Record(Noun):
    """A finished run: the product. Every report is rendered from this and nothing else.

    Signatures leave out the fields that are at their default: once published, a default never
    changes, and a field that has none never gets one without another schema version.
    """

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
    distributions: tuple[Distribution, ...] = ()
    lineages: tuple[Lineage, ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    policy: Policy | None = None
    serving: tuple[Serving, ...] = ()
    results: tuple[CheckResult, ...]
    verdicts: tuple[VariantVerdict, ...]
    verdict: Verdict
    stages: tuple[StageRecord, ...]
    provenance: Provenance
    run: RunCommand | None = None
    warnings: tuple[str, ...] = ()
    signoff: tuple[SignOff, ...] = ()
    declared_serving: DeclaredServing | None = None
    released: Released | None = None
    first_release: str | None = None
