"""Publishing into a directory: whole under its name or absent, and current last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from staged_release import ARTIFACT, contents, staged

from gate.errors import ConfigError, PublishError
from gate.publishers.directory import publish
from gate.releasing.manifest import write_manifest
from gate.releasing.release import ENVELOPE_FILE, Published
from gate.releasing.targets import current, releases
from gate.store import StageCost, Store
from gate.terms import Stage, Use


def made(folder, *, name="v3", **files):
    """A release with its manifest; `files` are further ones of the artifact."""
    folder.mkdir(parents=True)
    release = staged(folder, name=name, **files)
    write_manifest(folder, {**ARTIFACT, **files})
    return release


def sign(release, key_id):
    """A stand-in for a signature: what tells two releases of the same files apart."""
    envelope = {"signatures": [{"keyid": key_id, "sig": ""}]}
    (release.folder / ENVELOPE_FILE).write_text(json.dumps(envelope))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "releases"


def test_a_release_lies_under_its_name_byte_for_byte_and_is_current(tmp_path, target):
    release = made(tmp_path / "staged")
    assert publish(release, str(target)) == Published(str(target / "v3-q8_0"), before=None)
    assert contents(target / "v3-q8_0") == contents(release.folder)
    assert os.readlink(target / "current") == "v3-q8_0"


def test_it_can_be_read_by_others_and_not_written(tmp_path, target):
    release = made(tmp_path / "staged")
    release.folder.chmod(0o700)
    publish(release, str(target))
    modes = {path.stat().st_mode & 0o777 for path in (target / "v3-q8_0").rglob("*")}
    assert modes == {0o755, 0o644}
    assert (target / "v3-q8_0").stat().st_mode & 0o777 == 0o755


def test_a_second_release_becomes_current_and_the_first_is_kept(tmp_path, target):
    publish(made(tmp_path / "first", name="v3"), str(target))
    before = contents(target / "v3-q8_0")
    second = publish(made(tmp_path / "second", name="v4"), str(target))
    assert second.before == "v3-q8_0"
    assert contents(target / "v3-q8_0") == before
    assert current(target) == "v4-q8_0"


def test_the_same_release_again_changes_nothing(tmp_path, target):
    publish(made(tmp_path / "staged"), str(target))
    place = (target / "v3-q8_0").stat()
    assert publish(made(tmp_path / "again"), str(target)).before == "v3-q8_0"
    assert (target / "v3-q8_0").stat().st_ino == place.st_ino


def test_another_release_of_the_same_name_is_refused_and_nothing_changes(tmp_path, target):
    publish(made(tmp_path / "staged"), str(target))
    before = contents(target)
    with pytest.raises(PublishError) as caught:
        publish(made(tmp_path / "other", more=b"x"), str(target))
    assert str(caught.value) == (
        f"{target / 'v3-q8_0'} is there already, with another content or signature\n"
        "  hint: a release is never replaced: give this one a name of its own in gate.yaml"
    )
    assert contents(target) == before


def test_a_release_of_the_same_name_with_a_flipped_byte_does_not_become_current(tmp_path, target):
    publish(made(tmp_path / "first", name="v3"), str(target))
    publish(made(tmp_path / "second", name="v4"), str(target))
    (target / "v3-q8_0" / "model.safetensors").write_bytes(b"weights, as judgeD")
    (target / "v3-q8_0" / "added").write_bytes(b"")
    with pytest.raises(PublishError) as caught:
        publish(made(tmp_path / "again", name="v3"), str(target))
    assert str(caught.value) == (
        f"{target / 'v3-q8_0'} is damaged: added was added, and 1 more fault\n"
        "  hint: gate verify names every fault; move the folder away, then promote again"
    )
    assert current(target) == "v4-q8_0"


def test_a_signature_that_was_changed_in_its_place_is_noticed(tmp_path, target):
    release = made(tmp_path / "staged")
    sign(release, "ada")
    publish(release, str(target))
    envelope = {"signatures": [{"keyid": "ada", "sig": "forged"}]}
    (target / "v3-q8_0" / ENVELOPE_FILE).write_text(json.dumps(envelope))
    again = made(tmp_path / "again")
    sign(again, "ada")
    with pytest.raises(PublishError, match="with another content or signature"):
        publish(again, str(target))


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("gone")])
def test_what_has_the_name_of_a_release_and_is_none_is_told_and_stays(tmp_path, target, make):
    publish(made(tmp_path / "first", name="v3"), str(target))
    make(target / "v4-q8_0")
    with pytest.raises(PublishError, match="v4-q8_0 is there already, and is no release") as caught:
        publish(made(tmp_path / "second", name="v4"), str(target))
    assert caught.value.hint == "find out what it is and move it away, then promote again"
    assert os.path.lexists(target / "v4-q8_0")
    assert current(target) == "v3-q8_0"


@pytest.fixture
def store(tmp_path):
    """The store of a gate that has run, with one finished stage."""
    kept = Store(tmp_path / "store")
    stage = Stage(kind="merge", use=Use(name="stream"), inputs={}, code="c0", packages={})
    with kept.lock(on_wait=print):
        (kept.workspace(stage) / "output" / "weights").write_text("w")
        kept.commit(stage, label="merge merged", cost=StageCost(seconds=1, peak_memory_bytes=1))
    return kept.root


@pytest.mark.parametrize("place", [".", "releases", "merge/deep/releases"])
def test_a_directory_in_a_store_is_refused_by_name_and_nothing_is_made(tmp_path, store, place):
    before = sorted(store.rglob("*"))
    with pytest.raises(ConfigError) as caught:
        publish(made(tmp_path / "staged"), str(store / place))
    where = "is" if place == "." else "lies inside"
    assert str(caught.value) == (
        f"{store / place} {where} the store {store}\n"
        "  hint: nothing may be added there: give a directory of its own, outside it"
    )
    assert sorted(store.rglob("*")) == before


def test_a_directory_in_a_store_is_refused_by_whatever_link_it_is_reached(tmp_path, store):
    (tmp_path / "link").symlink_to(store)
    with pytest.raises(ConfigError, match=f"link/releases lies inside the store {store}"):
        publish(made(tmp_path / "staged"), str(tmp_path / "link" / "releases"))


def test_a_directory_with_a_store_in_it_is_refused(tmp_path, store):
    with pytest.raises(ConfigError, match="is not empty, and not a directory of releases"):
        publish(made(tmp_path / "staged"), str(store.parent))


def test_a_release_is_no_directory_for_releases(tmp_path, target):
    publish(made(tmp_path / "first", name="v3"), str(target))
    before = contents(target)
    second = made(tmp_path / "second", name="v4")
    with pytest.raises(ConfigError, match=f"current is the release {target / 'v3-q8_0'}"):
        publish(second, str(target / "current"))
    with pytest.raises(ConfigError, match=f"x lies inside the release {target / 'v3-q8_0'}"):
        publish(second, str(target / "v3-q8_0" / "x"))
    with pytest.raises(ConfigError, match=f"x is where promotions to {target} work"):
        publish(second, str(target / ".mergegate" / "x"))
    assert contents(target) == before


def test_the_same_files_signed_by_another_key_are_another_release(tmp_path, target):
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    sign(first, "ada")
    sign(second, "grace")
    publish(first, str(target))
    with pytest.raises(PublishError, match="with another content or signature"):
        publish(second, str(target))


def test_a_damaged_release_of_the_same_name_is_named(tmp_path, target):
    publish(made(tmp_path / "staged"), str(target))
    (target / "v3-q8_0" / "mergegate" / "manifest.json").write_text("{")
    with pytest.raises(PublishError, match=r"v3-q8_0 is damaged: mergegate/manifest\.json"):
        publish(made(tmp_path / "again"), str(target))


def test_a_directory_with_anything_else_in_it_is_refused_and_left_alone(tmp_path, target):
    target.mkdir()
    (target / "thesis.tex").write_text("chapter 1")
    with pytest.raises(ConfigError) as caught:
        publish(made(tmp_path / "staged"), str(target))
    assert str(caught.value) == (
        f"{target} is not empty, and not a directory of releases: it has thesis.tex\n"
        "  hint: give a directory of its own, which need not be there yet"
    )
    assert contents(target) == {"thesis.tex": b"chapter 1"}


def test_releases_that_were_moved_to_a_new_place_are_known_as_such(tmp_path, target):
    publish(made(tmp_path / "first", name="v3"), str(target))
    (tmp_path / "moved").mkdir()
    (target / "v3-q8_0").rename(tmp_path / "moved" / "v3-q8_0")
    publish(made(tmp_path / "second", name="v4"), str(tmp_path / "moved"))
    assert releases(tmp_path / "moved") == ("v3-q8_0", "v4-q8_0")


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path, target):
    target.write_text("")
    with pytest.raises(ConfigError, match="releases is not a directory"):
        publish(made(tmp_path / "staged"), str(target))


def test_a_folder_in_the_place_of_the_link_is_refused_before_anything_is_written(tmp_path, target):
    (target / "current").mkdir(parents=True)
    with pytest.raises(ConfigError, match="current is not a link"):
        publish(made(tmp_path / "staged"), str(target))
    assert os.listdir(target) == ["current"]


def test_a_link_that_leads_elsewhere_is_not_taken_over(tmp_path, target):
    target.mkdir()
    (target / "current").symlink_to("/srv/models/live")
    with pytest.raises(ConfigError, match="current leads to /srv/models/live, out of this"):
        publish(made(tmp_path / "staged"), str(target))
    assert os.readlink(target / "current") == "/srv/models/live"


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError) as caught:
        publish(made(tmp_path / "staged"), str(tmp_path / "file" / "releases"))
    assert str(caught.value).startswith(
        f"{tmp_path / 'file' / 'releases'} cannot be written: Not a"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_is_named(tmp_path, target):
    target.mkdir(mode=0o555)
    with pytest.raises(PublishError, match="cannot be written: Permission denied"):
        publish(made(tmp_path / "staged"), str(target))


def test_a_link_that_cannot_be_switched_is_told_and_the_same_again_mends_it(tmp_path, target):
    publish(made(tmp_path / "first", name="v3"), str(target))
    (target / ".mergegate" / "current").mkdir()
    with pytest.raises(PublishError) as caught:
        publish(made(tmp_path / "second", name="v4"), str(target))
    assert str(caught.value).startswith(
        f"{target / 'v4-q8_0'} is in its place, but current is still v3-q8_0: "
    )
    assert current(target) == "v3-q8_0"
    (target / ".mergegate" / "current").rmdir()
    assert publish(made(tmp_path / "again", name="v4"), str(target)).before == "v3-q8_0"
    assert current(target) == "v4-q8_0"


SWITCHING = """
import os, sys
from pathlib import Path
from gate.releasing.targets import switch

