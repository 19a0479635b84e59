"""Publishing on the Hugging Face Hub: one commit of the whole release, read back, then its tag."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from gate.digest import digest_file
from gate.errors import ConfigError, PublishError
from gate.presentation import anchor, one_line
from gate.releasing.release import Published, Release
from gate.releasing.tree import read_tree, shown

PACKAGES = ("huggingface_hub",)

_SCHEME = "hf://"
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_REPOSITORY = re.compile(f"{_NAME}/{_NAME}")
_KEPT = ".gitattributes"
"""The Hub's own file in every repository: which files git holds as pointers."""
_NOTHING_IGNORED = "# every file of a release is committed\n"
_REASON_CHARACTERS = 300
_SHORT_COMMIT = 12


class _Repository(NamedTuple):
    """A repository of models on the Hub, and the client that reaches it."""

    api: Any
    id: str


class _State(NamedTuple):
    """What a branch of a repository holds.

    Attributes:
        head: the commit it is at.
        tags: {tag: commit} of the whole repository.
        files: {path: the Hub's description of the file} at the head.
    """

    head: str
    tags: dict[str, str]
    files: dict[str, Any]


def publish(release: Release, to: str, *, branch: str = "main", private: bool = True) -> Published:
    """Commit a release to a repository of the Hub, read it back, and tag the commit last.

    One commit makes the branch hold the release and nothing else, but for the `.gitattributes`
    that the Hub keeps there. Nothing stands under the tag before the Hub has told the name, size
    and digest of every file at that commit, and a tag is never moved. Doing it again is safe: what
    is there already is not sent twice. Endpoint and token are the client's: HF_ENDPOINT, HF_TOKEN.

    Args:
        release: what is published, under the tag <release>-<variant>.
        to: the repository, `hf://ORGANISATION/NAME` or without the `hf://`.
        branch: what is loaded by those who name no revision is `main`.
        private: how a repository that is not there yet is made; one that is stays as it is.

    Returns:
        The release by its tag; before it, the tag or commit that the branch was at.

    Raises:
        ConfigError: `to` is not the id of a repository.
        PublishError: the Hub cannot be reached, refuses, or holds something else under this tag;
            another promotion was faster; or what came back is not what was sent.
    """
    from huggingface_hub import HfApi

    repository, tag = (
        _Repository(HfApi(), _repository_id(to)),
        anchor(release.name, release.variant),
    )
    place, files = f"{_SCHEME}{repository.id}@{tag}", _files(release)
    with _failures_told(place):
        repository.api.create_repo(repository.id, private=private, exist_ok=True)
        state = _state(repository, branch)
        if tag in state.tags:
            _require_same(repository, state.tags[tag], files, f"{place} is published already")
        commit = _committed(repository, branch, state, files, release)
        _require_same(repository, commit, files, f"{repository.id} at commit {commit}")
        if tag not in state.tags:
            repository.api.create_tag(
                repository.id, tag=tag, revision=commit, tag_message=_description(release)
            )
    return Published(place, before=_before(repository, state))


def check(to: str) -> None:
    """Refuse what is not the id of a repository, before anything is read.

    Raises:
        ConfigError: otherwise.
    """
    _repository_id(to)


def _repository_id(to: str) -> str:
    """The id in a target.

    Raises:
        ConfigError: there is none, or it has a revision or a path.
    """
    given = to.removeprefix(_SCHEME)
    if not _REPOSITORY.fullmatch(given):
        raise ConfigError(
            f"{to}: not a repository of the Hub",
            hint="it is written hf://ORGANISATION/NAME; the tag is made from release and variant",
        )
    return given


def _files(release: Release) -> dict[str, Path]:
    """{path in the repository: file} of a release.

    Raises:
        PublishError: there is something that is not a plain file.
    """
    tree = read_tree(release.folder)
    if tree.faults:
        raise PublishError(f"{release.folder} cannot be published: {'; '.join(tree.faults)}")
    return {path: release.folder / path for path in tree.files}


def _state(repository: _Repository, branch: str) -> _State:
    """What is there before; a branch that is not there yet begins where main is."""
    refs = repository.api.list_repo_refs(repository.id)
    heads = {one.name: one.target_commit for one in refs.branches}
    if branch not in heads:
        repository.api.create_branch(repository.id, branch=branch, exist_ok=True)
        heads[branch] = heads["main"]
    tags = {one.name: one.target_commit for one in refs.tags}
    return _State(heads[branch], tags, _described(repository, heads[branch]))


def _described(repository: _Repository, commit: str) -> dict[str, Any]:
    """{path: the Hub's description of the file} of all files at a commit."""
    tree = repository.api.list_repo_tree(repository.id, recursive=True, revision=commit)
    return {one.path: one for one in tree if hasattr(one, "blob_id")}


