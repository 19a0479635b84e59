"""Promoting from a run's directory to a Hub on this machine: the whole way, and once more."""

from datetime import date

import pytest
from promotable import FILES, promotable, write_files
from test_publisher_hub import NAME, TARGET, hub

from gate.releasing.keys import write_key_pair
from gate.releasing.promotion import promote
from gate.releasing.verification import verify

__all__ = ["hub"]

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TODAY = date(2026, 12, 1)


def test_what_stands_under_the_tag_is_verified_and_again_nothing_is_committed(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = promotable(tmp_path / "desk")
    key = write_key_pair(tmp_path / "key", key_type="ecdsa")
    done = promote(run.run, to=TARGET, today=TODAY, key=key.private)
    tag = "support-bot-v3-q8_0"
    assert (done.refusals, done.published.place) == ((), f"{TARGET}@{tag}")
    files = hub.files(NAME, tag)
    assert {path: files[path] for path in FILES} == FILES
    downloaded = write_files(tmp_path / "downloaded", files)
    assert verify(downloaded, key=key.public, policy=None, today=TODAY) == ()
    commits = list(hub.repositories[NAME].commits)
    promote(run.run, to=TARGET, today=TODAY, key=key.private)
    assert list(hub.repositories[NAME].commits) == commits


def test_what_is_put_together_for_a_registry_is_cleared_away(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    promote(promotable(tmp_path / "desk").run, to=TARGET, today=TODAY)
    promotions = tmp_path / "cache" / "mergegate" / "promotions"
    assert [path.name for path in promotions.rglob("*") if path.is_file()] == ["lock"]
