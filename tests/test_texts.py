import pytest

from gate.errors import ConfigError
from gate.texts import read_texts


def test_each_line_is_a_text(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "one"}\n\n{"text": "two", "domain": "desk"}\n')
    assert read_texts(file) == ("one", "two")


@pytest.mark.parametrize("line", ["nothing", '{"words": "one"}', '{"text": " "}', "[1]"])
def test_a_line_without_a_text_is_named(tmp_path, line):
    file = tmp_path / "texts.jsonl"
    file.write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(ConfigError, match=r"texts\.jsonl:2: has no text"):
        read_texts(file)


def test_no_texts_and_no_file_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="has no texts"):
        read_texts(tmp_path / "empty.jsonl")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_texts(tmp_path / "none.jsonl")
