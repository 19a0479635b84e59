"""A line's steps: values that add up, arms chosen and missing, on documents all were asked."""

import math

import pytest

from gate.evaluation_records import Sample, Score
from gate.lineage import lineages
from gate.terms import Check, ResolvedCheck, Task, Use, Variant

HF, LLAMA = Use(name="hf"), Use(name="llamacpp")
STREAM = Use(name="stream")


def gguf(type_):
    return Use(name="gguf", params={"type": type_})


def variant(name, *, adapters=("a",), backend=HF, **fields):
    return Variant(name=name, adapters=adapters, backend=backend, **fields)


BASE = variant("base", adapters=())
ADAPTER = variant("adapter")
MERGED = variant("merged", merge=STREAM)
BRIDGE = variant(
    "merged@llamacpp", merge=STREAM, quantize=gguf("BF16"), backend=LLAMA, is_bridge=True
)
Q8 = variant("q8_0", merge=STREAM, quantize=gguf("Q8_0"), backend=LLAMA)
RTN = variant("rtn", merge=STREAM, quantize=Use(name="rtn"))
ALL = (BASE, ADAPTER, MERGED, Q8, BRIDGE)
ACROSS = [("merged", "adapter"), ("merged@llamacpp", "merged"), ("q8_0", "merged@llamacpp")]
TASK = Task(name="colors", metric="acc")


def score(name, values, *, task="colors", first=0, **fields):
    samples = (
        Sample(
            id=first + i,
            hash=f"h{first + i}",
            value=float(value),
            answer=str(value),
            request_hash=f"r{first + i}",
            place=first + i,
        )
        for i, value in enumerate(values)
    )
    kind = {"metric": "acc", "higher_is_better": True, "is_binary": True} | fields
    return Score(variant=name, task=task, samples=tuple(samples), **kind)


def right(name, count, n=40):
    return score(name, [i < count for i in range(n)])


def found(variants, scores, pairs=(), tasks=(TASK,)):
    checks = [
        ResolvedCheck(
            check=Check(of=of, against=against, compare=Use(name="delta"), at_least=-0.02),
            variant=of,
            reference=against,
            task=task.name,
        )
        for of, against in pairs
        for task in tasks
    ]
    by_place = {(one.variant, one.task): one for one in scores}
    return {one.variant: one for one in lineages(tasks, variants, checks, by_place)}


def told(lineage):
    return [(step.causes, step.reference, step.variant) for step in lineage.steps]


SCORES = (
    right("base", 10),
    right("adapter", 36),
    right("merged", 35),
    right("merged@llamacpp", 33),
    right("q8_0", 30),
)


def test_a_line_goes_from_base_over_the_bridge_to_the_quantized_variant():
    line = found(ALL, SCORES, ACROSS)["q8_0"]
    assert told(line) == [
        ("training", "base", "adapter"),
        ("merge", "adapter", "merged"),
        ("runtime", "merged", "merged@llamacpp"),
        ("quantization", "merged@llamacpp", "q8_0"),
    ]
    changes = [step.change.value for step in line.steps]
    assert changes == pytest.approx([26 / 40, -1 / 40, -2 / 40, -3 / 40])
    assert line.total.value == pytest.approx(20 / 40)
    assert line.documents == 40


def test_each_merged_and_quantized_variant_has_a_line_and_a_bridge_has_none():
    lines = found(ALL, SCORES, ACROSS)
    assert set(lines) == {"merged", "q8_0"}
    assert told(lines["merged"]) == [
        ("training", "base", "adapter"),
        ("merge", "adapter", "merged"),
    ]


def test_a_step_has_the_interval_of_its_comparison():
    step = found(ALL, SCORES, ACROSS)["q8_0"].steps[1]
    assert step.change.method.startswith("Tango score interval")
    assert step.change.low < step.change.value < step.change.high
    assert step.change.n == 40


CONTINUOUS = {"is_binary": False, "metric": "f1"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="binary"),
        pytest.param(CONTINUOUS, id="continuous"),
        pytest.param(CONTINUOUS | {"higher_is_better": False}, id="lower is better"),
    ],
)
def test_the_steps_add_up_to_the_total(fields):
    values = {
        "base": [math.sin(i) > 0.5 for i in range(50)],
        "adapter": [math.sin(i) > -0.8 for i in range(50)],
        "merged": [math.sin(2 * i) > -0.8 for i in range(50)],
        "rtn": [math.cos(i) > -0.6 for i in range(50)],
    }
    if fields:
        values = {
            name: [0.5 * one + i / 97 for i, one in enumerate(v)] for name, v in values.items()
        }
    scores = [score(name, given, **fields) for name, given in values.items()]
    line = found((BASE, ADAPTER, MERGED, RTN), scores)["rtn"]
    assert math.fsum(step.change.value for step in line.steps) == pytest.approx(
        line.total.value, abs=1e-12
    )


@pytest.mark.parametrize("aggregate", ["f1", "word_perplexity"])
def test_the_steps_of_a_corpus_metric_add_up_to_the_total(aggregate):
    def corpus(name, shift):
        plain = score(name, [0.0] * 40, metric=aggregate, is_binary=False)
        samples = tuple(
            one.model_copy(update={"statistics": _statistics(aggregate, one.id, shift)})
            for one in plain.samples
        )
        return plain.model_copy(update={"samples": samples, "aggregate": aggregate})

    names = ("base", "adapter", "merged", "rtn")
    scores = [corpus(name, shift) for shift, name in enumerate(names)]
    line = found((BASE, ADAPTER, MERGED, RTN), scores)["rtn"]
    assert line.total.value != 0
    assert math.fsum(step.change.value for step in line.steps) == pytest.approx(
        line.total.value, abs=1e-12
    )


