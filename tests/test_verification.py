"""gate verify's rules: every byte, every way to swap or edit a part, and every day that is over."""

import json
import shutil
from datetime import date

import pytest
from signed_release import VARIANT, released, reseal
from staged_release import ARTIFACT
from test_standing import sign, waive
from test_statement import warned

from gate.errors import ConfigError
from gate.releasing.keys import write_key_pair
from gate.releasing.manifest import write_manifest
from gate.releasing.release import ADAPTERS_FOLDER, ENVELOPE_FILE, MANIFEST_FILE, RECORD_FILE
from gate.releasing.verification import description, verify

TODAY = date(2026, 11, 23)
AFTER_THE_YEAR = date(2027, 1, 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_key_pair(tmp_path_factory.mktemp("keys") / "release.key", key_type="ed25519")


@pytest.fixture(scope="module")
def original(tmp_path_factory, pair):
    return released(tmp_path_factory.mktemp("releases") / "v3", key=pair.private)


@pytest.fixture
def release(original, tmp_path):
    """A copy of a signed release, to be tampered with."""
    return original._replace(folder=shutil.copytree(original.folder, tmp_path / "v3"))


def faults(folder, pair=None, *, policy=None, today=TODAY):
    return verify(folder, key=pair and pair.public, policy=policy, today=today)


def edit(release, change):
    """Change the record's JSON by hand."""
    content = json.loads((release.folder / RECORD_FILE).read_text())
    change(content)
    (release.folder / RECORD_FILE).write_text(json.dumps(content))


def test_a_release_as_it_was_made_is_verified(release, pair):
    assert faults(release.folder, pair) == ()
    assert faults(release.folder) == ()
    assert faults(release.folder, pair, policy=release.record.policy.digest) == ()


def test_a_release_without_a_signature_is_verified_where_none_is_asked_for(tmp_path, pair):
    made = released(tmp_path / "v3")
    assert faults(made.folder) == ()
    assert faults(made.folder, pair) == (
        "mergegate/statement.dsse.json is missing: the release is not signed",
    )


def test_one_changed_byte_in_any_file_is_named(release, pair):
    for path in (*release.manifest.files, MANIFEST_FILE, ENVELOPE_FILE):
        file = release.folder / path
        content = file.read_bytes()
        for at in {0, len(content) // 2, len(content) - 1} if content else ():
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            found = faults(release.folder, pair)
            assert any(path in fault for fault in found), (path, at, found)
        file.write_bytes(content)
    assert faults(release.folder, pair) == ()


@pytest.mark.parametrize("path", [*ARTIFACT, "README.md", RECORD_FILE, MANIFEST_FILE])
def test_a_removed_file_is_named(release, pair, path):
    (release.folder / path).unlink()
    assert f"{path} is missing" in faults(release.folder, pair)


@pytest.mark.parametrize("path", ["model-00002.safetensors", "mergegate/adapters/x/y", "notes/a"])
def test_an_added_file_is_named(release, pair, path):
    (release.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (release.folder / path).write_text("x")
    assert faults(release.folder, pair) == (f"{path} was added",)


@pytest.mark.parametrize("path", ["config.json", RECORD_FILE, MANIFEST_FILE, ENVELOPE_FILE])
def test_a_link_in_the_place_of_a_file_is_named(release, pair, path):
    file = release.folder / path
    file.rename(release.folder.parent / file.name)
    file.symlink_to(release.folder.parent / file.name)
    assert f"{path} is a symbolic link" in faults(release.folder, pair)


def test_a_changed_file_with_a_manifest_to_match_is_not_what_was_signed_or_judged(release, pair):
    (release.folder / "model.safetensors").write_bytes(b"other weights")
    write_manifest(release.folder, ARTIFACT)
    found = faults(release.folder, pair)
    assert "model.safetensors is not the one that was signed" in found
    assert "mergegate/manifest.json is not the one that was signed" in found
    assert any(fault.startswith("mergegate/record.json did not judge these") for fault in found)


def test_a_file_that_was_added_to_the_manifest_too_was_not_signed(release, pair):
    (release.folder / "more.json").write_text("{}")
    write_manifest(release.folder, ARTIFACT)
    assert "more.json was not signed" in faults(release.folder, pair)


def test_a_file_that_was_taken_out_of_the_manifest_too_was_signed(release, pair):
    (release.folder / "README.md").unlink()
    write_manifest(release.folder, ARTIFACT)
    assert "README.md was signed, and is not in the manifest" in faults(release.folder, pair)


def test_a_swapped_record_did_not_judge_these_files(tmp_path):
    made = released(tmp_path / "v3")
    edit(made, lambda content: content["artifacts"][1].update(digest="0" * 64))
    reseal(made.folder, made.record)
    assert faults(made.folder) == (
        "mergegate/record.json did not judge these files: no artifact of support-bot-v3 "
        f"has the content id {made.manifest.artifact_digest}",
    )


def test_an_edited_record_breaks_the_chain_of_its_sign_offs(tmp_path):
    made = released(tmp_path / "v3", change=sign)
    assert faults(made.folder) == ()
    edit(made, lambda content: content.update(suite="another"))
    reseal(made.folder, made.record)
    assert faults(made.folder) == (
        "sign-off 1 (approve by Ada) was given for another content: the record was changed since, "
        "or is another one",
    )


def test_a_verdict_that_does_not_promote_is_named(tmp_path):
    made = released(tmp_path / "v3")
    edit(made, lambda content: content["verdicts"][0].update(verdict="block", reasons=["too low"]))
    reseal(made.folder, made.record)
    assert faults(made.folder) == ("the verdict on q8_0 is block: too low",)


def test_a_pass_that_its_own_interval_denies_is_named(tmp_path):
    made = released(tmp_path / "v3")
    edit(made, lambda content: content["results"][0]["estimate"].update(low=-0.9))
    reseal(made.folder, made.record)
    (fault,) = faults(made.folder)
    assert fault.endswith("said to have passed, and its interval does not lie within its bound")


def test_a_record_that_cannot_be_read_is_a_fault(tmp_path):
    made = released(tmp_path / "v3")
    (made.folder / RECORD_FILE).write_text('{"schema_version": 1}')
    reseal(made.folder, made.record)
    (fault,) = faults(made.folder)
    assert "record.json is not a record: " in fault


def test_another_policy_than_the_expected_is_named(release, pair):
    expected = "0" * 64
    assert faults(release.folder, pair, policy=expected) == (
        f"judged by the policy {release.record.policy.digest}, not by {expected}",
    )


def test_what_a_record_breaks_into_lines_is_told_on_one(tmp_path):
    def forged(record):
        policy = record.policy.model_copy(update={"digest": "x\nsignature: by the key y"})
        return record.model_copy(update={"policy": policy})

    made = released(tmp_path / "v3", change=forged)
    assert "policy: x signature: by the key y" in description(made.folder, key=None).splitlines()
    assert faults(made.folder, policy="0" * 64) == (
        f"judged by the policy x signature: by the key y, not by {'0' * 64}",
    )


def test_a_record_without_a_policy_is_not_by_the_expected_one(tmp_path):
    made = released(
        tmp_path / "v3", change=lambda record: record.model_copy(update={"policy": None})
    )
    assert faults(made.folder, policy="0" * 64) == (
        "mergegate/record.json does not tell by which policy it was judged",
    )


def test_a_waiver_that_ended_is_named_from_then_on(tmp_path, pair):
    made = released(tmp_path / "v3", key=pair.private, change=lambda record: waive(warned(record)))
    assert faults(made.folder, pair) == ()
    (fault,) = faults(made.folder, pair, today=AFTER_THE_YEAR)
    assert fault.endswith("by Ada ended on 2026-12-31")


def test_a_rejected_release_is_named(tmp_path):
    made = released(tmp_path / "v3", change=lambda record: sign(record, decision="reject"))
    assert faults(made.folder) == ("rejected by Ada: so says Ada",)


def test_an_archived_adapter_that_is_not_the_one_that_was_merged_is_named(tmp_path):
    made = released(tmp_path / "v3")
    path = f"{ADAPTERS_FOLDER}/intents/adapter_model.safetensors"
    (made.folder / path).write_bytes(b"another adapter")
    reseal(made.folder, made.record)
    assert faults(made.folder) == (f"{path} is not the adapter's that was merged",)


def test_variants_that_share_their_files_are_told_apart_by_what_was_signed(tmp_path, pair):
    def twin(record):
        shared = next(one for one in record.artifacts if one.variant == VARIANT)
        return record.model_copy(
            update={
                "artifacts": (shared.model_copy(update={"variant": "merged"}), *record.artifacts)
            }
        )

    made = released(tmp_path / "v3", change=twin)
    assert faults(made.folder) == ()
    reseal(made.folder, made.record, key=pair.private, variant="merged")
    assert "merged was not up for release" in faults(made.folder, pair)


def test_a_folder_that_is_no_release_says_so(tmp_path):
    assert faults(tmp_path) == ("mergegate/manifest.json is missing",)


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        faults(tmp_path / "none")


def test_the_link_to_the_current_release_can_be_verified(release, pair):
    link = release.folder.parent / "current"
    link.symlink_to(release.folder)
    assert faults(link, pair) == ()


def test_the_description_says_what_was_verified_and_what_was_not(release, pair):
    told = description(release.folder, key=pair.public).splitlines()
    assert told[0].startswith("verified: support-bot-v3 q8_0, 9 files, ")
    assert told[1] == f"content id: {release.manifest.artifact_digest}"
    assert told[-1] == f"signature: by the key {pair.key_id}"
    unchecked = description(release.folder, key=None).splitlines()[-1]
    assert unchecked.startswith(f"signature: NOT CHECKED, said to be by {pair.key_id}")
    (release.folder / ENVELOPE_FILE).unlink()
    assert "signature: none: whoever can write" in description(release.folder, key=None)
