"""gate keygen and gate verify: what they print, and the status they end with."""

import json
import os
import resource
import stat
import subprocess
import sys

import pytest
from signed_release import released

from gate.releasing.keys import write_key_pair


def gate(*arguments, preexec=None):
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=preexec,
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_key_pair(tmp_path_factory.mktemp("keys") / "release.key", key_type="ed25519")


@pytest.fixture
def release(tmp_path, pair):
    return released(tmp_path / "Fr\u00fchling v3", key=pair.private)


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa"])
def test_keygen_writes_two_files_and_says_which_is_which(tmp_path, key_type):
    done = gate("keygen", tmp_path / "my key", "--type", key_type)
    assert (done.returncode, done.stderr) == (0, "")
    private, public, key_id = done.stdout.splitlines()
    assert private == f"private key: {tmp_path / 'my key'}"
    assert public == f"public key: {tmp_path / 'my key.pub'}"
    assert len(key_id.removeprefix("key id: ")) == 64
    assert stat.S_IMODE((tmp_path / "my key").stat().st_mode) == 0o600


def test_keygen_of_an_unknown_type_is_wrong_usage(tmp_path):
    done = gate("keygen", tmp_path / "key", "--type", "rsa")
    assert done.returncode == 2
    assert "--type: no 'rsa'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_keygen_overwrites_nothing(tmp_path):
    (tmp_path / "key").write_text("mine")
    done = gate("keygen", tmp_path / "key")
    assert done.returncode == 2
    assert "key is there already" in done.stderr
    assert (tmp_path / "key").read_text() == "mine"


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa"])
def test_keygen_on_a_full_disk_leaves_no_half_of_a_key(tmp_path, key_type):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))

    done = gate("keygen", tmp_path / "key", "--type", key_type, preexec=little_room)
    assert done.returncode == 3
    assert f"cannot write {tmp_path / 'key'}: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_verified_release_is_told_in_lines(release, pair):
    done = gate("verify", release.folder, "--key", pair.public)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("verified: support-bot-v3 q8_0, 9 files, ")
    assert last == f"signature: by the key {pair.key_id}"


def test_each_fault_is_a_line_and_the_status_is_1(release, pair):
    (release.folder / "config.json").write_text("{}")
    (release.folder / "added.bin").write_text("")
    done = gate("verify", release.folder, "--key", pair.public)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "fault: added.bin was added\n"
        "fault: config.json was changed: it has 2 bytes, not 24\n"
        f"not verified: {release.folder}\n"
    )


def test_a_fault_that_a_record_breaks_into_lines_is_told_on_one(release):
    record = release.folder / "mergegate" / "record.json"
    content = json.loads(record.read_text())
    content["adapters"] = {"x\nverified: all of it": {}}
    record.write_text(json.dumps(content))
    done = gate("verify", release.folder)
    assert done.returncode == 1
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {
        "fault",
        "not verified",
    }
    assert "adapters.x verified: all of it." in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_wrong_usage_and_named(release):
    (release.folder / "config.json").chmod(0)
    done = gate("verify", release.folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"gate: cannot read {release.folder / 'config.json'}: Permission denied\n"
        "  hint: nothing was verified: every file has to be readable\n"
    )


def test_another_policy_is_a_fault_and_what_is_none_is_wrong_usage(release):
    assert gate("verify", release.folder, "--policy", "0" * 64).returncode == 1
    done = gate("verify", release.folder, "--policy", "core")
    assert done.returncode == 2
    assert "--policy core: no content id" in done.stderr


def test_a_missing_key_or_folder_is_wrong_usage(release, tmp_path):
    done = gate("verify", release.folder, "--key", tmp_path / "none.pub")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot read the key" in done.stderr
    assert gate("verify", tmp_path / "none").returncode == 2
