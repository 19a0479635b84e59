"""Promoting from a run's directory: what is published, what is refused, what a failure leaves."""

import os
import resource
import subprocess
import sys
from datetime import date

import pytest
from promotable import ADAPTER, FILES, NAME, VARIANT, promotable, write_files
from staged_release import contents

from gate.errors import ConfigError, PublishError, RecordError
from gate.releasing.keys import write_key_pair
from gate.releasing.promotion import promote
from gate.releasing.turns import taking_turns
from gate.releasing.verification import verify

TODAY = date(2026, 12, 1)
COMMAND = [sys.executable, "-c", "from gate.cli import main; main()"]


@pytest.fixture
def run(tmp_path):
    return promotable(tmp_path)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "releases"


def gate(*arguments, preexec=None):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=preexec,
    )


def publish(run, target, **options):
    return promote(run.run, to=str(target), today=TODAY, **options)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A release that was published, signed, and the run it came from."""
    folder = tmp_path_factory.mktemp("published")
    run = promotable(folder, **{"README.md": b"a card of its own\n"})
    key = write_key_pair(folder / "release.key", key_type="ed25519")
    done = publish(run, folder / "releases", key=key.private)
    return run, folder / "releases" / NAME, done, key


def test_the_artifact_lies_at_the_top_byte_for_byte(published):
    _, release, _, _ = published
    found = contents(release)
    assert {path: found[path] for path in FILES} == FILES
    assert found["README.md"] == b"a card of its own\n"


def test_a_card_that_is_capitalised_otherwise_is_left_alone_too(tmp_path):
    run = promotable(tmp_path, **{"Readme.MD": b"a card of its own\n"})
    publish(run, tmp_path / "releases")
    found = contents(tmp_path / "releases" / NAME)
    assert found["Readme.MD"] == b"a card of its own\n"
    assert "README.md" not in found
    assert "mergegate/model_card.md" in found


def test_the_evidence_travels_with_it(published):
    run, release, _, _ = published
    found = contents(release / "mergegate")
    assert set(found) == {
        "adapters/intents/README.md",
        "adapters/intents/adapter_config.json",
        "adapters/intents/adapter_model.safetensors",
        "manifest.json",
        "model_card.md",
        "record.json",
        "report.html",
        "statement.dsse.json",
        "summary.md",
    }
    assert found["record.json"] == (run.run / "record.json").read_bytes()
    assert {name: found[f"adapters/intents/{name}"] for name in ADAPTER} == ADAPTER
    assert b"license: apache-2.0" in found["model_card.md"]


def test_what_is_published_is_verified(published):
    _, release, _, key = published
    assert verify(release, key=key.public, policy=None, today=TODAY) == ()


def test_registries_are_told_what_it_is(published):
    _, release, done, _ = published
    assert (done.variant, done.refusals) == (VARIANT, ())
    assert done.published.place == str(release)
    tags = done.release.tags
    assert tags["mergegate.verdict"] == "promote"
    assert tags["mergegate.digest"] == done.release.digest
    assert tags["mergegate.base"] == (
        "HuggingFaceTB/SmolLM2-135M-Instruct@7e27bd9f95328f0f3b08261d1252705110c806f8"
    )
    assert tags["mergegate.score.arc_easy.acc_norm"].endswith(" %")
    assert all(tags.values())


def test_nothing_is_left_of_the_work(published):
    _, release, done, _ = published
    assert sorted(os.listdir(release.parent)) == [".mergegate", "current", NAME]
    assert sorted(os.listdir(release.parent / ".mergegate")) == ["history.jsonl", "lock"]
    assert not done.release.folder.exists()


def test_what_is_refused_touches_nothing(run, target):
    (run.artifact / "model.gguf").write_bytes(b"another model")
    done = publish(run, target)
    assert done.published is None
    assert done.refusals[0].startswith("its files are not what was judged")
    assert not target.exists()


def test_files_that_were_moved_are_found_where_they_are_said_to_be(run, target, tmp_path):
    artifact, adapter = tmp_path / "moved", tmp_path / "moved adapter"
    run.artifact.rename(artifact)
    run.adapter.rename(adapter)
    done = publish(run, target, artifact=artifact, adapters={"intents": adapter})
    assert done.refusals == ()
    assert (target / "current" / "README.md").read_text().startswith("---\nbase_model: ")


def test_an_artifact_is_found_by_the_link_beside_its_record(run, tmp_path):
    links = run.run / "artifacts"
    links.mkdir()
    (links / run.record.artifacts[0].name).symlink_to(run.artifact)
    moved = run.record.artifacts[0].model_copy(update={"path": "gone/store"})
    run.rewrite(artifacts=(moved,))
    assert publish(run, tmp_path / "releases").refusals == ()


def test_an_adapter_that_the_record_does_not_have_is_refused(run, target):
    with pytest.raises(ConfigError, match=r"--adapter: no 'intent'\n  hint: did you mean intents"):
        publish(run, target, adapters={"intent": run.adapter})


def test_a_variant_that_there_is_not_is_refused(run, target):
    with pytest.raises(ConfigError, match=r"--variant: no 'q8'\n  hint: did you mean q8_0"):
        publish(run, target, variant="q8")


def test_of_several_that_may_ship_one_has_to_be_named(run, target):
    run.rewrite(ship=("merged", "q8_0"))
    with pytest.raises(ConfigError) as caught:
        publish(run, target)
    assert str(caught.value) == (
        "support-bot-v3 has 2 variants up for release: merged (not judged), q8_0 (promote)\n"
        "  hint: say which one: --variant NAME"
    )


def test_a_directory_that_is_of_no_run_is_named_with_a_way_out(run, target):
    with pytest.raises(RecordError) as caught:
        promote(run.artifact, to=str(target), today=TODAY)
    assert str(caught.value) == (
        f"{run.artifact} has no record.json\n"
        "  hint: a run's directory has one: reports/<release>/<run>/"
    )


def test_a_record_that_cannot_be_read_is_named(run, target):
    (run.run / "record.json").write_text("{")
    with pytest.raises(RecordError):
        publish(run, target)


def test_a_key_that_is_none_is_refused_before_anything_is_written(run, target):
    (run.run / "key").write_text("secret")
    with pytest.raises(ConfigError, match="is no private key"):
        publish(run, target, key=run.run / "key")
    assert not target.exists()


def test_the_second_of_two_promotions_is_told_who_is_at_it(run, target):
    work = target / ".mergegate"
    work.mkdir(parents=True)
    with (
        taking_turns(work, target=str(target), doing="promoting v9-q8_0"),
        pytest.raises(PublishError, match="is promoting v9-q8_0 there, process"),
    ):
        publish(run, target)
    assert os.listdir(target) == [".mergegate"]


def test_what_a_killed_promotion_left_is_cleared_away(run, target):
    write_files(target / ".mergegate" / "staged-17", {"model.gguf": b"half of th"})
    publish(run, target)
    assert not (target / ".mergegate" / "staged-17").exists()
    assert (target / "current" / "model.gguf").read_bytes() == FILES["model.gguf"]


def test_a_full_disk_is_named_and_leaves_nothing_and_again_it_is_published(run, target):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = gate("promote", run.run, "--to", target, preexec=little_room)
    assert done.returncode == 3
    assert done.stderr == (
        f"gate: no room to put the release together in {target / '.mergegate'}: File too large\n"
        "  hint: nothing was published: make room there, then promote again; XDG_CACHE_HOME says "
        "where it is done for a registry\n"
    )
    assert [path.name for path in (target / ".mergegate").iterdir()] == ["lock"]
    assert publish(run, target).published.place == str(target / NAME)


def test_a_target_among_the_files_that_would_be_published_is_refused_and_they_stay(run):
    before = contents(run.artifact)
    with pytest.raises(ConfigError) as caught:
        publish(run, run.artifact / "releases")
    assert str(caught.value) == (
        f"--to {run.artifact / 'releases'} lies inside {run.artifact}, which is what would be "
        "published\n  hint: give a directory outside it"
    )
    assert contents(run.artifact) == before


def test_a_reason_that_a_record_breaks_into_lines_is_told_on_one(run, target):
    source = run.record.adapters["intents"]
    run.rewrite(adapters={"intents": source.model_copy(update={"path": "gone\npromoted: q8_0"})})
    done = gate("promote", run.run, "--to", target)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "refused: adapter intents: gone promoted: q8_0 is no directory; --adapter NAME=DIR says "
        "where its files are\nnot promoted: q8_0\n"
    )


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa"])
def test_the_same_promotion_again_changes_nothing(run, target, tmp_path, key_type):
    key = write_key_pair(tmp_path / "key", key_type=key_type).private
    first = publish(run, target, key=key)
    before = contents(target / NAME)
    again = publish(run, target, key=key)
    assert (first.published.before, again.published.before) == (None, NAME)
    assert contents(target / NAME) == before


def test_a_target_that_cannot_be_made_is_named_with_a_way_out(run, target):
    target.write_text("")
    with pytest.raises(PublishError) as caught:
        publish(run, target / "in a file")
    assert str(caught.value) == (
        f"{target / 'in a file' / '.mergegate'} cannot be written: Not a directory\n"
        "  hint: nothing was changed: mend that, then try again"
    )
