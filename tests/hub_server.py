"""A small Hub on this machine: repositories of models, in huggingface_hub's protocol."""

import base64
import fnmatch
import hashlib
import json
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from answering_server import AnsweringServer

PAGE = 3
TOKEN = "hf_of_a_test"
LARGE = (".safetensors", ".gguf", ".bin")


class Reply(NamedTuple):
    """A status with its JSON or bytes, and headers."""

    status: int
    content: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class Fault(NamedTuple):
    """What goes wrong with the first request to a path that has a part: told, or not answered.

    Attributes:
        part: of "METHOD path".
        status: what is answered; None closes the connection without an answer.
        is_done: the Hub has done what it was asked for.
    """

    part: str
    status: int | None = None
    is_done: bool = False


class Commit(NamedTuple):
    """Files at a moment: {path: its bytes, and whether they are kept as a large file}."""

    id: str
    title: str
    message: str
    author: str
    files: dict[str, tuple[bytes, bool]]


class Repository:
    """Commits, branches and tags."""

    def __init__(self, is_private: bool) -> None:
        self.is_private = is_private
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.add("main", "initial commit", {".gitattributes": (b"*.safetensors lfs\n", False)})

    def add(self, branch: str, title: str, files: dict, *, message: str = "", author="ada") -> str:
        """A commit on a branch, of everything that it holds."""
        id = hashlib.sha1(f"{len(self.commits)}{title}".encode()).hexdigest()
        self.commits[id] = Commit(id, title, message, author, files)
        self.branches[branch] = id
        return id

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or an id names."""
        named = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(named)


class HubServer(AnsweringServer):
    """Answers on loopback; `repositories` is what was published."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.faults: list[Fault] = []
        self.before_commit = lambda: None

    def files(self, repository: str, revision: str) -> dict[str, bytes]:
        """{path: bytes} at a revision, the Hub's own file left out."""
        found = self.repositories[repository].at(revision).files
        return {path: one[0] for path, one in found.items() if path != ".gitattributes"}

    def sent(self, part: str) -> int:
        """How many requests had this part in method and path."""
        return sum(part in line for line in self.asked)

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer one request, or go wrong with it."""
        line = f"{request.command} {unquote(request.path)}"
        self.asked.append(line)
        fault = next((one for one in self.faults if one.part in line), None)
        if fault:
            self.faults.remove(fault)
        if fault is None or fault.is_done:
            reply = self.answer(request, body)
        if fault and fault.status is None:
            request.close_connection = True
            return
        if fault:
            reply = Reply(fault.status, {"error": "as the test wants it"})
        content = reply.content
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        request.send_response(reply.status)
        for name, value in (*reply.headers, ("Content-Length", str(len(content)))):
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        """What the Hub says to those it knows; large files go by links that need no token."""
        if request.command == "PUT":
            return self.put(request.path, body)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Reply(401, {"error": "Invalid credentials in Authorization header"})
        return self.answer_known(request, body)

    def answer_known(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        """What the Hub says to a holder of the token."""
        url = urlsplit(request.path)
        if url.path == "/api/validate-yaml":
            return Reply(200, {"errors": [], "warnings": []})
        if url.path == "/api/repos/create":
            return self.create(json.loads(body))
        if url.path.endswith("/info/lfs/objects/batch"):
            return self.batch(json.loads(body))
        if "/resolve/" in url.path:
            return self.resolve(url.path)
        _, _, _, owner, name, verb, *rest = [unquote(part) for part in url.path.split("/")] + [""]
        repository = self.repositories.get(f"{owner}/{name}")
        if repository is None:
            return Reply(404, {"error": "none"}, (("X-Error-Code", "RepoNotFound"),))
        call = f"{request.command.lower()}_{verb or 'info'}"
        return getattr(self, call)(repository, "/".join(rest).rstrip("/"), url.query, body)

    def create(self, asked: dict) -> Reply:
        id = f"{asked['organization']}/{asked['name']}"
        if id in self.repositories:
            return Reply(409, {"error": "You already created this model repo", "url": self._of(id)})
        self.repositories[id] = Repository(asked.get("visibility") == "private")
        return Reply(200, {"url": self._of(id), "name": id})

    def _of(self, id: str) -> str:
        return f"{self.url}/{id}"

    def get_info(self, repository, _rest, _query, _body) -> Reply:
        return self.get_revision(repository, "main", "", b"")

    def get_revision(self, repository, revision, _query, _body) -> Reply:
        commit = repository.at(revision)
        siblings = [{"rfilename": path} for path in commit.files]
        id = next(one for one, what in self.repositories.items() if what is repository)
        private = repository.is_private
        return Reply(200, {"id": id, "sha": commit.id, "siblings": siblings, "private": private})

    def get_refs(self, repository, _rest, _query, _body) -> Reply:
        def told(kind, refs):
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit}
                for name, commit in refs.items()
            ]

        tags, branches = told("tags", repository.tags), told("heads", repository.branches)
        return Reply(200, {"tags": tags, "branches": branches, "converts": []})

    def get_tree(self, repository, revision, query, _body) -> Reply:
        files = sorted(repository.at(revision).files.items())
        start = int(parse_qs(query).get("cursor", ["0"])[0])
        page = [described(path, *one) for path, one in files[start : start + PAGE]]
        if start == 0:
            page.append({"type": "directory", "path": "mergegate", "oid": "0" * 40, "size": 0})
        if start + PAGE >= len(files):
            return Reply(200, page)
        id = next(one for one, what in self.repositories.items() if what is repository)
        following = f"{self.url}/api/models/{id}/tree/{revision}?recursive=1&cursor={start + PAGE}"
        return Reply(200, page, (("Link", f'<{following}>; rel="next"'),))

    def get_commits(self, repository, branch, _query, _body) -> Reply:
        last = repository.at(branch)
        told = {"id": last.id, "title": last.title, "message": last.message}
        when = "2026-11-23T12:00:00.000Z"
        return Reply(200, [told | {"date": when, "authors": [{"user": last.author}]}])

    def post_preupload(self, repository, revision, _query, body) -> Reply:
        asked = json.loads(body)
        here = repository.at(revision).files
        ignored = asked.get("gitIgnore") or here.get(".gitignore", (b"", False))[0].decode()
        patterns = [line for line in ignored.splitlines() if line and not line.startswith("#")]
        return Reply(200, {"files": [upload_mode(one, here, patterns) for one in asked["files"]]})

    def batch(self, asked: dict) -> Reply:
        objects = []
        for one in asked["objects"]:
            action = {"upload": {"href": f"{self.url}/large/{one['oid']}", "header": {}}}
            objects.append(one if one["oid"] in self.large else one | {"actions": action})
        return Reply(200, {"transfer": "basic", "objects": objects})

    def put(self, path: str, body: bytes) -> Reply:
        self.large[path.rpartition("/")[2]] = body
        return Reply(200, {})

    def post_commit(self, repository, branch, _query, body) -> Reply:
        header, *lines = [json.loads(line) for line in body.splitlines()]
        self.before_commit()
        head = repository.branches[branch]
        if header["value"].get("parentCommit", head) != head:
            return Reply(
                412, {"error": "A commit has happened since. Please refresh and try again."}
            )
        files = dict(repository.commits[head].files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = (base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                files[value["path"]] = (self.large[value["oid"]], True)
            else:
                del files[value["path"]]
        told = header["value"]
        id = repository.add(branch, told["summary"], files, message=told["description"])
        return Reply(200, {"commitUrl": f"{self.url}/o/n/commit/{id}", "commitOid": id})

    def post_branch(self, repository, branch, _query, _body) -> Reply:
        repository.branches[branch] = repository.branches["main"]
        return Reply(200, {})

    def post_tag(self, repository, revision, _query, body) -> Reply:
        tag = json.loads(body)["tag"]
        if tag in repository.tags:
            return Reply(409, {"error": "Tag already exists"})
        repository.tags[tag] = repository.at(revision).id
        return Reply(200, {})

    def resolve(self, path: str) -> Reply:
        _, owner, name, _, revision, *rest = [unquote(part) for part in path.split("/")]
        commit = self.repositories[f"{owner}/{name}"].at(revision)
        content, _ = commit.files["/".join(rest)]
        etag = hashlib.sha256(content).hexdigest()
        return Reply(200, content, (("X-Repo-Commit", commit.id), ("ETag", f'"{etag}"')))


def described(path: str, content: bytes, is_large: bool) -> dict:
    """A file as the tree of a repository tells it."""
    if is_large:
        oid = hashlib.sha256(content).hexdigest()
        pointer = f"oid sha256:{oid}\nsize {len(content)}\n".encode()
        large = {"lfs": {"oid": oid, "size": len(content), "pointerSize": len(pointer)}}
    else:
        pointer, large = content, {}
    blob = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
    return {"type": "file", "path": path, "oid": blob, "size": len(content), **large}


def upload_mode(one: dict, here: dict, patterns: list[str]) -> dict:
    """How a file is to be sent, and whether it is left out."""
    path = one["path"]
    there = described(path, *here[path]) if path in here else {}
    oid = there["lfs"]["oid"] if "lfs" in there else there.get("oid")
    return {
        "path": path,
        "uploadMode": "lfs" if path.endswith(LARGE) else "regular",
        "shouldIgnore": any(fnmatch.fnmatch(path.rpartition("/")[2], one) for one in patterns),
        "oid": oid,
    }
