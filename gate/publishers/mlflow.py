"""Publishing in MLflow's model registry: a version with every file and tag, then its alias."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gate.digest import digest_manifest, digest_tree
from gate.errors import ConfigError, PublishError
from gate.presentation import anchor, one_line
from gate.releasing.release import Published, Release
from gate.releasing.tree import read_tree, shown

PACKAGES = ("mlflow-skinny",)

FOLDER = "release"
"""Where a release lies among the artifacts of its run."""

FILES_TAG = "mergegate.files"
"""The tag with the content id of the whole release, the evidence's files too."""

_SCHEME = "mlflow:"
_LOST_CHARACTERS = "#?%"
"""What MLflow's client leaves unquoted in the URL it uploads to, and the server then cuts off."""
_FORBIDDEN_IN_MODELS = "/:'\""
_REASON_CHARACTERS = 300


class _Target(NamedTuple):
    """A registered model on a server."""

    uri: str
    model: str

    @property
    def place(self) -> str:
        """The model, and the server without what may be secret in its address."""
        parts = urlsplit(self.uri)
        port = f":{parts.port}" if parts.port else ""
        return f"model {self.model} in MLflow at {parts.hostname or parts.scheme}{port}"


class _Upload(NamedTuple):
    """A run whose artifacts hold the release, whole, and where."""

    run_id: str
    source: str


def publish(
    release: Release, to: str, *, alias: str = "champion", experiment: str | None = None
) -> Published:
    """Register a release as a version of a model, and move the alias to it last.

    The files are the artifacts of a run, below `release/`, and are listed again before the version
    is made, so a version is always whole. It has the tags of the release from the first moment.
    Doing it again is safe: a version with the same files is taken, not made twice.

    Args:
        release: what is published.
        to: `mlflow:URI#MODEL`, or without the `mlflow:`; with no URI, MLFLOW_TRACKING_URI's server.
        alias: what those who serve ask for; moved only when everything else is done.
        experiment: in which the run is made; None for one with the name of the model.

    Returns:
        The version; before it, the one that the alias was at.

    Raises:
        ConfigError: MLflow is not installed, or `to` names no server or no model.
        PublishError: the server cannot be reached or refuses, it did not keep every file, or the
            alias was moved meanwhile.
    """
    target = _target(to)
    client = _client(target)
    sizes = _sizes(release)
    content_id = digest_manifest(digest_tree(release.folder))
    with _failures_told(target):
        before = _ensure_model(client, target.model, alias)
        version = _version_with(client, target.model, content_id, sizes)
        if version is None:
            upload = _upload(client, release, sizes, experiment or target.model)
            version = _register(client, target.model, release, upload, content_id)
        _require_unmoved(client, target, alias, before)
        client.set_registered_model_alias(target.model, alias, version)
    return Published(
        f"models:/{target.model}/{version}",
        before=None if before is None else f"models:/{target.model}/{before}",
    )


def check(to: str) -> None:
    """Refuse what names no server or no model, before anything is read.

    Raises:
        ConfigError: so it is, or MLflow is not installed.
    """
    _client(_target(to))


def _target(to: str) -> _Target:
    """The server and the model that a target names.

    Raises:
        ConfigError: it names none, or a model that MLflow cannot have.
    """
    uri, _, model = to.removeprefix(_SCHEME).rpartition("#")
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    hint = "it is written mlflow:http://HOST:PORT#MODEL"
    if not model or set(model) & set(_FORBIDDEN_IN_MODELS):
        raise ConfigError(f"{to}: no name of a registered model after '#'", hint=hint)
    if not uri:
        raise ConfigError(f"{to}: no server", hint=f"{hint}, or set MLFLOW_TRACKING_URI")
    return _Target(uri, model)


def _client(target: _Target) -> Any:
    """The client of a server.

    Raises:
        ConfigError: MLflow is not installed.
    """
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the publisher mlflow needs MLflow's client", hint="pip install 'mergegate[mlflow]'"
        ) from error
    return MlflowClient(tracking_uri=target.uri, registry_uri=target.uri)


