"""Parts of a Record beside scores and checks: slices, looks, lineages, distributions, policy."""

import random
from collections.abc import Sequence

from records_builder import build_record, build_verdict, worst

from gate.comparisons import delta
from gate.distribution_records import (
    Distribution,
    DocumentDivergence,
    Guess,
    Shortfall,
    WorstToken,
)
from gate.evaluation_records import Score
from gate.judging.bounds import bounds_of
from gate.lineage_records import Duplicates, Lineage, LineageStep, Policy, PolicyChange
from gate.records import Record
from gate.result_records import CheckResult, Correction, Look, SliceResult
from gate.stats.sequential import Looks
from gate.terms import Check

SLICES = ("english", "spanish", "tables")
LOOKS = (50, 100, 200, 300)


def build_evidence(**settings) -> Record:
    """A finished run with every part that a record can have but audits, noise and speeds."""
    record = build_record(**settings)
    scores = {(one.variant, one.task): one for one in record.scores}
    results = list(record.results)
    for number, result in enumerate(results):
        reference, candidate = (
            scores.get((name, result.task)) for name in (result.reference, result.variant)
        )
        if reference and candidate and result.check.compare.name == "delta":
            results[number] = _with_evidence(result, reference, candidate)
    verdicts = tuple(build_verdict(name, results) for name in record.ship)
    return record.model_copy(
        update={
            "results": tuple(results),
            "verdicts": verdicts,
            "verdict": worst(verdicts),
            "tasks": tuple(
                task.model_copy(update={"limit": 900, "slice": "language", "cluster": "passage"})
                for task in record.tasks
            ),
            "scores": tuple(one.model_copy(update={"available": 1000}) for one in record.scores),
            "lineages": tuple(_lineages(record, scores)),
            "distributions": (
                build_distribution("q8_0", kl=0.0008),
                build_distribution("q4_k_m", kl=0.03, top=None),
            ),
            "duplicates": (Duplicates(task="desk_intent", groups=((4, 17, 20), (8, 9))),),
            "policy": build_policy(record),
        }
    )


def _with_evidence(result: CheckResult, reference: Score, candidate: Score) -> CheckResult:
    changed = result.model_copy(
        update={"estimate": delta.compare(reference, candidate, confidence=0.95)}
    )
    if result.outcome == "pass":
        changed = changed.model_copy(update={"tolerance": 2})
    if result.outcome == "inconclusive":
        changed = changed.model_copy(update={"needed": 1400})
    if result.outcome == "fail":
        strict = delta.compare(reference, candidate, confidence=0.9975)
        holm = Correction(hypotheses=20, confidence=0.9975, estimate=strict, is_confirmed=True)
        changed = changed.model_copy(update={"correction": holm})
    if result.task == "desk_intent" and result.variant in ("q8_0", "q4_k_m"):
        changed = changed.model_copy(update={"slices": tuple(_slices(reference, candidate))})
    if result.task == "arc_easy" and result.variant in ("q8_0", "q4_k_m"):
        changed = changed.model_copy(update=_looks(result.check, reference, candidate))
    return changed


def _part(score: Score, numbers: Sequence[int]) -> Score:
    return score.model_copy(update={"samples": tuple(score.samples[n] for n in numbers)})


def _slices(reference: Score, candidate: Score):
    """Three slices of a hundred documents, all losses in the last one."""
    pairs = zip(reference.samples, candidate.samples, strict=True)
    changes = [after.value - before.value for before, after in pairs]
    ranked = sorted(range(len(changes)), key=lambda number: -changes[number])
    size = len(ranked) // len(SLICES)
    for place, name in enumerate(SLICES):
        part = ranked[place * size : (place + 1) * size]
        before, after = _part(reference, part), _part(candidate, part)
        found = delta.compare(before, after, confidence=1 - 0.05 / len(SLICES))
        yield SliceResult(slice=name, estimate=found, has_collapsed=found.high < -0.025)