target = Path(sys.argv[1])

def look(event, arguments):
    if event in ("os.remove", "os.rename"):
        print(os.readlink(target / "current"))

sys.addaudithook(look)
switch(target, "v3-q8_0", by="promote")
"""
"""Switches, and tells what is current before each step that removes or renames anything."""


def test_while_it_is_switched_there_is_never_a_moment_without_a_current_release(tmp_path, target):
    for name in ("v3", "v4"):
        publish(made(tmp_path / name, name=name), str(target))
    done = subprocess.run(
        [sys.executable, "-c", SWITCHING, str(target)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"v4-q8_0"}
    assert current(target) == "v3-q8_0"


def test_what_a_crash_left_is_cleared_away(tmp_path, target):
    left = target / ".mergegate" / "incoming" / "model.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of th")
    publish(made(tmp_path / "staged"), str(target))
    assert not left.parent.exists()
    assert contents(target / "v3-q8_0")["model.safetensors"] == ARTIFACT["model.safetensors"]


def test_a_name_that_leads_out_of_the_directory_stays_inside(tmp_path, target):
    publish(made(tmp_path / "staged", name="../../evil"), str(target))
    (name,) = releases(target)
    assert name.startswith("..-..-evil-q8_0-")
    assert sorted(os.listdir(tmp_path)) == ["releases", "staged"]
