"""Publishing into a directory: whole under its name or absent, and current last."""

import json
import os

import pytest
from staged_release import ARTIFACT, contents, staged

from gate.errors import ConfigError, PublishError
from gate.publishers.directory import publish
from gate.releasing.manifest import write_manifest
from gate.releasing.release import ENVELOPE_FILE, Published
from gate.releasing.targets import current, releases


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
