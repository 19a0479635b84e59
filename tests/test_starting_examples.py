"""A user's lines: which fields are the prompt and the answer, and what kind of answers they are."""

import json

import pytest

from gate.errors import ConfigError
from gate.starting.examples import read_examples, varying_fields


def write(folder, lines, name="data.jsonl"):
    file = folder / name
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def test_prompt_and_answer_are_found_by_their_usual_names(tmp_path):
    file = write(tmp_path, [{"question": f"{i}?", "output": f"the {i}th"} for i in range(9)])
    found = read_examples(file)
    assert (found.rows[0].prompt, found.rows[0].answer) == ("0?", "the 0th")
    assert found.told[0] == "the prompt is question, the answer output"


def test_an_instruction_has_its_input_below_it(tmp_path):
    lines = [
        {"instruction": "Translate.", "input": "Hallo", "output": "Hello"},
        {"instruction": "Say hi.", "input": "", "output": "Hi"},
    ]
    found = read_examples(write(tmp_path, lines))
    assert [row.prompt for row in found.rows] == ["Translate.\nHallo", "Say hi."]
    assert found.told[0] == "the prompt is instruction and input, the answer output"


def test_a_few_answers_that_repeat_are_labels(tmp_path):
    lines = [{"text": f"message {i}", "intent": "buy" if i % 3 else "sell"} for i in range(30)]
    found = read_examples(write(tmp_path, lines))
    assert (found.kind, found.labels) == ("label", ("buy", "sell"))


def test_short_answers_are_to_be_written_exactly_and_long_ones_likely(tmp_path):
    short = [{"text": f"message {i}", "answer": f"order {i}"} for i in range(30)]
    long = [{"text": f"message {i}", "answer": f"{i}: " + "word " * 60} for i in range(30)]
    assert read_examples(write(tmp_path, short)).kind == "short"
    assert read_examples(write(tmp_path, long)).kind == "long"


@pytest.mark.parametrize("answer", [1, "1", "B", "b", "green"])
def test_a_choice_is_named_by_its_number_its_letter_or_itself(tmp_path, answer):
    line = {"question": "which?", "choices": ["red", "green"], "answer": answer}
    found = read_examples(write(tmp_path, [line]))
    assert (found.kind, found.rows[0].answer) == ("choice", "green")


def test_a_number_among_numeric_choices_is_their_place(tmp_path):
    line = {"question": "1 + 1?", "choices": ["1", "2", "3"], "answer": 1}
    assert read_examples(write(tmp_path, [line])).rows[0].answer == "2"


def test_a_line_whose_answer_is_no_choice_is_left_out_and_counted(tmp_path):
    lines = [
        {"question": f"{i}?", "choices": ["red", "green"], "answer": "red" if i else "pink"}
        for i in range(4)
    ]
    found = read_examples(write(tmp_path, lines))
    assert len(found.rows) == 3
    assert found.told[-1] == "1 of 4 lines are not like that, and left out"


def conversation(*turns):
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def test_a_conversation_is_a_question_and_its_answer_under_one_system_prompt(tmp_path):
    lines = [
        conversation(("system", "Be kind."), ("user", f"{i}?"), ("assistant", f"{i}!"))
        for i in range(3)
    ]
    lines.append(conversation(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")))
    found = read_examples(write(tmp_path, lines))
    assert (found.system, found.rows[2].prompt, found.rows[2].answer) == ("Be kind.", "2?", "2!")
    assert found.told[-1] == "1 of 4 lines are not like that, and left out"


def test_conversations_of_another_writing_are_read_too(tmp_path):
    turns = [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "because"}]
    found = read_examples(write(tmp_path, [{"conversations": turns}]))
    assert (found.rows[0].prompt, found.rows[0].answer) == ("why?", "because")


def test_conversations_that_are_all_longer_are_refused(tmp_path):
    line = conversation(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    with pytest.raises(ConfigError) as caught:
        read_examples(write(tmp_path, [line]))
    assert caught.value.problem == "data.jsonl: no conversation is one question and one answer"


def test_a_repeated_prompt_is_kept_once(tmp_path):
    lines = [{"prompt": "same", "answer": "first"}, {"prompt": "same", "answer": "second"}]
    found = read_examples(write(tmp_path, lines))
    assert [row.answer for row in found.rows] == ["first"]
    assert found.told[-1] == "1 lines repeat a prompt, and are left out"


def test_fields_that_cannot_be_guessed_are_asked_for(tmp_path):
    file = write(tmp_path, [{"utterance": "hello", "reply": "hi"}])
    with pytest.raises(ConfigError) as caught:
        read_examples(file)
    assert caught.value.problem == (
        "data.jsonl: no field looks like a prompt; its lines have utterance, reply"
    )
    assert caught.value.hint == "name the fields: --prompt FIELD --answer FIELD"
    assert read_examples(file, prompt="utterance", answer="reply").rows[0].answer == "hi"


def test_a_field_that_no_line_has_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_examples(write(tmp_path, [{"text": "a", "answer": "b"}]), prompt="txt")
    assert caught.value.problem == "data.jsonl: no line has a text in 'txt'"
    assert caught.value.hint == "its lines have text, answer"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no lines"),
        ("{\n", "data.jsonl:1: not JSON: "),
        ("[1]\n", "data.jsonl:1: not a JSON object"),
        ('{"prompt": "a", "answer": null}\n', "no field looks like an answer"),
    ],
)
def test_what_is_no_json_lines_is_refused(tmp_path, text, problem):
    (tmp_path / "data.jsonl").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_examples(tmp_path / "data.jsonl")
    assert problem in caught.value.problem


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_examples(tmp_path / "missing.jsonl")
    (tmp_path / "data.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_examples(tmp_path / "data.jsonl")


def test_fields_that_group_the_lines_are_told(tmp_path):
    lines = [
        {"text": f"m{i}", "intent": f"i{i}", "topic": f"t{i % 2}", "id": str(i), "same": "x"}
        for i in range(8)
    ]
    assert list(varying_fields(read_examples(write(tmp_path, lines)).rows)) == [("topic", 2)]
