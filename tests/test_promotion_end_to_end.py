"""From a gate run on a pico model to a release: promoted, verified, tampered with, rolled back."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from test_end_to_end import _desk, write

from gate.configuring.config import load_config
from gate.releasing.verification import verify
from gate.running.runner import run_gate
from gate.store import Store

COMMAND = [sys.executable, "-c", "from gate.cli import main; main()"]


class Release(NamedTuple):
    """A desk whose gate has run as v1 and v2, and what promoting v1 printed."""

    desk: Path
    printed: str


def gate(desk, *arguments):
    """What a command printed, and its exit status."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )


def run_as(desk, release):
    """Run the gate under the name of a release; the second time everything is in the store."""
    file = write(desk, "  erased: {merge: stream, quantize: erase}\n")
    file.write_text(file.read_text().replace("release: v1", f"release: {release}"))
    run_gate(load_config(file), store=Store(desk / "store"), reports=desk / "reports")


def report(desk, release):
    (directory,) = (desk / "reports" / release).iterdir()
    return directory


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    desk = _desk(tmp_path_factory.mktemp("promotion"))
    for release in ("v1", "v2"):
        run_as(desk, release)
    assert gate(desk, "keygen", "release.key").returncode == 0
    arguments = ("--to", "releases", "--variant", "merged", "--key", "release.key")
    done = gate(desk, "promote", report(desk, "v1"), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return Release(desk, done.stdout)


@pytest.fixture
def copied(promoted, tmp_path):
    """A copy of the release, to be tampered with."""
    shutil.copytree(promoted.desk / "releases" / "v1-merged", tmp_path / "release")
    return tmp_path / "release"


def faults(promoted, release, key="release.key.pub"):
    return verify(release, key=promoted.desk / key, policy=None, today=datetime.now(UTC).date())


def test_promoting_tells_where_it_is_and_what_was_there_before(promoted):
    first, _, *rest = promoted.printed.splitlines()
    assert first == "promoted: merged-base-adapter-desk-v1"
    assert rest == ["published: releases/v1-merged", "before: nothing"]


def test_an_engine_loads_the_release_as_it_is(promoted):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    current = promoted.desk / "releases" / "current"
    prompt = AutoTokenizer.from_pretrained(current)("broken 17:", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(current)
    answer = model(**prompt).logits.argmax(-1)[0, -1]
    assert AutoTokenizer.from_pretrained(current).decode(answer).strip() == "blue"


def test_the_adapter_is_archived_byte_for_byte(promoted):
    archived = promoted.desk / "releases" / "v1-merged" / "mergegate" / "adapters" / "desk"
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        given = promoted.desk / "adapter" / name
        assert (archived / name).read_bytes() == given.read_bytes()


def test_the_release_is_verified(promoted):
    done = gate(promoted.desk, "verify", "releases/current", "--key", "release.key.pub")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verified: v1 merged, 13 files, ")


@pytest.mark.parametrize(
    "path",
    [
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "mergegate/record.json",
        "mergegate/report.html",
        "mergegate/manifest.json",
        "mergegate/adapters/desk/adapter_model.safetensors",
    ],
)
def test_one_flipped_byte_anywhere_is_found_and_its_file_is_named(promoted, copied, path):
    content = bytearray((copied / path).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / path).write_bytes(content)
    assert any(fault.startswith(path) for fault in faults(promoted, copied))


def test_a_file_that_was_added_or_removed_is_found(promoted, copied):
    (copied / "extra.py").write_text("import os")
    (copied / "config.json").unlink()
    assert {"extra.py was added", "config.json is missing"} <= {*faults(promoted, copied)}


def test_the_record_of_another_run_is_found(promoted, copied):
    other = report(promoted.desk, "v2") / "record.json"
    shutil.copy(other, copied / "mergegate" / "record.json")
    done = gate(promoted.desk, "verify", copied, "--key", "release.key.pub")
    assert done.returncode == 1
    assert "fault: mergegate/record.json was changed" in done.stdout
    assert done.stdout.endswith(f"not verified: {copied}\n")


def test_another_key_is_found(promoted, copied, tmp_path):
    gate(promoted.desk, "keygen", tmp_path / "other.key")
    (fault,) = faults(promoted, copied, key=tmp_path / "other.key.pub")
    assert fault.startswith("signed by another key: ")


def test_a_variant_that_was_blocked_is_refused_with_the_reasons(promoted):
    done = gate(
        promoted.desk, "promote", report(promoted.desk, "v1"), "--to", "refused",
        "--variant", "erased",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("refused: the verdict on erased is block: ")
    assert done.stdout.endswith("not promoted: erased\n")
    assert not (promoted.desk / "refused").exists()


def test_an_artifact_that_is_not_what_was_judged_is_refused(promoted, tmp_path):
    shutil.copytree(promoted.desk / "base", tmp_path / "base")
    done = gate(
        promoted.desk, "promote", report(promoted.desk, "v1"), "--to", "refused",
        "--variant", "merged", "--artifact", tmp_path / "base",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("refused: its files are not what was judged: ")


def test_a_second_release_becomes_current_and_a_rollback_goes_back_to_the_first(promoted):
    desk = promoted.desk
    arguments = ("--to", "releases", "--variant", "merged")
    second = gate(desk, "promote", report(desk, "v2"), *arguments)
    assert second.stdout.endswith(
        "published: releases/v2-merged\nbefore: v1-merged\n"
        "not signed: with --key PEM, gate verify can tell who made it\n"
    )
    assert os.readlink(desk / "releases" / "current") == "v2-merged"
    back = gate(desk, "rollback", "releases")
    assert (back.returncode, back.stderr) == (0, "")
    assert back.stdout == "current: v1-merged, which was v2-merged\n"
    assert os.readlink(desk / "releases" / "current") == "v1-merged"
    assert gate(desk, "verify", "releases/current", "--key", "release.key.pub").returncode == 0
    (desk / "releases" / "v2-merged" / "config.json").write_text("{}")
    damaged = gate(desk, "rollback", "releases", "--to", "v2-merged")
    assert damaged.returncode == 1
    assert damaged.stdout == (
        "fault: config.json was changed: it has 2 bytes, not "
        f"{(desk / 'releases' / 'v1-merged' / 'config.json').stat().st_size}\n"
        "not rolled back: v2-merged is not whole, current is v1-merged\n"
    )
