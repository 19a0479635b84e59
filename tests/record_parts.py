"""The still parts of a built Record: variants, tasks, artifacts, stages, provenance."""

import hashlib
from datetime import UTC, datetime, timedelta

from gate.records import Artifact, Fallback, Provenance, StageRecord, WeightReport
from gate.terms import Task, Use, Variant

MADE_AT = datetime(2026, 11, 22, 15, 4, tzinfo=UTC)
_HF = Use(name="hf", params={"dtype": "float32"})
_LLAMA = Use(name="llamacpp")
_STREAM = Use(name="stream")


def _gguf(type_: str) -> Use:
    return Use(name="gguf", params={"type": type_})


VARIANTS = (
    Variant(name="base", adapters=(), backend=_HF),
    Variant(name="adapter", adapters=("intents",), backend=_HF),
    Variant(name="merged", adapters=("intents",), merge=_STREAM, backend=_HF),
    Variant(
        name="merged-llamacpp",
        adapters=("intents",),
        merge=_STREAM,
        backend=_LLAMA,
        is_bridge=True,
    ),
    Variant(
        name="q8_0", adapters=("intents",), merge=_STREAM, quantize=_gguf("Q8_0"), backend=_LLAMA
    ),
    Variant(
        name="q4_k_m",
        adapters=("intents",),
        merge=_STREAM,
        quantize=_gguf("Q4_K_M"),
        backend=_LLAMA,
    ),
    Variant(
        name="w8a8",
        adapters=("intents",),
        merge=_STREAM,
        quantize=Use(name="llmcompressor", params={"scheme": "W8A8"}),
        backend=Use(name="vllm"),
    ),
)
TASKS = (
    Task(name="arc_easy", metric="acc_norm", limit=300),
    Task(name="desk_intent", metric="exact_match", path="tasks/desk_intent.yaml", chat=True),
    Task(name="desk_reply", metric="token_f1", path="tasks/desk_reply.yaml", chat=True),
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def build_artifacts(extra: str):
    sizes = {"merged": 269_060_552, "q8_0": 144_811_072, "q4_k_m": 105_454_144, "w8a8": 163_000_123}
    for variant in VARIANTS:
        if variant.name not in sizes:
            continue
        is_q4 = variant.name == "q4_k_m"
        yield Artifact(
            variant=variant.name,
            name=f"support-bot-v3-smollm2-135m-intents-{variant.name}",
            path=f"/work/.gate/store/{variant.name}",
            digest=sha(variant.name),
            size_bytes=sizes[variant.name] + 3_528_007,
            made_at=MADE_AT - timedelta(minutes=9),
            seconds=41.7 if is_q4 else 8.25,
            method=f"{variant.merge}, {variant.quantize}" if variant.quantize else "stream",
            report=WeightReport(
                parameters=134_515_008,
                weight_bytes=sizes[variant.name],
                fallbacks=tuple(
                    Fallback(tensor=f"blk.{layer}.attn_q.weight", asked="q4_K", got="q5_0")
                    for layer in range(30)
                )
                if is_q4
                else (),
                warnings=(f"30 tensors are 576 wide and fell back to q5_0{extra}",)
                if is_q4
                else (),
            ),
        )


def build_stages(extra: str):
    for number, variant in enumerate(VARIANTS):
        if variant.name == "merged":
            yield _stage("merge", "merge merged with stream", 8.25, is_cached=True)
        if variant.quantize is not None:
            yield _stage("quantize", f"quantize {variant.name} with {variant.quantize}", 41.7)
        for task in TASKS:
            has_failed = (variant.name, task.name) == ("w8a8", "desk_reply")
            yield _stage(
                "evaluate",
                f"evaluate {variant.name} on {task.name}",
                17.3 * (number + 1),
                is_cached=number < 2,
                error=f"killed: out of memory{extra}" if has_failed else None,
            )


def _stage(kind, label, seconds, *, is_cached=False, error=None) -> StageRecord:
    return StageRecord(
        key=sha(label),
        kind=kind,
        label=label,
        is_cached=is_cached,
        seconds=seconds,
        peak_memory_bytes=None if error else 1_620_000_000,
        packages={"torch": "2.13.0", "transformers": "5.23.0"},
        error=error,
    )


def build_provenance() -> Provenance:
    return Provenance(
        created_at=MADE_AT,
        python="3.11.13",
        platform="Linux-6.8.0-x86_64-with-glibc2.36",
        cpu="Intel(R) Xeon(R) Platinum 8481C",
        cpu_count=2,
        memory_bytes=25_200_000_000,
        gpus=(),
        packages={
            "lm-eval": "0.4.13",
            "peft": "0.21.2",
            "torch": "2.13.0",
            "transformers": "5.23.0",
        },
        git_commit="4f1c9d2e7a50b6c8814d09a1f2c3e4d5b6a79881",
        gate_version="0.1.0",
    )
