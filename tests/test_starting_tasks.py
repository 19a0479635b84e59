"""Starter tasks: their margins, their documents, and inputs that no task judges."""

import json

import pytest
from ruamel.yaml import YAML

from gate.starting.examples import Example, Examples
from gate.starting.inputs import inputs_of, texts_of_documents, unseen, write_inputs
from gate.starting.tasks import margin_for, own_task, smoke_task, split_examples, task_name
from gate.starting.writing import yaml_text


def examples(count, kind="short", labels=(), system=""):
    rows = tuple(Example(f"question number {i}", f"answer {i}") for i in range(count))
    return Examples(kind, rows, labels, system, ())


@pytest.mark.parametrize(("documents", "margin"), [(12, 0.2), (50, 0.1), (327, 0.05), (4000, 0.01)])
def test_the_margin_is_the_smallest_that_so_many_documents_prove(documents, margin):
    assert margin_for(documents) == margin


def test_few_examples_are_all_judged_and_of_many_some_are_spared():
    assert split_examples(examples(199)).calibration == ()
    judged, calibration = split_examples(examples(500))
    assert (len(judged), len(calibration)) == (400, 100)
    assert not {row.prompt for row in judged} & {row.prompt for row in calibration}


def test_the_split_is_the_same_each_time_and_at_most_5000_are_judged():
    assert split_examples(examples(300)) == split_examples(examples(300))
    assert len(split_examples(examples(9000)).judged) == 5000


def test_an_input_that_shares_a_text_with_a_document_is_not_shown_to_quantizers():
    found = examples(3)
    judged = (Example("Question  NUMBER 1", "another answer"),)
    inputs = inputs_of(found.rows, found, chat=True)
    left = unseen(inputs, texts_of_documents(judged, found))
    assert [one.messages[0][1] for one in left] == ["question number 0", "question number 2"]


def test_inputs_are_conversations_with_a_template_and_texts_without():
    found = examples(1, system="Be kind.")
    roles = ["system", "user", "assistant"]
    chat = json.loads(write_inputs(inputs_of(found.rows, found, chat=True)))
    assert [turn["role"] for turn in chat["messages"]] == roles
    plain = json.loads(write_inputs(inputs_of(found.rows, found, chat=False)))
    assert plain == {"text": "question number 0 answer 0"}


def test_a_label_is_a_choice_among_all_labels():
    rows = (Example("buy it", "buy", fields={"topic": "shop"}),)
    found = Examples("label", rows, ("sell", "buy"), "", ())
    task = own_task("intents", found, rows, chat=True)
    document = json.loads(task.files["data/intents.jsonl"])
    assert document == {
        "topic": "shop",
        "prompt": "buy it",
        "answer": 1,
        "choices": ["sell", "buy"],
    }
    assert task.metric == "acc"


def test_a_system_prompt_becomes_the_description_of_a_chat():
    found = examples(1, system='Say "yes": always')
    written = YAML(typ="safe").load(
        own_task("t", found, found.rows, chat=True).files["tasks/t.yaml"]
    )
    assert written["description"] == 'Say "yes": always'


def test_an_answer_of_several_lines_does_not_stop_at_the_first():
    rows = (Example("list", "one\ntwo"),)
    found = Examples("short", rows, (), "", ())
    written = YAML(typ="safe").load(own_task("t", found, rows, chat=True).files["tasks/t.yaml"])
    assert written["generation_kwargs"]["until"] == []


def test_the_smoke_task_says_that_it_is_one():
    task = smoke_task()
    assert task.is_smoke
    assert "says nothing of what the adapter is for" in task.files["tasks/smoke.yaml"]


def test_tasks_are_named_by_their_files_and_numbered_where_they_are_alike(tmp_path):
    assert task_name(tmp_path / "My Data (v2).jsonl", []) == "my_data_v2"
    assert task_name(tmp_path / "desk.jsonl", ["desk", "desk_2"]) == "desk_3"
    assert task_name(tmp_path / "日本.jsonl", []) == "task"


@pytest.mark.parametrize("stem", ["2024-11", "on", "1e3", "No", "null"])
def test_a_task_is_never_called_what_yaml_reads_as_something_else(tmp_path, stem):
    name = task_name(tmp_path / f"{stem}.jsonl", [])
    assert name.startswith("task_")
    for version in ((1, 1), (1, 2)):
        yaml = YAML(typ="safe", pure=True)
        yaml.version = version
        assert yaml.load(f"task: {name}")["task"] == name


@pytest.mark.parametrize(
    "text", ["yes", "1.0", "0x1F", "a: b", "#x", "", "é", "~/m", "a b", "../x", "org/n@c0ffee"]
)
def test_a_text_is_read_back_from_yaml_as_it_was(text):
    assert YAML(typ="safe").load(f"key: {yaml_text(text)}")["key"] == text
    assert YAML(typ="safe").load(f"{{key: {yaml_text(text)}}}")["key"] == text
