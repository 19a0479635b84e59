"""Records to render reports of: as many documents as asked, as long and as changed as real ones."""

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.judge import judge, verdict_of, verdict_of_run
from gate.lineage import lineages
from gate.policy import policy_of
from gate.records import Artifact, Provenance, Record, WeightReport
from gate.terms import Adapter, Candidate, Check, ResolvedCheck, Source, Task, Use, Variant

SEED = 1234
TASKS = ("desk_intent", "desk_policy")
ARMS = ("base", "adapter", "merged", "merged-llamacpp", "q8_0", "q4_k_m")

_SHARE_RIGHT = 0.85
_WORDS = 3_000
_PROMPT_CHARACTERS = 600
_CHOICES = 4
_SYLLABLES = ("ka", "lo", "mi", "ter", "sen", "or", "pa", "vi", "ne", "du", "ri", "ban", "el", "st")


class Size(NamedTuple):
    """How large a record is.

    Attributes:
        documents: of all tasks together.
        changed: share of documents that change from each arm to the next.
    """

    documents: int
    changed: float


def make_record(size: Size) -> Record:
    """A finished run of six variants on two tasks of questions with four choices."""
    tasks = tuple(Task(name=name, metric="acc", path=f"{name}.yaml") for name in TASKS)
    corpora = {name: _corpus(name, size.documents // len(TASKS)) for name in TASKS}
    scores = {
        (score.variant, name): score
        for name, corpus in corpora.items()
        for score in _scores(name, corpus, size.changed)
    }
    variants, checks = tuple(_variants()), tuple(_checks())
    resolved = [
        ResolvedCheck(check=check, variant=check.of, reference=check.against, task=task.name)
        for check in checks
        for task in tasks
    ]
    results = judge(resolved, scores, corpora, {})
    ship = ARMS[-2:]
    verdicts = tuple(verdict_of(name, ARMS[:-2], results) for name in ship)
    return Record(
        release="benchmark-v1",
        candidate=Candidate(base="base", adapters=(Adapter(name="desk", source="desk"),)),
        suite="core",
        suite_digest=_hash("suite"),
        base=Source(given="base", path="/models/base", digest=_hash("base")),
        adapters={"desk": Source(given="desk", path="/adapters/desk", digest=_hash("desk"))},
        variants=variants,
        ship=ship,
        tasks=tasks,
        corpora=tuple(corpora.values()),
        scores=tuple(scores.values()),
        artifacts=tuple(map(_artifact, ship)),
        lineages=lineages(tasks, variants, resolved, scores),
        policy=policy_of(checks),
        results=results,
        verdicts=verdicts,
        verdict=verdict_of_run(verdicts),
        stages=(),
        provenance=_provenance(),
    )


def _variants() -> Iterator[Variant]:
    hf, llamacpp, stream = Use(name="hf"), Use(name="llamacpp"), Use(name="stream")
    adapters = ("desk",)
    yield Variant(name="base", adapters=(), backend=hf)
    yield Variant(name="adapter", adapters=adapters, backend=hf)
    yield Variant(name="merged", adapters=adapters, merge=stream, backend=hf)
    yield Variant(
        name="merged-llamacpp", adapters=adapters, merge=stream, backend=llamacpp, is_bridge=True
    )
    for name in ARMS[-2:]:
        quantize = Use(name="gguf", params={"type": name.upper()})
        yield Variant(
            name=name, adapters=adapters, merge=stream, quantize=quantize, backend=llamacpp
        )


def _checks() -> Iterator[Check]:
    against = ("base", "adapter", "merged", "merged-llamacpp", "merged-llamacpp")
    for reference, name in zip(against, ARMS[1:], strict=True):
        margin = 0.0 if name == "adapter" else -0.02
        yield Check(of=name, against=reference, compare=Use(name="delta"), at_least=margin)


def _corpus(task: str, count: int) -> Corpus:
    chance = random.Random(f"{SEED}{task}")
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(_WORDS)]
    weights = tuple(accumulate(1 / rank for rank in range(1, _WORDS + 1)))

    def said(characters: int) -> str:
        drawn = chance.choices(words, cum_weights=weights, k=characters // 3)
        return " ".join(drawn)[:characters].rstrip()

    def document(number: int) -> Document:
        prompt = f"Customer {number}: {said(_PROMPT_CHARACTERS)}\nAnswer:"
        choices = tuple(said(chance.randint(12, 48)) for _ in range(_CHOICES))
        return Document(
            id=number,
            hash=_hash(prompt),
            prompt=prompt,
            target=chance.choice(choices),
            choices=choices,
        )

    return Corpus(task=task, documents=tuple(map(document, range(count))))


def _scores(task: str, corpus: Corpus, changed: float) -> Iterator[Score]:
    """A score for each arm, in the order of the line."""
    chance = random.Random(f"{SEED}{task}{changed}")
    right = [chance.random() < _SHARE_RIGHT for _ in corpus.documents]
    for arm in ARMS:
        samples = tuple(
            _sample(document, is_right, chance)
            for document, is_right in zip(corpus.documents, right, strict=True)
        )
        yield Score(
            variant=arm,
            task=task,
            metric="acc",
            higher_is_better=True,
            is_binary=True,
            available=len(samples),
            samples=samples,
        )
        right = [_next(is_right, changed, chance) for is_right in right]


def _next(is_right: bool, changed: float, chance: random.Random) -> bool:
    """Whether the next arm is right: as many are lost as are won, so that accuracy stays."""
    share = _SHARE_RIGHT if is_right else 1 - _SHARE_RIGHT
    return is_right ^ (chance.random() < changed / 2 / share)


def _sample(document: Document, is_right: bool, chance: random.Random) -> Sample:
    wrong = next(one for one in (*document.choices, "") if one != document.target)
    answer = document.target if is_right else wrong
    nats = (round(-chance.uniform(1, 40), 4) for _ in document.choices)
    return Sample(
        id=document.id,
        hash=document.hash,
        value=float(is_right),
        answer=answer,
        request_hash=document.hash,
        loglikelihoods=tuple(
            -0.5 if choice == answer else found
            for choice, found in zip(document.choices, nats, strict=True)
        ),
        place=document.id,
    )


def _artifact(variant: str) -> Artifact:
    return Artifact(
        variant=variant,
        name=f"benchmark-v1-{variant}",
        path=f"/store/{variant}",
        digest=_hash(variant),
        size_bytes=150_000_000,
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=41.7,
        method="stream, gguf",
        report=WeightReport(parameters=134_515_008, weight_bytes=145_000_000),
    )


def _provenance() -> Provenance:
    return Provenance(
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        python="3.11",
        platform="Linux",
        cpu="a processor",
        cpu_count=2,
        memory_bytes=24_000_000_000,
        gpus=(),
        packages={},
        git_commit=None,
        gate_version="0.1.0",
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