def _looks(check: Check, reference: Score, candidate: Score) -> dict:
    """The looks up to the first at which the check passes or fails, and what it found there."""
    looks, outcome = [], "inconclusive"
    for at, size in enumerate(LOOKS):
        before, after = _part(reference, range(size)), _part(candidate, range(size))
        found = delta.compare(before, after, confidence=0.95, looks=Looks(LOOKS, at))
        looks.append(Look(documents=size, estimate=found))
        (bound,) = bounds_of(check, found)
        outcome = "pass" if bound.is_kept else "fail" if bound.is_broken else "inconclusive"
        if outcome != "inconclusive":
            break
    return {
        "looks": tuple(looks),
        "estimate": looks[-1].estimate,
        "outcome": outcome,
        "tolerance": None,
        "correction": None,
    }


def _lineages(record: Record, scores: dict):
    lines = {
        "merged": ("base", "adapter", "merged"),
        "q8_0": ("base", "adapter", "merged", "merged-llamacpp", "q8_0"),
        "q4_k_m": ("base", "adapter", "merged", "merged-llamacpp", "q4_k_m"),
    }
    causes = ("training", "merge", "runtime", "quantization")
    for task in record.tasks:
        for variant, line in lines.items():
            yield build_lineage([scores[name, task.name] for name in line], causes, variant=variant)


def build_lineage(scores: list[Score], causes: tuple[str, ...], *, variant: str) -> Lineage:
    steps = zip(causes, scores, scores[1:], strict=False)
    return Lineage(
        variant=variant,
        task=scores[0].task,
        steps=tuple(
            LineageStep(
                cause=cause,
                reference=before.variant,
                variant=after.variant,
                change=delta.compare(before, after, confidence=0.95),
            )
            for cause, before, after in steps
        ),
        total=delta.compare(scores[0], scores[-1], confidence=0.95),
        documents=len(scores[0].samples),
    )


def build_distribution(
    variant: str, *, kl: float, top: int | None = 128, documents: int = 40, extra: str = ""
) -> Distribution:
    rng = random.Random(variant)
    return Distribution(
        variant=variant,
        reference="merged-llamacpp",
        text=f"desk{extra}",
        tokens_hash="0" * 64,
        documents=tuple(_divergence(number, kl, rng) for number in range(documents)),
        kl_percentiles={"0": 0.0, "50": kl / 3, "95": 4 * kl, "99.9": 40 * kl, "100": 90 * kl},
        delta_p_percentiles={"0": -0.4, "50": 0.0, "95": 0.02, "99.9": 0.2, "100": 0.31},
        delta_p_rms=0.0345,
        top=top,
        shortfall=Shortfall(tokens=256, bound=0.96 * kl, full=kl) if top else None,
        worst=(
            WorstToken(
                document=12,
                position=45,
                kl=90 * kl,
                context=f"Customer: my parcel 4711 is late.{extra}\nAgent: I am sorry, it will be",
                token=" refunded",
                reference=(
                    Guess(token=" refunded", probability=0.71),
                    Guess(token=" with", probability=0.11),
                    Guess(token="\n", probability=0.02),
                ),
                candidate=(
                    Guess(token=" refunded", probability=0.08),
                    Guess(token=" with", probability=0.64),
                    Guess(token="\n", probability=0.05),
                ),
            ),
        ),
    )


def _divergence(number: int, kl: float, rng: random.Random) -> DocumentDivergence:
    tokens = rng.randrange(80, 160)
    surprise = tokens * rng.uniform(1.4, 1.6)
    return DocumentDivergence(
        id=number,
        tokens=tokens,
        kl=tokens * kl * rng.uniform(0.6, 1.5),
        same_top=round(tokens * rng.uniform(0.94, 0.99)),
        nll_reference=surprise,
        nll_candidate=surprise * (1 + rng.uniform(-kl, 2 * kl)),
        delta_p=tokens * rng.uniform(-0.004, 0.003),
    )


def build_policy(record: Record) -> Policy:
    return Policy(
        digest="a" * 64,
        checks=tuple({one.check.model_dump_json(): one.check for one in record.results}.values()),
        released="support-bot-v2",
        released_digest="b" * 64,
        changes=(
            PolicyChange(
                check="quantized against bridge: delta",
                before="at least -0.02, 95 % one-sided, blocks",
                after="at least -0.025, 95 % one-sided, blocks",
            ),
            PolicyChange(
                check="quantized against bridge: flips", before=None, after="at most 0.08"
            ),
            PolicyChange(check="merged against adapter: kl", before="at most 0.005", after=None),
        ),
    )
