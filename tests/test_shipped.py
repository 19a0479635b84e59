"""The tasks that lm-eval ships: by name, as its own index has them."""

import pytest

from gate.errors import ConfigError
from gate.evaluating import shipped
from gate.evaluating.shipped import find_shipped


def write(folder, name, text):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files in the place of lm-eval's own."""

    def put(**texts):
        written = [write(tmp_path, f"{name}.yaml", text) for name, text in texts.items()]
        monkeypatch.setattr(shipped, "_files", lambda: tuple(written))
        return written

    return put


def test_a_shipped_task_is_found_without_reading_the_others():
    assert find_shipped("arc_easy").name == "arc_easy.yaml"


def test_a_name_between_quotes_is_found(files):
    (file,) = files(one='"task": "toy"\n"dataset_path": json\n')
    assert find_shipped("toy") == file


def test_of_two_tasks_with_one_name_the_first_is_taken(files):
    first, _ = files(one="task: toy\n", two="task: toy\n")
    assert find_shipped("toy") == first


def test_a_group_that_lists_a_task_is_not_the_task(files):
    _, file = files(one="group: all\ntask: [toy]\n", two="task: toy\n")
    assert find_shipped("toy") == file


def test_a_file_that_cannot_be_read_is_passed_over(files):
    _, file = files(one="task: [toy, : }\n", two="task: toy\n")
    assert find_shipped("toy") == file


def test_a_name_that_is_only_mentioned_gets_the_nearest_one(files):
    files(one="task: toy_one\ndescription: like toy\n")
    with pytest.raises(ConfigError, match="lm-eval has no task named 'toy'") as caught:
        find_shipped("toy")
    assert caught.value.hint == "did you mean toy_one?"
