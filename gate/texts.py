"""Texts and conversations, one to a line of a JSON-lines file, as models read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gate.errors import ConfigError

_LINE = 'a line is {"text": "..."} or {"messages": [{"role": "user", "content": "..."}, ...]}'


class WrittenText(NamedTuple):
    """The turns of a conversation, or one text without a role.

    Attributes:
        messages: (role, content) of each turn; a plain text is one turn of the role ''.
        where: its file and line, for messages.
    """

    messages: tuple[tuple[str, str], ...]
    where: str

    @property
    def is_conversation(self) -> bool:
        """Whether it has roles, and goes through a chat template."""
        return self.messages[0][0] != ""


def read_texts(path: Path, *, what: str = "text") -> tuple[WrittenText, ...]:
    """The texts of a file, each line a text or the messages of a conversation.

    Args:
        path: a JSON-lines file.
        what: what a line should be, for messages.

    Raises:
        ConfigError: the file cannot be read, is empty, or a line is neither.
    """
    return tuple(_read_lines(path, what))


def _read_lines(path: Path, what: str) -> Iterator[WrittenText]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    if not any(line.strip() for line in lines):
        raise ConfigError(f"{path}: has no {what}s", hint=_LINE)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path.name}:{number}"
            yield WrittenText(
                _messages(line, ConfigError(f"{where}: is no {what}", hint=_LINE)), where
            )


def _messages(line: str, problem: ConfigError) -> tuple[tuple[str, str], ...]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise problem from error
    if not isinstance(content, dict) or ("text" in content) == ("messages" in content):
        raise problem
    turns: Any = content.get("messages", [{"role": "", "content": content.get("text")}])
    if not isinstance(turns, list) or not turns:
        raise problem
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise problem
        if not isinstance(turn.get("content"), str) or not turn["content"].strip():
            raise problem
    return tuple((turn["role"], turn["content"]) for turn in turns)
