import pytest

from gate.errors import ConfigError
from gate.texts import read_texts


def test_each_line_is_a_text_or_a_conversation(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text(
        '{"text": "one"}\n\n{"text": "two\\u2028", "domain": "desk"}\n'
        '{"messages": [{"role": "user", "content": "who"}]}\n'
    )
    found = read_texts(file)
    assert [one.messages for one in found] == [
        (("", "one"),),
        (("", "two\u2028"),),
        (("user", "who"),),
    ]
    assert [one.where for one in found] == ["texts.jsonl:1", "texts.jsonl:3", "texts.jsonl:4"]
    assert [one.is_conversation for one in found] == [False, False, True]


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        '{"words": "one"}',
        '{"text": " "}',
        "[1]",
        '{"text": "one", "messages": []}',
        '{"messages": []}',
        '{"messages": [{"role": "user"}]}',
        '{"messages": [{"role": "user", "content": ""}]}',
    ],
)
def test_a_line_that_is_neither_is_named(tmp_path, line):
    file = tmp_path / "texts.jsonl"
    file.write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"texts\.jsonl:2: is no text"):
        read_texts(file)


def test_no_texts_and_no_file_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="has no texts"):
        read_texts(tmp_path / "empty.jsonl")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_texts(tmp_path / "none.jsonl")
