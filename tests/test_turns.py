"""One promotion at a time to a target, and who comes second is told who is at it."""

import getpass
import os
import platform

import pytest
from filelock import FileLock

from gate.errors import PublishError
from gate.releasing.turns import taking_turns


def test_who_comes_second_is_told_who_is_at_it(tmp_path):
    with (
        taking_turns(tmp_path, target="releases", doing="promoting v2-q8_0"),
        pytest.raises(PublishError) as caught,
        taking_turns(tmp_path, target="releases", doing="promoting v3-q8_0"),
    ):
        pass
    told = str(caught.value)
    assert told.startswith(
        f"releases is taken: {getpass.getuser()} is promoting v2-q8_0 there, process {os.getpid()} "
        f"on {platform.node()}, since 2"
    )
    assert told.endswith("hint: nothing was changed: try again when that one has finished")


def test_when_the_first_has_finished_the_next_one_may(tmp_path):
    for _ in range(2):
        with taking_turns(tmp_path, target="releases", doing="promoting v2-q8_0"):
            pass
    assert not (tmp_path / "promoting.json").exists()


def test_what_a_crashed_one_left_holds_nobody_up(tmp_path):
    (tmp_path / "promoting.json").write_text('{"doing": "promoting v1"}')
    with taking_turns(tmp_path, target="releases", doing="promoting v2-q8_0"):
        pass


def test_a_holder_that_does_not_tell_is_another_process(tmp_path):
    with (
        FileLock(tmp_path / "lock"),
        pytest.raises(PublishError, match="taken: another process is publishing there"),
        taking_turns(tmp_path, target="releases", doing="promoting v3-q8_0"),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PublishError, match="file/work cannot be written: Not a directory"),
        taking_turns(tmp_path / "file" / "work", target="releases", doing="promoting v3"),
    ):
        pass