def _statistics(aggregate, number, shift):
    if aggregate == "word_perplexity":
        return (-(5.0 + number % 7 + shift * (number % 3)), 10.0 + number % 4)
    truth, guess = number % 2, (number + (number % (shift + 2) == 0)) % 2
    return (float(truth and guess), float(guess and not truth), float(truth and not guess), 0.0)


def test_without_the_base_the_line_begins_at_the_adapter():
    line = found(ALL, SCORES[1:], ACROSS)["q8_0"]
    assert line.steps[0].reference == "adapter"
    assert line.total.value == pytest.approx(-6 / 40)


def test_a_step_over_a_missing_variant_says_all_that_it_changes():
    without_adapter = found(ALL, [SCORES[0], *SCORES[2:]], ACROSS)["merged"]
    assert told(without_adapter) == [("training and merge", "base", "merged")]
    without_bridge = found(ALL, SCORES[:3] + SCORES[4:], ACROSS)["q8_0"]
    assert told(without_bridge)[-1] == ("runtime and quantization", "merged", "q8_0")
    neither = found(ALL, [*SCORES[:2], SCORES[4]], ACROSS)["q8_0"]
    assert told(neither)[-1] == ("merge, runtime and quantization", "adapter", "q8_0")


def test_a_variant_that_failed_or_stands_alone_has_no_line():
    assert "q8_0" not in found(ALL, SCORES[:4], ACROSS)
    assert found(ALL, SCORES[4:], ACROSS) == {}


def test_the_line_is_of_the_documents_that_every_variant_was_asked():
    scores = (right("base", 10, n=80), right("adapter", 50, n=60), right("merged", 20, n=20))
    line = found(ALL, scores, ACROSS)["merged"]
    assert line.documents == 20
    assert {step.change.n for step in line.steps} == {20}
    assert line.total.value == pytest.approx(10 / 20)


def test_variants_with_no_document_in_common_have_no_line():
    scores = (right("adapter", 10), score("merged", [1, 1, 0], first=1000))
    assert found(ALL, scores, ACROSS) == {}


def test_variants_that_were_given_other_tokens_have_no_line():
    merged = right("merged", 30)
    other = tuple(one.model_copy(update={"request_hash": "other"}) for one in merged.samples)
    scores = (right("adapter", 36), merged.model_copy(update={"samples": other}))
    assert found(ALL, scores, ACROSS) == {}


def test_a_task_of_one_adapter_is_led_from_that_adapter_alone():
    both = variant("merged", adapters=("a", "b"), merge=STREAM)
    pair = variant("adapter", adapters=("a", "b"))
    alone = variant("adapter@b", adapters=("b",))
    task = Task(name="colors", metric="acc", reference="adapter:b")
    scores = [right(name, 30) for name in ("base", "adapter", "adapter@b", "merged")]
    line = found((BASE, pair, both, alone), scores, [("merged", "adapter@b")], tasks=(task,))
    assert told(line["merged"]) == [
        ("training", "base", "adapter@b"),
        ("merge", "adapter@b", "merged"),
    ]


def test_a_merged_variant_in_another_runtime_has_its_bridge_before_it():
    served = variant("merged", merge=STREAM, backend=Use(name="vllm"))
    bridge = variant("merged@hf", merge=STREAM, is_bridge=True)
    scores = [right(name, 30) for name in ("base", "adapter", "merged", "merged@hf")]
    pairs = [("merged@hf", "adapter"), ("merged", "merged@hf")]
    line = found((BASE, ADAPTER, served, bridge), scores, pairs)["merged"]
    assert told(line)[1:] == [
        ("merge", "adapter", "merged@hf"),
        ("runtime", "merged@hf", "merged"),
    ]


def test_a_line_that_begins_and_ends_in_one_runtime_does_not_leave_it():
    adapter = variant("adapter", backend=LLAMA)
    pairs = [
        ("merged@llamacpp", "adapter"),
        ("merged", "merged@llamacpp"),
        ("merged@llamacpp", "merged"),
        ("q8_0", "merged@llamacpp"),
    ]
    line = found((adapter, MERGED, Q8, BRIDGE), SCORES[1:], pairs)["q8_0"]
    assert told(line) == [
        ("merge", "adapter", "merged@llamacpp"),
        ("quantization", "merged@llamacpp", "q8_0"),
    ]


def test_a_variant_that_gate_yaml_itself_names_as_the_bridge_is_one():
    bridge = variant("bf16", merge=STREAM, quantize=gguf("BF16"), backend=LLAMA)
    scores = [right(name, 30) for name in ("adapter", "merged", "bf16", "q8_0")]
    pairs = [("merged", "adapter"), ("bf16", "merged"), ("q8_0", "bf16")]
    lines = found((ADAPTER, MERGED, bridge, Q8), scores, pairs)
    assert told(lines["q8_0"])[1:] == [
        ("runtime", "merged", "bf16"),
        ("quantization", "bf16", "q8_0"),
    ]
    assert told(lines["bf16"])[1:] == [("runtime", "merged", "bf16")]


def test_of_several_of_a_kind_the_line_takes_those_that_the_checks_compare_with():
    other = variant("merged_vllm", merge=STREAM, backend=Use(name="vllm"))
    scores = [right(name, 30) for name in ("adapter", "merged_vllm", "merged", "rtn")]
    variants = (ADAPTER, other, MERGED, RTN)
    assert told(found(variants, scores, [("rtn", "merged_vllm")])["rtn"])[1][1] == "merged_vllm"
    assert told(found(variants, scores, [("rtn", "merged")])["rtn"])[1][1] == "merged"
