"""What a server tells of itself: its models, version, limits, tokenizer and chat template."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gate.endpoints.completions import read_prompt_tokens
from gate.endpoints.connections import Connection
from gate.errors import ConfigError, suggest
from gate.terms import JsonValue

_ABSENT = (404, 405, 501)
_TOKENIZE_PATHS = ("/tokenize", "/v1/tokenize", "/extras/tokenize")
_VERSIONS = (
    ("/version", "version"),  # vLLM
    ("/props", "build_info"),  # llama-server
    ("/info", "version"),  # TGI
    ("/server_info", "version"),  # SGLang
)

Messages = Sequence[dict[str, str]]


class ServedModel(NamedTuple):
    """What a server says of one of its models.

    Attributes:
        name: what requests call it.
        version: of the server; None where it does not say.
        root: where the server has the model from; None where it does not say.
        max_length: the most tokens it attends to; None where it does not say.
        is_listed: whether the server lists its models at all.
    """

    name: str
    version: str | None
    root: str | None
    max_length: int | None
    is_listed: bool


class Rendered(NamedTuple):
    """A chat as a server renders it: its token ids, its text, or how many tokens it is."""

    ids: tuple[int, ...] | None = None
    text: str | None = None
    tokens: int | None = None


def describe(connection: Connection, model: str) -> ServedModel:
    """What a server says of a model.

    Raises:
        ConfigError: it has no model of that name.
        StageError: it cannot be reached, or lets nobody ask it.
    """
    listed = connection.get("/v1/models")
    entries: list[Any] = []
    if listed.status not in _ABSENT:
        content = listed.demand()
        entries = content.get("data") or [] if isinstance(content, dict) else []
    names = {name: entry for entry in entries for name in _names(entry)}
    if names and model not in names:
        raise ConfigError(
            f"{connection.url} has no model {model!r}", hint=suggest(model, tuple(names))
        )
    entry = names.get(model, {})
    parent = names.get(entry.get("parent"), {})
    root = entry.get("root")
    return ServedModel(
        name=model,
        version=_version(connection),
        root=root if isinstance(root, str) else None,
        max_length=_max_length(connection, entry, parent),
        is_listed=bool(names),
    )


def tokenize(connection: Connection, model: str, text: str) -> tuple[int, ...] | None:
    """The token ids that a server makes of a text; None where it cannot be asked.

    Raises:
        StageError: it cannot be reached.
    """
    body: dict[str, JsonValue] = {
        "model": model,
        "prompt": text,  # vLLM, SGLang
        "content": text,  # llama-server
        "parse_special": True,
        "inputs": text,  # TGI
        "input": text,  # llama-cpp-python
        "add_special_tokens": False,
    }
    for path in _TOKENIZE_PATHS:
        reply = connection.post(path, body)
        ids = _ids(reply.content) if reply.is_ok else None
        if ids:
            return ids
    return None


def render_chat(connection: Connection, model: str, messages: Messages) -> Rendered | None:
    """A chat that waits for an answer, as a server renders it; None where it cannot be asked.

    Raises:
        StageError: it cannot be reached.
    """
    given: JsonValue = [dict(message) for message in messages]
    ask: dict[str, JsonValue] = {"model": model, "messages": given, "add_generation_prompt": True}
    reply = connection.post("/tokenize", ask)
    ids = _ids(reply.content) if reply.is_ok else None
    if ids:
        return Rendered(ids=ids)
    reply = connection.post("/apply-template", ask)
    text = reply.content.get("prompt") if isinstance(reply.content, dict) else None
    if reply.is_ok and isinstance(text, str):
        return Rendered(text=text)
    brief: dict[str, JsonValue] = {"model": model, "messages": given, "max_tokens": 1}
    count = read_prompt_tokens(connection.post("/v1/chat/completions", brief).content)
    return None if count is None else Rendered(tokens=count)


def count_tokens(connection: Connection, model: str, text: str) -> int | None:
    """How many tokens a server reads of a text; None where it does not say.

    Raises:
        StageError: it cannot be reached.
    """
    body: dict[str, JsonValue] = {"model": model, "prompt": text, "max_tokens": 1}
    return read_prompt_tokens(connection.post("/v1/completions", body).content)


def _names(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return []
    aliases = entry.get("aliases")
    names = [entry.get("id"), *(aliases if isinstance(aliases, list) else [])]
    return [name for name in names if isinstance(name, str)]


def _version(connection: Connection) -> str | None:
    for path, name in _VERSIONS:
        found = _at(connection.get(path).content, name)
        if isinstance(found, str):
            return found
    return None


def _max_length(connection: Connection, entry: Any, parent: Any) -> int | None:
    """The length of the context, where any kind of server has it."""
    found = (
        _at(entry, "max_model_len")  # vLLM, SGLang
        or _at(parent, "max_model_len")  # vLLM, of an adapter
        or _at(entry, "meta", "n_ctx")  # llama-server: of one slot
        or _at(connection.get("/props").content, "default_generation_settings", "n_ctx")
        or _at(connection.get("/info").content, "max_total_tokens")  # TGI
    )
    return found if isinstance(found, int) else None


def _at(content: Any, *path: str) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _ids(content: Any) -> tuple[int, ...] | None:
    """Token ids in any of the forms that servers give them."""
    tokens = content.get("tokens") if isinstance(content, dict) else content
    if not isinstance(tokens, list):
        return None
    found = [token.get("id") if isinstance(token, dict) else token for token in tokens]
    ids = tuple(one for one in found if isinstance(one, int))
    return ids if len(ids) == len(found) else None
