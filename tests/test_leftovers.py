"""What clients leave beside a downloaded release: a fault that says how to be rid of it."""

import pytest
from staged_release import ARTIFACT, staged

from gate.releasing.manifest import manifest_faults, write_manifest


@pytest.fixture
def release(tmp_path):
    folder = staged(tmp_path / "v3").folder
    write_manifest(folder, ARTIFACT)
    return folder


def add(release, *paths):
    for path in paths:
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_text("")


def test_what_hf_download_leaves_is_named_once_with_the_way_out(release):
    add(
        release,
        ".cache/huggingface/.gitignore",
        ".cache/huggingface/download/config.json.metadata",
        ".cache/huggingface/download/notes/x.lock",
        ".gitattributes",
    )
    assert manifest_faults(release) == (
        ".cache/huggingface was added by hf download, for itself: remove .cache, then verify again",
        ".gitattributes was added by the Hub: remove it, or download with --exclude "
        ".gitattributes, then verify again",
    )


def test_what_a_clone_leaves_is_named_once_with_the_way_out(release):
    add(release, ".git/HEAD", ".git/objects/pack/a.pack")
    assert manifest_faults(release) == (
        ".git was added by git clone: remove it, then verify again",
    )


def test_what_only_looks_like_it_is_named_file_by_file(release):
    add(release, ".cache/other", ".gitignore", "notes/.git/HEAD", ".cache/huggingface.py")
    assert manifest_faults(release) == (
        ".cache/huggingface.py was added",
        ".cache/other was added",
        ".gitignore was added",
        "notes/.git/HEAD was added",
    )


def test_what_was_published_under_such_a_name_is_a_file_like_any_other(tmp_path):
    folder = staged(tmp_path / "v3", **{".gitattributes": b"* text"}).folder
    write_manifest(folder, (*ARTIFACT, ".gitattributes"))
    assert manifest_faults(folder) == ()
    (folder / ".gitattributes").unlink()
    assert manifest_faults(folder) == (".gitattributes is missing",)
