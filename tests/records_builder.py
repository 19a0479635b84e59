"""A realistic Record: seven variants, three tasks, a few hundred documents, every outcome."""

import json
import random
from collections.abc import Sequence

from record_parts import TASKS, VARIANTS, build_artifacts, build_provenance, build_stages, sha

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.records import Record
from gate.result_records import CheckResult, Estimate, Flips, VariantVerdict
from gate.terms import Adapter, Candidate, Check, Source, Task, Use, Variant

HOSTILE = "<script>alert(1)</script>\" onload='alert(2)' | `x` @everyone \x1b[31m\x00"
"""Markup, an attribute's end, a table's pipe, a mention, a terminal escape and a NUL."""

INTENTS = ("refund", "cancel order", "late parcel", "change address", "speak to a person")
Z_95 = 1.6449
FLIP_SHARES = {"merged": 0.004, "merged-llamacpp": 0.003, "q8_0": 0.005, "w8a8": 0.03}
LOSSY = "q4_k_m"


def build_record(
    *, documents: int = 300, hostile: bool = False, passing: bool = False, seed: int = 7
) -> Record:
    """A finished run; `passing` drops what blocks.

    `hostile` puts HOSTILE in every free text, and in the names of a variant and of a task.
    """
    extra = HOSTILE if hostile else ""
    corpora = tuple(_corpus(task, documents, extra, seed) for task in TASKS)
    scores = tuple(
        _score(variant, task, corpus, extra, seed)
        for variant in VARIANTS
        for task, corpus in zip(TASKS, corpora, strict=True)
        if (variant.name, task.name) != ("w8a8", "desk_reply")
    )
    results = tuple(_results(scores, passing=passing))
    ship = ("q8_0",) if passing else ("q8_0", "q4_k_m", "w8a8")
    verdicts = tuple(build_verdict(name, results) for name in ship)
    record = Record(
        release=f"support-bot-v3{extra}",
        candidate=Candidate(
            base="HuggingFaceTB/SmolLM2-135M-Instruct@7e27bd9",
            adapters=(Adapter(name="intents", source="runs/0212/checkpoint-400"),),
            training_run=f"mlflow:/runs/4f1c{extra}",
        ),
        suite="core",
        suite_digest=sha("suite"),
        base=Source(
            given="HuggingFaceTB/SmolLM2-135M-Instruct@7e27bd9",
            path="/models/smollm2",
            digest=sha("base"),
            commit="7e27bd9f95328f0f3b08261d1252705110c806f8",
        ),
        adapters={
            "intents": Source(
                given=f"runs/0212/checkpoint-400{extra}",
                path="/work/runs/0212/checkpoint-400",
                digest=sha("adapter"),
                manifest={"adapter_config.json": sha("c"), "adapter_model.safetensors": sha("w")},
            )
        },
        variants=VARIANTS,
        ship=ship,
        tasks=TASKS,
        corpora=corpora,
        scores=scores,
        artifacts=tuple(build_artifacts(extra)),
        results=results,
        verdicts=verdicts,
        verdict=worst(verdicts),
        stages=tuple(build_stages(extra)),
        provenance=build_provenance(),
        warnings=(f"suite core: desk_reply has no clusters{extra}",),
    )
    return _with_hostile_names(record) if hostile else record


def _with_hostile_names(record: Record) -> Record:
    text = record.model_dump_json()
    for name in ("w8a8", "desk_reply"):
        text = text.replace(json.dumps(name), json.dumps(name + HOSTILE))
    return Record.model_validate_json(text)


def _corpus(task: Task, count: int, extra: str, seed: int) -> Corpus:
    rng = random.Random(f"{seed}{task.name}")
    made = []
    for number in range(count):
        intent = rng.choice(INTENTS)
        order = rng.randrange(10_000, 99_999)
        prompt = f"Customer: order {order}, I want to {intent}, please.{extra}\nIntent:"
        choices = INTENTS if task.name == "arc_easy" else ()
        document = Document(
            id=number, hash=sha(prompt), prompt=prompt, target=intent, choices=choices
        )
        made.append(document)
    return Corpus(task=task.name, documents=tuple(made))


def _score(variant: Variant, task: Task, corpus: Corpus, extra: str, seed: int) -> Score:
    return Score(
        variant=variant.name,
        task=task.name,
        metric=task.metric,
        higher_is_better=True,
        is_binary=task.metric != "token_f1",
        samples=tuple(_sample(variant, task, d, extra, seed) for d in corpus.documents),
    )


