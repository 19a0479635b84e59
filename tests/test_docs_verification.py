"""docs/promotion.md is true of verification: its script and OpenSSL find what the gate finds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from signed_release import released

from gate.releasing.keys import KEY_TYPES, write_key_pair

PAGE = (Path(__file__).parent.parent / "docs" / "promotion.md").read_text(encoding="utf-8")
BY_HAND = PAGE.partition("## Verify it by hand")[2]


@pytest.fixture(params=KEY_TYPES)
def release(request, tmp_path):
    """A release beside its public key, as on the page."""
    pair = write_key_pair(tmp_path / "release.key", key_type=request.param)
    return released(tmp_path / "releases" / "current", key=pair.private)


def by_hand(folder):
    """The lines that the page's script prints, with Python alone."""
    script = re.findall(r"```python\n(.*?)```", BY_HAND, re.DOTALL)[0]
    place = folder.parent.parent
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder)],
        cwd=place,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PYTHONUTF8": "1"},
        check=True,
    )
    return done.stdout.splitlines()


def openssl(place):
    command = re.findall(r"^\$ (openssl pkeyutl.*)$", BY_HAND, re.MULTILINE)[0].split()
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_the_script_finds_the_content_id_that_was_judged(release):
    assert by_hand(release.folder) == [
        f"content id of the artifact: {release.manifest.artifact_digest}"
    ]


def test_the_script_names_what_is_not_as_it_was_signed(release):
    (release.folder / "config.json").write_text("{}")
    (release.folder / "notes" / "statement.dsse.json").write_text("{}")
    (release.folder / "README.md").unlink()
    assert by_hand(release.folder)[:-1] == [
        "not as it was signed: README.md",
        "not as it was signed: config.json",
        "not as it was signed: notes/statement.dsse.json",
    ]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_what_the_script_took_out(release):
    place = release.folder.parent.parent
    by_hand(release.folder)
    assert openssl(place).stdout.strip() == "Signature Verified Successfully"
    (place / "signed.bin").write_bytes((place / "signed.bin").read_bytes() + b" ")
    assert openssl(place).returncode == 1
