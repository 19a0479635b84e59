"""Rolling back: to what was current before, whole, and never to what is not."""

import os
import shutil

import pytest
from test_publisher_directory import made

from gate.errors import ConfigError, PublishError
from gate.publishers.directory import publish
from gate.releasing.rollback import Rollback, roll_back
from gate.releasing.targets import current
from gate.releasing.turns import taking_turns


@pytest.fixture
def target(tmp_path):
    """A directory to which v1, v2 and v3 were promoted, in this order."""
    for name in ("v1", "v2", "v3"):
        publish(made(tmp_path / f"staged-{name}", name=name), str(tmp_path / "releases"))
    return tmp_path / "releases"


def test_each_rollback_goes_one_further_back_until_nothing_is_left(target):
    assert roll_back(target) == Rollback("v2-q8_0", before="v3-q8_0")
    assert os.readlink(target / "current") == "v2-q8_0"
    assert roll_back(target) == Rollback("v1-q8_0", before="v2-q8_0")
    with pytest.raises(ConfigError) as caught:
        roll_back(target)
    assert str(caught.value) == (
        f"{target}: it is not known what was current before v1-q8_0\n"
        "  hint: say which one: --to RELEASE, of v1-q8_0, v2-q8_0, v3-q8_0"
    )


def test_no_release_is_removed(target):
    roll_back(target)
    assert (target / "v3-q8_0" / "model.safetensors").is_file()


def test_what_was_rolled_back_from_is_not_gone_back_to(tmp_path, target):
    roll_back(target)
    publish(made(tmp_path / "staged-v4", name="v4"), str(target))
    assert roll_back(target).release == "v2-q8_0"


def test_a_release_that_is_gone_is_passed_over(target):
    shutil.rmtree(target / "v2-q8_0")
    assert roll_back(target).release == "v1-q8_0"


def test_any_release_can_be_named(target):
    assert roll_back(target, to="v1-q8_0") == Rollback("v1-q8_0", before="v3-q8_0")
    assert roll_back(target, to="v3-q8_0") == Rollback("v3-q8_0", before="v1-q8_0")


def test_a_release_that_is_not_whole_does_not_become_current(target):
    (target / "v2-q8_0" / "model.safetensors").write_bytes(b"weights, as judgeD")
    found = roll_back(target)
    assert found.faults == (
        "model.safetensors was changed: its SHA-256 is not the one in mergegate/manifest.json",
    )
    assert current(target) == "v3-q8_0"


def test_a_release_that_there_is_not_is_refused(target):
    with pytest.raises(ConfigError) as caught:
        roll_back(target, to="v2-q4_k_m")
    assert str(caught.value) == (
        f"--to: no release 'v2-q4_k_m' in {target}\n  hint: did you mean v2-q8_0?"
    )


def test_the_current_release_is_refused(target):
    with pytest.raises(ConfigError, match="v3-q8_0 is current already"):
        roll_back(target, to="v3-q8_0")


def test_a_directory_without_releases_is_refused_and_left_alone(tmp_path):
    with pytest.raises(ConfigError, match="has no releases"):
        roll_back(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_history_that_a_crash_cut_off_is_read_as_far_as_it_goes_and_goes_on(tmp_path, target):
    with (target / ".mergegate" / "history.jsonl").open("a") as file:
        file.write('{"by": "promote", "rel')
    publish(made(tmp_path / "staged-v4", name="v4"), str(target))
    assert roll_back(target).release == "v3-q8_0"
    assert roll_back(target).release == "v2-q8_0"


def test_during_a_promotion_nothing_is_rolled_back(target):
    with (
        taking_turns(target / ".mergegate", target=str(target), doing="promoting v4-q8_0"),
        pytest.raises(PublishError, match="is promoting v4-q8_0 there"),
    ):
        roll_back(target)
    assert current(target) == "v3-q8_0"