def _sizes(release: Release) -> dict[str, int]:
    """{path: bytes} of the files of a release.

    Raises:
        PublishError: there is something that is not a plain file, or a name that MLflow loses.
    """
    tree = read_tree(release.folder)
    faults = list(tree.faults)
    faults += [
        f"{shown(path)} has one of the characters {' '.join(_LOST_CHARACTERS)} in its name, "
        "which MLflow cannot keep"
        for path in tree.files
        if set(path) & set(_LOST_CHARACTERS)
    ]
    if faults:
        raise PublishError(f"{release.folder} cannot be published: {'; '.join(faults)}")
    return {path: (release.folder / path).stat().st_size for path in tree.files}


def _ensure_model(client: Any, model: str, alias: str) -> str | None:
    """Make the registered model if it is not there; the version its alias is at."""
    from mlflow.exceptions import MlflowException

    try:
        return _alias(client, model, alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return None


def _alias(client: Any, model: str, alias: str) -> str | None:
    version = client.get_registered_model(model).aliases.get(alias)
    return None if version is None else str(version)


def _version_with(client: Any, model: str, content_id: str, sizes: dict[str, int]) -> str | None:
    """The version that has the very files of a release, from an earlier try; None without."""
    for version in client.search_model_versions(f"name = '{model}'"):
        is_same = version.status == "READY" and version.tags.get(FILES_TAG) == content_id
        if is_same and _kept(client, version.run_id) == sizes:
            return str(version.version)
    return None


def _kept(client: Any, run_id: str) -> dict[str, int]:
    """{path: bytes} of the release among a run's artifacts."""

    def below(folder: str) -> Iterator[tuple[str, int]]:
        for one in client.list_artifacts(run_id, folder):
            if one.is_dir:
                yield from below(one.path)
            else:
                yield one.path.removeprefix(f"{FOLDER}/"), one.file_size or 0

    return dict(below(FOLDER))


def _upload(client: Any, release: Release, sizes: dict[str, int], experiment: str) -> _Upload:
    """Send every file to a run of its own, and see that it is there.

    Raises:
        PublishError: the server did not keep every file.
    """
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    run = client.create_run(experiment_id, run_name=anchor(release.name, release.variant))
    with _ended(client, run.info.run_id):
        client.log_artifacts(run.info.run_id, str(release.folder), FOLDER)
        kept = _kept(client, run.info.run_id)
        wrong = sorted(path for path in sizes.keys() | kept if sizes.get(path) != kept.get(path))
        if wrong:
            raise PublishError(
                f"MLflow did not keep {shown(wrong[0])} as it was sent",
                hint="nothing was registered; look at the artifact store of the server",
            )
    return _Upload(run.info.run_id, f"{run.info.artifact_uri}/{FOLDER}")


@contextmanager
def _ended(client: Any, run_id: str) -> Iterator[None]:
    """A run that does not stay open: finished, or failed where its block raises."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, PublishError):
        with suppress(MlflowException, OSError):
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def _register(client: Any, model: str, release: Release, upload: _Upload, content_id: str) -> str:
    tags = {
        "mergegate.release": release.name,
        "mergegate.variant": release.variant,
        "mergegate.digest": release.digest,
        **{anchor(name): value for name, value in release.tags.items()},
        FILES_TAG: content_id,
    }
    made = client.create_model_version(
        model, upload.source, upload.run_id, tags=tags, description=release.artifact_name
    )
    return str(made.version)


def _require_unmoved(client: Any, target: _Target, alias: str, before: str | None) -> None:
    """The alias is where it was when this promotion began.

    Raises:
        PublishError: another promotion moved it, and to what.
    """
    now = _alias(client, target.model, alias)
    if now == before:
        return
    whose = "no version"
    if now is not None:
        tags = client.get_model_version(target.model, now).tags
        named = anchor(tags.get("mergegate.release", "?"), tags.get("mergegate.variant", "?"))
        whose = f"version {now} ({named})"
    raise PublishError(
        f"{target.place}: {alias} was moved to {whose} meanwhile",
        hint="this release is registered, without the alias; promote again to move it",
    )


@contextmanager
def _failures_told(target: _Target) -> Iterator[None]:
    """What the client raises on the way, told as an error of ours; what it prints, as progress.

    Raises:
        PublishError: in place of what was raised.
    """
    from mlflow.exceptions import MlflowException

    try:
        with redirect_stdout(sys.stderr):
            yield
    except (MlflowException, OSError) as error:
        reason = one_line(str(error).strip().partition("\n")[0], _REASON_CHARACTERS)
        raise PublishError(
            f"{target.place}: not published: {reason}",
            hint="the alias is where it was; promote again when the server answers",
        ) from error
