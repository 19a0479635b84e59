"""Publishing on a Hub on this machine: whole or not at all, and safe to repeat."""

import os
import shutil
import subprocess
import sys

import pytest
from hub_server import TOKEN, Fault, HubServer
from huggingface_hub import constants
from staged_release import contents, staged

from gate.errors import ConfigError, PublishError
from gate.publishers.hub import publish

# huggingface_hub 2.4 hands httpx2 the bytes of a large file by the parameter of other clients
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TARGET = "hf://desk/support-bot"
NAME = "desk/support-bot"


@pytest.fixture
def hub(monkeypatch):
    """A Hub that the client is pointed to, without the transfer protocol of the real one's."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def release(tmp_path):
    return staged(tmp_path / "v3")


def test_every_file_stands_under_the_tag_and_on_main(hub, release):
    published = publish(release, TARGET)
    assert published.place == "hf://desk/support-bot@v3-q8_0"
    assert hub.files(NAME, "v3-q8_0") == hub.files(NAME, "main") == contents(release.folder)


def test_it_is_one_commit_that_tells_verdict_and_digest(hub, release):
    publish(release, TARGET)
    _, commit = hub.repositories[NAME].commits.values()
    assert commit.title == "Release v3: q8_0"
    told = {"mergegate.verdict: promote", f"mergegate.digest: {release.digest}"}
    assert told < set(commit.message.splitlines())


def test_a_new_repository_is_private_unless_asked_otherwise(hub, release):
    publish(release, TARGET)
    publish(release, "desk/open", private=False)
    assert hub.repositories[NAME].is_private
    assert not hub.repositories["desk/open"].is_private


def test_the_first_release_has_nothing_before_it(hub, release):
    assert publish(release, TARGET).before is None


def test_the_next_release_tells_what_was_before_and_leaves_none_of_its_files(
    hub, release, tmp_path
):
    publish(release, TARGET)
    following = staged(tmp_path / "v4", name="v4")
    (following.folder / "config.json").unlink()
    assert publish(following, TARGET).before == "hf://desk/support-bot@v3-q8_0"
    assert hub.files(NAME, "main") == contents(following.folder)
    assert hub.files(NAME, "v3-q8_0") == contents(release.folder)


def test_what_somebody_committed_by_hand_is_told_by_its_commit(hub, release, tmp_path):
    publish(release, TARGET)
    commit = hub.repositories[NAME].add("main", "by hand", {"notes.md": (b"?", False)})
    following = staged(tmp_path / "v4", name="v4")
    assert publish(following, TARGET).before == f"hf://desk/support-bot@{commit[:12]}"


def test_publishing_again_sends_nothing_and_commits_nothing(hub, release):
    publish(release, TARGET)
    hub.asked.clear()
    assert publish(release, TARGET).place == "hf://desk/support-bot@v3-q8_0"
    assert hub.sent("PUT") == hub.sent("/commit/") == hub.sent("/tag/") == 0


def test_an_older_release_comes_back_to_main_under_the_tag_it_has(hub, release, tmp_path):
    publish(release, TARGET)
    first = hub.repositories[NAME].tags["v3-q8_0"]
    publish(staged(tmp_path / "v4", name="v4", **{"config.json": b"{}"}), TARGET)
    assert publish(release, TARGET).before == "hf://desk/support-bot@v4-q8_0"
    assert hub.files(NAME, "main") == contents(release.folder)
    assert hub.repositories[NAME].tags["v3-q8_0"] == first


def test_a_tag_of_other_files_is_refused_before_anything_is_sent(hub, release, tmp_path):
    publish(release, TARGET)
    hub.asked.clear()
    other = staged(tmp_path / "other", **{"config.json": b'{"model_type": "gemma"}\n'})
    with pytest.raises(
        PublishError, match=r"v3-q8_0 is published already, .*: config.json has oth"
    ):
        publish(other, TARGET)
    assert hub.sent("PUT") == hub.sent("/commit/") == 0


def test_a_branch_of_its_own_leaves_main_alone(hub, release):
    publish(release, TARGET, branch="staging")
    assert hub.files(NAME, "staging") == contents(release.folder)
    assert hub.files(NAME, "main") == {}


def test_names_that_no_tag_can_have_are_told_apart(hub, tmp_path):
    first = publish(staged(tmp_path / "a", name="v3 (rc)"), TARGET)
    second = publish(staged(tmp_path / "b", name="v3 [rc]"), TARGET)
    assert first.place.startswith("hf://desk/support-bot@v3-rc--q8_0-")
    assert first.place != second.place


@pytest.mark.parametrize("where", ["release", "repository"])
def test_a_gitignore_leaves_no_file_out(hub, tmp_path, where):
    ignoring = {".gitignore": b"*.safetensors\nrecord.json\n"}
    release = staged(tmp_path / "v3", **(ignoring if where == "release" else {}))
    if where == "repository":
        publish(staged(tmp_path / "v2", name="v2", **ignoring), TARGET)
    publish(release, TARGET)
    assert hub.files(NAME, "v3-q8_0") == contents(release.folder)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("PUT /large/", 403), "Error while uploading '.*' to the Hub. 403 Forbidden"),
        (Fault("POST /api/models/desk/support-bot/commit/"), "disconnected without sending"),
        (Fault("POST /api/models/desk/support-bot/commit/", is_done=True), "disconnected without"),
        (Fault("POST /api/models/desk/support-bot/commit/", 507), "507"),
        (Fault("POST /api/models/desk/support-bot/tag/", 500), "500"),
        (Fault("POST /api/models/desk/support-bot/tag/"), "disconnected without sending"),
    ],
)
def test_a_failure_in_the_middle_leaves_no_tag_and_a_second_try_finishes(
    hub, release, fault, reason
):
    hub.faults = [fault]
    with pytest.raises(PublishError, match=reason) as caught:
        publish(release, TARGET)
    assert caught.value.problem.startswith("hf://desk/support-bot@v3-q8_0: not published: ")
    assert hub.repositories[NAME].tags == {}
    assert publish(release, TARGET).place == "hf://desk/support-bot@v3-q8_0"
    assert hub.files(NAME, "v3-q8_0") == contents(release.folder)


def test_large_files_are_not_sent_twice(hub, release):
    hub.faults = [Fault("/commit/", 507)]
    with pytest.raises(PublishError, match="what was sent is not sent twice"):
        publish(release, TARGET)
    publish(release, TARGET)
    assert hub.sent("PUT /large/") == 2


def test_bytes_that_were_changed_on_the_way_get_no_tag(hub, release, monkeypatch):
    honest = hub.put
    monkeypatch.setattr(hub, "put", lambda path, body: honest(path, body.replace(b"w", b"v", 1)))
    with pytest.raises(
        PublishError, match=r"not with the files of .*: model.safetensors has other"
    ):
        publish(release, TARGET)
    assert hub.repositories[NAME].tags == {}


def test_of_two_promotions_one_wins_and_the_other_says_who(hub, release):
    publish(release, TARGET)
    (release.folder / "config.json").write_bytes(b"{}")

    def overtake():
        hub.repositories[NAME].add("main", "Release v4: q8_0", {}, author="grace")

    hub.before_commit = overtake
    with pytest.raises(PublishError, match="grace committed to main meanwhile: Release v4: q8_0"):
        publish(release._replace(name="v5"), TARGET)
    assert set(hub.repositories[NAME].tags) == {"v3-q8_0"}


def test_a_token_that_may_not_write_is_told_how_to_give_another(hub, release, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    with pytest.raises(PublishError, match="HF_TOKEN, or hf auth login"):
        publish(release, TARGET)


def test_a_hub_that_is_not_there_is_an_error_of_ours(hub, release, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PublishError, match=r"not published: .*refused"):
        publish(release, TARGET)


def test_an_offline_client_says_what_keeps_it_so(hub, release, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match="unset HF_HUB_OFFLINE"):
        publish(release, TARGET)


@pytest.mark.parametrize(
    "target", ["support-bot", "hf://desk/support-bot@main", "hf://a/b/c", "hf://", "hf://../desk"]
)
def test_a_target_that_is_no_repository_is_refused(release, target):
    with pytest.raises(ConfigError, match="not a repository of the Hub"):
        publish(release, target)


def test_a_symbolic_link_is_refused(hub, release):
    (release.folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(PublishError, match="secret is a symbolic link"):
        publish(release, TARGET)
    assert hub.asked == []


PROGRAM = """\
import sys
from pathlib import Path
from huggingface_hub import snapshot_download
from staged_release import staged
from gate.publishers.hub import publish

here = Path(sys.argv[1])
print(publish(staged(here / "v3"), "hf://desk/support-bot").place)
snapshot_download(
    "desk/support-bot",
    revision="v3-q8_0",
    ignore_patterns=".gitattributes",
    local_dir=here / "downloaded",
)
"""


def test_what_another_process_downloads_by_the_tag_is_the_release(tmp_path):
    with HubServer() as server:
        environment = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == "hf://desk/support-bot@v3-q8_0\n", done.stderr
    shutil.rmtree(tmp_path / "downloaded" / ".cache")
    assert contents(tmp_path / "downloaded") == contents(tmp_path / "v3")
