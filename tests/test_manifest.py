"""The manifest of a release: what it lists, every difference it names, what it refuses."""

import json
import os

import pytest
from staged_release import ARTIFACT, EVIDENCE, staged

from gate.errors import RecordError, SourceError
from gate.releasing.manifest import (
    Manifest,
    manifest_faults,
    read_manifest,
    write_manifest,
)
from gate.releasing.release import ENVELOPE_FILE, MANIFEST_FILE
from gate.releasing.tree import path_fault, read_tree


@pytest.fixture
def release(tmp_path):
    """A folder with its manifest."""
    staged(tmp_path / "release")
    write_manifest(tmp_path / "release", ARTIFACT)
    return tmp_path / "release"


def rewritten(release, change):
    """Change the manifest's JSON by hand."""
    content = json.loads((release / MANIFEST_FILE).read_text())
    change(content)
    (release / MANIFEST_FILE).write_text(json.dumps(content))


def test_every_file_is_listed_on_its_side(release):
    manifest = read_manifest(release)
    assert set(manifest.artifact) == set(ARTIFACT)
    assert set(manifest.evidence) == set(EVIDENCE)
    assert manifest.files["empty.txt"].size_bytes == 0
    assert manifest_faults(release) == ()


def test_the_artifact_has_the_content_id_that_the_record_knows_it_by(tmp_path):
    made = staged(tmp_path)
    assert write_manifest(tmp_path, ARTIFACT).artifact_digest == made.digest


def test_the_signed_statement_is_not_listed(release):
    (release / ENVELOPE_FILE).write_text("{}")
    assert write_manifest(release, ARTIFACT) == read_manifest(release)
    assert manifest_faults(release) == ()


@pytest.mark.parametrize("path", [*ARTIFACT, *EVIDENCE])
def test_a_removed_file_is_named(release, path):
    (release / path).unlink()
    assert manifest_faults(release) == (f"{path} is missing",)


@pytest.mark.parametrize("path", [*ARTIFACT, *EVIDENCE])
def test_a_flipped_bit_is_named(release, path):
    file = release / path
    for at in range(file.stat().st_size):
        content = bytearray(file.read_bytes())
        content[at] ^= 1 << at % 8
        file.write_bytes(content)
        assert manifest_faults(release) == (
            f"{path} was changed: its SHA-256 is not the one in mergegate/manifest.json",
        )
        content[at] ^= 1 << at % 8
        file.write_bytes(content)


def test_a_file_of_another_length_is_named(release):
    (release / "empty.txt").write_text("x")
    assert manifest_faults(release) == ("empty.txt was changed: it has 1 byte, not 0",)


@pytest.mark.parametrize("path", ["model.py", "mergegate/more.json", "notes/.hidden"])
def test_an_added_file_is_named(release, path):
    (release / path).write_text("x")
    assert manifest_faults(release) == (f"{path} was added",)


def test_a_name_that_could_not_be_told_is_quoted(release):
    (release / "two\nlines").write_text("x")
    (release / " ").write_text("x")
    (release / "\u202efdp.exe").write_text("x")
    assert manifest_faults(release) == (
        "' ' was added",
        "'two\\nlines' was added",
        "'\\u202efdp.exe' was added",
    )


def test_every_fault_is_named_at_once(release):
    (release / "config.json").unlink()
    (release / "model.safetensors").write_bytes(b"")
    (release / "new.bin").write_bytes(b"")
    assert manifest_faults(release) == (
        "new.bin was added",
        "config.json is missing",
        "model.safetensors was changed: it has 0 bytes, not 18",
    )


def test_a_file_that_became_a_link_is_named_once(release):
    (release / "config.json").rename(release.parent / "config.json")
    (release / "config.json").symlink_to(release.parent / "config.json")
    assert manifest_faults(release) == ("config.json is a symbolic link",)


def test_a_folder_that_became_a_link_is_not_followed(release):
    (release / "notes").rename(release.parent / "notes")
    (release / "notes").symlink_to(release.parent / "notes")
    assert manifest_faults(release) == (
        "notes is a symbolic link",
        "notes/Gr\u00f6\u00dfe.txt is missing",
    )


def test_the_release_itself_may_be_reached_by_a_link(release):
    (release.parent / "current").symlink_to(release)
    assert manifest_faults(release.parent / "current") == ()


def test_a_pipe_is_named_and_not_read(release):
    os.mkfifo(release / "pipe")
    assert manifest_faults(release) == ("pipe is not a plain file",)