def _sample(variant: Variant, task: Task, document: Document, extra: str, seed: int) -> Sample:
    """Right where the adapter is right, but for the share of documents this variant flips."""
    shared = random.Random(f"{seed}{task.name}{document.id}")
    own = random.Random(f"{seed}{task.name}{document.id}{variant.name}")
    skill = 0.55 if variant.name == "base" else 0.86
    is_right = shared.random() < skill
    if own.random() < FLIP_SHARES.get(variant.name, 0.0):
        is_right = not is_right
    if variant.name == LOSSY and own.random() < 0.1:
        is_right = own.random() < 0.3
    wrong = INTENTS[(INTENTS.index(document.target) + 1 + shared.randrange(3)) % len(INTENTS)]
    answer = document.target if is_right else wrong
    value = float(is_right)
    if task.metric == "token_f1":
        value = round(0.7 + 0.3 * is_right - 0.2 * shared.random() - 0.02 * own.random(), 4)
        answer = f"I am sorry to hear that. About your request to {answer}: done.{extra}"
    elif task.metric == "exact_match":
        answer += extra
    return Sample(
        id=document.id,
        hash=document.hash,
        value=value,
        answer=answer,
        request_hash=sha(document.prompt),
        loglikelihoods=tuple(
            round((-1.2 if choice == answer else -4.0) - own.random(), 4)
            for choice in document.choices
        ),
    )


def _check(of: str, against: str, name: str, **bound) -> Check:
    return Check(of=of, against=against, compare=Use(name=name), **bound)


def _results(scores: Sequence[Score], *, passing: bool):
    checks = (
        (_check("adapter", "base", "delta", at_least=0.0), "adapter", "base"),
        (
            _check("merged", "adapter", "delta", at_least=-0.02, at_most=0.02),
            "merged",
            "adapter",
        ),
        (_check("bridge", "merged", "delta", at_least=-0.02), "merged-llamacpp", "merged"),
        (_check("quantized", "bridge", "delta", at_least=-0.025), "q8_0", "merged-llamacpp"),
        (_check("quantized", "bridge", "delta", at_least=-0.025), "q4_k_m", "merged-llamacpp"),
        (_check("quantized", "bridge", "delta", at_least=-0.025), "w8a8", "merged"),
        (
            _check("quantized", "bridge", "flips", at_most=0.08, level="warn"),
            "q4_k_m",
            "merged-llamacpp",
        ),
    )
    index = {(score.variant, score.task): score for score in scores}
    for check, variant, reference in checks:
        for task in TASKS:
            if check.compare.name == "flips" and task.metric == "token_f1":
                continue
            if passing and variant in ("q4_k_m", "w8a8"):
                continue
            before, after = index.get((reference, task.name)), index.get((variant, task.name))
            outcome, reason, estimate = _judge(check, before, after)
            yield CheckResult(
                check=check,
                variant=variant,
                reference=reference,
                task=task.name,
                outcome=outcome,
                reason=reason,
                estimate=estimate,
            )


def _judge(check: Check, before: Score | None, after: Score | None):
    if before is None or after is None:
        return "error", "there is no score: its engine stopped (out of memory)", None
    estimate = _estimate(check.compare.name, before, after)
    lower, upper = check.at_least, check.at_most
    if (lower is None or estimate.low >= lower) and (upper is None or estimate.high <= upper):
        outcome, reason = "pass", "the whole interval is within the bound"
    elif (lower is not None and estimate.high < lower) or (
        upper is not None and estimate.low > upper
    ):
        outcome, reason = "fail", "the whole interval is beyond the bound"
    else:
        outcome, reason = "inconclusive", "the interval reaches across the bound"
    return outcome, f"{reason} ({check.bound_text})", estimate


def _estimate(name: str, before: Score, after: Score) -> Estimate:
    """The mean paired difference with a normal interval: near enough for a report to show."""
    pairs = list(zip(before.samples, after.samples, strict=True))
    differences = [late.value - early.value for early, late in pairs]
    if name == "flips":
        differences = [abs(d) for d in differences]
    n = len(differences)
    mean = sum(differences) / n
    spread = (sum((d - mean) ** 2 for d in differences) / n + 1 / n**2) ** 0.5
    gains, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    is_counted = before.is_binary and name == "delta"
    return Estimate(
        value=mean,
        low=mean - Z_95 * spread / n**0.5,
        high=mean + Z_95 * spread / n**0.5,
        n=n,
        unit="share difference" if before.is_binary else "mean difference",
        method="Tango score" if before.is_binary else "paired t",
        flips=Flips(gains=gains, losses=losses, mid_p=0.031) if is_counted else None,
    )


def build_verdict(variant: str, results: Sequence[CheckResult]) -> VariantVerdict:
    lineage = (variant, "adapter", "merged", "merged-llamacpp")
    blocking = [r for r in results if r.variant in lineage and r.check.level == "block"]
    outcomes = {r.outcome for r in blocking}
    for outcome, verdict in (("fail", "block"), ("error", "error"), ("inconclusive",) * 2):
        if outcome in outcomes:
            said = tuple(
                f"{r.variant} against {r.reference} on {r.task}: {r.check.compare} {r.reason}"
                for r in blocking
                if r.outcome == outcome
            )
            return VariantVerdict(variant=variant, verdict=verdict, reasons=said)
    reason = f"all {len(blocking)} blocking checks of its lineage passed"
    return VariantVerdict(variant=variant, verdict="promote", reasons=(reason,))


def worst(verdicts: Sequence[VariantVerdict]):
    order = ("block", "error", "inconclusive", "promote")
    return min((verdict.verdict for verdict in verdicts), key=order.index)
