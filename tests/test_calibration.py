"""Calibration inputs: read, rendered as the model is served, and never what is judged."""

import json

import pytest
from builders import pico_tokenizer
from gates import SUITE, FakeWorker, write_gate
from test_plan import GGUF, plan_of

from gate.configuring.config import load_config
from gate.errors import ConfigError, StageError
from gate.quantizing.calibration import find_overlap, read_calibration, render_calibration
from gate.running.runner import run_gate
from gate.store import Store

CHAT = {
    "messages": [
        {"role": "user", "content": "where is my order"},
        {"role": "assistant", "content": "delivery"},
    ]
}


def write(tmp_path, *lines):
    file = tmp_path / "calibration.jsonl"
    file.write_text(
        "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines)
    )
    return file


def test_conversations_are_rendered_whole_in_the_chat_template(tmp_path):
    inputs = read_calibration([write(tmp_path, CHAT, {"text": "the capital of red"})])
    assert render_calibration(inputs, pico_tokenizer()) == (
        "<|user|>where is my order</s><|assistant|>delivery</s>",
        "the capital of red",
    )


def test_a_conversation_without_a_chat_template_is_refused(tmp_path):
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = None
    inputs = read_calibration([write(tmp_path, {"text": "plain"}, CHAT)])
    with pytest.raises(StageError, match=r"calibration\.jsonl:2: is a conversation, and the token"):
        render_calibration(inputs, tokenizer)


def test_a_chat_template_that_fails_is_told(tmp_path):
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('only system messages') }}"
    inputs = read_calibration([write(tmp_path, CHAT)])
    with pytest.raises(StageError, match="the chat template fails: only system"):
        render_calibration(inputs, tokenizer)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        {},
        {"text": ""},
        {"text": "a", "messages": []},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": 1, "content": "a"}]},
        {"messages": ["hello"]},
    ],
)
def test_a_line_that_is_no_input_is_refused_by_its_number(tmp_path, line):
    file = write(tmp_path, CHAT, line)
    with pytest.raises(ConfigError, match=r"calibration\.jsonl:2: is no calibration input"):
        read_calibration([file])


def test_a_file_without_inputs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no calibration inputs"):
        read_calibration([write(tmp_path, "")])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.jsonl: cannot be read as text"):
        read_calibration([tmp_path / "none.jsonl"])


@pytest.mark.parametrize(
    ("document", "is_shared"),
    [
        (("Where is   my ORDER",), True),
        (("Answer in one word: where is my order", "delivery"), True),
        (("where is", "my order"), False),
        (("delivery",), False),
        (("I lost my order of yesterday",), False),
    ],
)
def test_an_input_that_holds_a_document_overlaps_it(tmp_path, document, is_shared):
    inputs = read_calibration([write(tmp_path, {"text": "unrelated words"}, CHAT)])
    found = find_overlap(inputs, [("something else entirely",), document])
    assert (found is not None) == is_shared
    if found:
        assert (found[0].where, found[1]) == ("calibration.jsonl:2", 1)


def test_a_suite_whose_calibration_is_judged_is_refused(tmp_path):
    suite = SUITE + "calibration: [{path: calibration.jsonl}]\n"
    write(tmp_path, {"text": "another text"}, {"text": "Question 17: green or blue?"})
    write_gate(tmp_path, "base", "adapter", suite=suite)
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path / "gate.yaml")
    assert "calibration.0.path: calibration.jsonl:2 is also document 17 of task 'colors'" in str(
        refused.value
    )
    assert "or the verdict flatters" in refused.value.hint


def test_a_suite_without_its_calibration_file_is_refused(tmp_path):
    suite = SUITE + "calibration: [{path: none.jsonl}]\n"
    write_gate(tmp_path, "base", "adapter", suite=suite)
    with pytest.raises(ConfigError, match=r"calibration\.0\.path: no calibration file"):
        load_config(tmp_path / "gate.yaml")


def test_calibration_is_in_the_key_of_what_is_calibrated_alone(tmp_path):
    gate = GGUF.replace("type: Q8_0", "type: Q8_0, imatrix: true")
    suite = SUITE + "calibration: [{path: calibration.jsonl}]\n"
    write(tmp_path, {"text": "one text to show"})
    before = {p.label: p.stage.key for p in plan_of(tmp_path, gate=gate, suite=suite).stages}
    write(tmp_path, {"text": "another text to show"})
    after = {p.label: p.stage.key for p in plan_of(tmp_path, gate=gate, suite=suite).stages}
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {"quantize q8_0", "audit quantize q8_0", "evaluate q8_0 colors"}


def test_a_document_known_only_when_it_is_asked_overlaps_too(tmp_path, base, adapter):
    suite = SUITE + "calibration: [{path: calibration.jsonl}]\n"
    write(tmp_path, {"text": "another text"}, {"text": "Question 17: green or blue?"})
    write_gate(tmp_path, base, adapter)
    task = tmp_path / "tasks" / "colors.yaml"
    task.write_text(task.read_text().replace("colors.jsonl", "colors.json"))
    (tmp_path / "tasks" / "colors.jsonl").rename(tmp_path / "tasks" / "colors.json")
    (tmp_path / "suite.yaml").write_text(suite)
    config = load_config(tmp_path / "gate.yaml")
    right = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
    store, reports = Store(tmp_path / "store"), tmp_path / "reports"
    with pytest.raises(ConfigError) as refused:
        run_gate(config, store=store, reports=reports, run_batch=FakeWorker(right))
    told = refused.value.problem
    assert told == "calibration: calibration.jsonl:2 is also document 17 of task 'colors'"
    assert not reports.exists()