def test_a_link_in_what_is_to_be_released_is_refused_by_name(tmp_path):
    staged(tmp_path)
    (tmp_path / "secret").symlink_to("/etc/passwd")
    with pytest.raises(SourceError, match="cannot be released: secret is a symbolic link"):
        write_manifest(tmp_path, ARTIFACT)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    staged(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    with pytest.raises(SourceError, match=r"'caf\\udce9' has a name that is not UTF-8"):
        write_manifest(tmp_path, ARTIFACT)


def test_an_artifact_with_a_missing_file_is_refused(tmp_path):
    staged(tmp_path)
    with pytest.raises(SourceError, match=r"cannot be released: gone\.bin is missing"):
        write_manifest(tmp_path, [*ARTIFACT, "gone.bin"])


def test_an_artifact_cannot_bring_evidence(tmp_path):
    staged(tmp_path, **{"Mergegate/record.json": b"{}"})
    with pytest.raises(SourceError, match=r"its artifact has Mergegate/record\.json"):
        write_manifest(tmp_path, [*ARTIFACT, "Mergegate/record.json"])


def test_a_release_has_an_artifact(tmp_path):
    staged(tmp_path)
    with pytest.raises(SourceError, match="it has no file of an artifact"):
        write_manifest(tmp_path, [])


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("../outside", "leads out of the release"),
        ("/etc/passwd", "leads out of the release"),
        ("a/../../b", "leads out of the release"),
        ("", "leads out of the release"),
        ("a//b", "is written in a way that has a shorter one"),
        ("./a", "is written in a way that has a shorter one"),
        ("..\\outside", "has a character in its name that is a separator elsewhere"),
        ("C:evil", "has a character in its name that is a separator elsewhere"),
    ],
)
def test_a_manifest_that_lists_a_path_no_release_has_is_refused(release, path, fault):
    rewritten(release, lambda content: content["artifact"].update({path: entry()}))
    with pytest.raises(RecordError, match=f"is no manifest: .*{fault}"):
        read_manifest(release)


def entry():
    return {"sha256": "0" * 64, "size_bytes": 0}


@pytest.mark.parametrize("path", ["config.json", "notes/Gr\u00f6\u00dfe.txt", "a b/.c", "a..b"])
def test_names_with_spaces_dots_and_letters_of_every_script_are_fine(path):
    assert path_fault(path) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(artifact={}), "it lists no file of an artifact"),
        (
            lambda content: content["evidence"].update({"config.json": entry()}),
            "config.json is not the artifact's",
        ),
        (
            lambda content: content["artifact"].update({"mergegate/x": entry()}),
            "mergegate/x is not the artifact's",
        ),
        (
            lambda content: content["evidence"].update({MANIFEST_FILE: entry()}),
            "mergegate/manifest.json cannot list itself",
        ),
        (
            lambda content: content["evidence"].update({ENVELOPE_FILE: entry()}),
            "mergegate/statement.dsse.json cannot list itself",
        ),
        (lambda content: content["artifact"].update({"x": {"sha256": "0"}}), "artifact.x.sha256"),
        (lambda content: content.update(more=1), "more: Extra inputs"),
        (lambda content: content.update(schema_version=2), "is of version 2, and this gate reads"),
    ],
)
def test_a_manifest_that_is_none_is_a_fault_that_says_why(release, change, said):
    rewritten(release, change)
    (fault,) = manifest_faults(release)
    assert fault.startswith("mergegate/manifest.json is ")
    assert said in fault


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_manifest_that_is_not_json_of_the_right_form_is_a_fault(release, content):
    (release / MANIFEST_FILE).write_text(content)
    (fault,) = manifest_faults(release)
    assert fault.startswith("mergegate/manifest.json is no manifest: ")


def test_a_missing_manifest_is_a_fault(release):
    (release / MANIFEST_FILE).unlink()
    assert manifest_faults(release) == ("mergegate/manifest.json is missing",)


def test_the_same_release_has_the_same_manifest_byte_for_byte(release):
    before = (release / MANIFEST_FILE).read_bytes()
    write_manifest(release, tuple(reversed(ARTIFACT)))
    assert (release / MANIFEST_FILE).read_bytes() == before
    assert isinstance(read_manifest(release), Manifest)


def test_what_is_refused_of_a_tree_is_not_among_its_files(release):
    (release / "link").symlink_to("config.json")
    assert "link" not in read_tree(release).files