def _committed(
    repository: _Repository,
    branch: str,
    state: _State,
    files: Mapping[str, Path],
    release: Release,
) -> str:
    """The commit at which a branch holds the release: its head, or a new one.

    Raises:
        PublishError: the branch was moved meanwhile.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    if next(_differences(files, state.files), None) is None:
        return state.head
    additions = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
    stale = sorted(state.files.keys() - files.keys() - {_KEPT})
    # A .gitignore, the artifact's or the repository's, would leave files out without a word.
    repository.api.preupload_lfs_files(
        repository.id,
        additions,
        revision=branch,
        free_memory=False,
        gitignore_content=_NOTHING_IGNORED,
    )
    try:
        commit = repository.api.create_commit(
            repository.id,
            [*additions, *(CommitOperationDelete(path, is_folder=False) for path in stale)],
            commit_message=f"Release {release.name}: {release.variant}",
            commit_description=_description(release),
            revision=branch,
            parent_commit=state.head,
        )
    except HfHubHTTPError as error:
        if error.response.status_code == HTTPStatus.PRECONDITION_FAILED:
            raise _overtaken(repository, branch) from error
        raise
    return str(commit.oid)


def _overtaken(repository: _Repository, branch: str) -> PublishError:
    last = repository.api.list_repo_commits(repository.id, revision=branch)[0]
    who = one_line(", ".join(last.authors) or "somebody", _REASON_CHARACTERS)
    return PublishError(
        f"{repository.id}: {who} committed to {branch} meanwhile: "
        f"{one_line(last.title, _REASON_CHARACTERS)} ({last.commit_id[:_SHORT_COMMIT]})",
        hint="nothing was published; agree on who goes first, then promote again",
    )


def _require_same(
    repository: _Repository, commit: str, files: Mapping[str, Path], what: str
) -> None:
    """A commit holds the release, byte for byte.

    Raises:
        PublishError: a file differs, and which.
    """
    fault = next(_differences(files, _described(repository, commit)), None)
    if fault is not None:
        raise PublishError(
            f"{what}, and not with the files of this release: {fault}",
            hint="a tag is never moved: give the release another name, or delete the tag there",
        )


def _differences(files: Mapping[str, Path], there: Mapping[str, Any]) -> Iterator[str]:
    """How the files at a commit differ from a release's, what is cheap to see first."""
    yield from (f"{shown(path)} is missing" for path in files if path not in there)
    yield from (f"{shown(path)} was added" for path in there if path not in {*files, _KEPT})
    sizes = {path: file.stat().st_size for path, file in files.items()}
    yield from (
        f"{shown(path)} has another size" for path in files if there[path].size != sizes[path]
    )
    for path, file in files.items():
        if not _is_digest_same(file, there[path]):
            yield f"{shown(path)} has other bytes"


def _is_digest_same(file: Path, described: Any) -> bool:
    """Whether the Hub has a file's bytes: it tells the SHA-256 of large files, git's of others."""
    if described.lfs is not None:
        return bool(described.lfs.sha256 == digest_file(file))
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return bool(described.blob_id == blob.hexdigest())


def _before(repository: _Repository, state: _State) -> str | None:
    """The tags, or else the commit, that the branch was at; None where it held no files."""
    if not state.files.keys() - {_KEPT}:
        return None
    named = [tag for tag, commit in sorted(state.tags.items()) if commit == state.head]
    return f"{_SCHEME}{repository.id}@{' and '.join(named) or state.head[:_SHORT_COMMIT]}"


def _description(release: Release) -> str:
    facts = {"mergegate.digest": release.digest, **release.tags}
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


@contextmanager
def _failures_told(place: str) -> Iterator[None]:
    """What the client raises on the way, told as an error of ours.

    Raises:
        PublishError: in place of what was raised.
    """
    import httpx2

    try:
        yield
    except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
        raise PublishError(
            f"{place}: not published: {_reason(error)}", hint=_hint(error)
        ) from error


def _reason(error: Exception) -> str:
    """The first line of an error, and of what it came from where it only says where."""
    own = str(error).strip().partition("\n")[0] or type(error).__name__
    cause = error.__cause__ if isinstance(error, RuntimeError) else None
    text = f"{own} {_reason(cause)}" if isinstance(cause, Exception) else own
    return one_line(text, _REASON_CHARACTERS)


def _hint(error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        return "unset HF_HUB_OFFLINE"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "give a token that may write there: HF_TOKEN, or hf auth login"
    return "nothing was tagged: promote again, and what was sent is not sent twice"
