"""Publishing in the registry of a real MLflow server on this machine, with SQLite below it."""

import importlib.util
import re
import shutil
import sys

import pytest
from refusing_proxy import RefusingProxy
from running_servers import free_port, running
from staged_release import contents, staged

from gate.errors import ConfigError, PublishError
from gate.publishers.mlflow import publish

HAS_MLFLOW = all(importlib.util.find_spec(name) for name in ("mlflow", "sqlalchemy"))
pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not HAS_MLFLOW, reason="no MLflow server here: tox run -e mlflow"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the server keeps everything."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def server(folder):
    """The address of an MLflow server."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    with running(command, port=port, log=folder / "log", asked="/health", **quiet) as one:
        yield one.url


@pytest.fixture(autouse=True)
def _few_tries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def proxy(server):
    """The server, by way of what can fail."""
    with RefusingProxy(server) as one:
        yield one


@pytest.fixture
def client(server):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server, registry_uri=server)


@pytest.fixture
def release(tmp_path):
    return staged(tmp_path / "v3")


@pytest.fixture
def model(request):
    """A name that no other test has."""
    return re.sub(r"\W+", "-", request.node.name)


def versions(client, model):
    return client.search_model_versions(f"name = '{model}'")


def downloaded(client, model, folder, *, alias="champion"):
    """{path: bytes} of what the alias leads to."""
    version = client.get_model_version_by_alias(model, alias)
    folder.mkdir()
    client.download_artifacts(version.run_id, "release", str(folder))
    return contents(folder / "release")


def test_the_alias_leads_to_every_file_of_the_release(server, client, release, model, tmp_path):
    published = publish(release, f"mlflow:{server}#{model}")
    assert published == (f"models:/{model}/1", None)
    assert downloaded(client, model, tmp_path / "there") == contents(release.folder)


def test_what_a_server_loads_by_the_alias_is_the_release(
    server, release, model, tmp_path, monkeypatch
):
    import mlflow

    publish(release, f"mlflow:{server}#{model}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", server)
    mlflow.artifacts.download_artifacts(f"models:/{model}@champion", dst_path=str(tmp_path / "a"))
    assert contents(tmp_path / "a") == contents(release.folder)


def test_the_version_tells_verdict_and_digest(server, client, release, model):
    publish(release, f"mlflow:{server}#{model}")
    (version,) = versions(client, model)
    assert version.tags["mergegate.verdict"] == "promote"
    assert version.tags["mergegate.digest"] == release.digest
    assert version.tags["mergegate.release"] == "v3"
    assert version.description == "q8_0-smollm2-adapter-support-v3"


def test_the_next_release_tells_which_version_was_champion(
    server, client, release, model, tmp_path
):
    publish(release, f"mlflow:{server}#{model}")
    following = staged(tmp_path / "v4", name="v4", **{"config.json": b"{}"})
    published = publish(following, f"{server}#{model}")
    assert published == (f"models:/{model}/2", f"models:/{model}/1")
    assert downloaded(client, model, tmp_path / "there") == contents(following.folder)


def test_publishing_again_makes_no_second_version(server, proxy, client, release, model):
    publish(release, f"mlflow:{server}#{model}")
    assert publish(release, f"mlflow:{proxy.url}#{model}").place == f"models:/{model}/1"
    assert len(versions(client, model)) == 1
    assert not any(line.startswith("PUT") for line in proxy.asked)


def test_a_version_whose_files_were_cleared_away_is_made_again(
    server, folder, client, release, model
):
    publish(release, f"mlflow:{server}#{model}")
    (version,) = versions(client, model)
    (kept,) = (folder / "artifacts").glob(f"*/{version.run_id}")
    shutil.rmtree(kept)
    assert publish(release, f"mlflow:{server}#{model}").place == f"models:/{model}/2"


@pytest.mark.parametrize(
    "refused",
    [
        "PUT /api/2.0/mlflow-artifacts/artifacts",
        "runs/create",
        "model-versions/create",
        "registered-models/alias",
    ],
)
def test_a_failure_in_the_middle_moves_no_alias_and_a_second_try_finishes(
    proxy, client, model, tmp_path, refused
):
    target = f"mlflow:{proxy.url}#{model}"
    publish(staged(tmp_path / "v2", name="v2", **{"config.json": b"{}"}), target)
    release = staged(tmp_path / "v3")
    proxy.refused = (refused,)
    with pytest.raises(PublishError, match="not published: "):
        publish(release, target)
    assert client.get_model_version_by_alias(model, "champion").version == "1"
    proxy.refused = ()
    assert publish(release, target) == (f"models:/{model}/2", f"models:/{model}/1")
    assert len(versions(client, model)) == 2


def test_a_run_whose_upload_failed_is_told_as_failed(proxy, client, release, model):
    proxy.refused = ("PUT /api/2.0/mlflow-artifacts/artifacts",)
    with pytest.raises(PublishError):
        publish(release, f"mlflow:{proxy.url}#{model}")
    (run,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert run.info.status == "FAILED"


def test_an_alias_moved_meanwhile_is_not_moved_back(proxy, server, client, model, tmp_path):
    release = staged(tmp_path / "v3")
    other = staged(tmp_path / "v9", name="v9", **{"config.json": b"{}"})

    def overtake(line):
        if "model-versions/create" in line:
            proxy.on_request = lambda line: None
            publish(other, f"mlflow:{server}#{model}")

    proxy.on_request = overtake
    with pytest.raises(PublishError, match=r"champion was moved to version 1 \(v9-q8_0\) meanw"):
        publish(release, f"mlflow:{proxy.url}#{model}")
    assert client.get_model_version_by_alias(model, "champion").version == "1"


@pytest.mark.parametrize("name", ["a#b.txt", "what?.txt", "100%25.txt"])
def test_a_name_that_mlflow_loses_is_refused_before_anything_is_sent(proxy, tmp_path, name):
    release = staged(tmp_path / "v3", **{name: b"?"})
    with pytest.raises(PublishError, match="which MLflow cannot keep"):
        publish(release, f"mlflow:{proxy.url}#names")
    assert proxy.asked == []


def test_another_alias_and_experiment_can_be_named(server, client, release, model):
    publish(release, f"mlflow:{server}#{model}", alias="canary", experiment="releases")
    assert client.get_registered_model(model).aliases == {"canary": "1"}
    assert client.get_experiment_by_name("releases") is not None
    assert client.get_experiment_by_name(model) is None


def test_the_server_of_the_environment_is_taken_where_none_is_named(
    server, release, model, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert publish(release, f"mlflow:#{model}").place == f"models:/{model}/1"


def test_a_server_that_is_not_there_is_an_error_of_ours(release):
    with pytest.raises(PublishError, match=r"^model desk in MLflow at 127.0.0.1:9: not published"):
        publish(release, "mlflow:http://ada:secret@127.0.0.1:9#desk")


@pytest.mark.parametrize("target", ["mlflow:http://127.0.0.1:9", "mlflow:http://h#a/b", "x#it's"])
def test_a_target_without_a_model_is_refused(release, target):
    with pytest.raises(ConfigError, match="no name of a registered model after '#'"):
        publish(release, target)


def test_a_target_without_a_server_is_refused(release, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="no server"):
        publish(release, "mlflow:#desk")
