"""Calibration inputs: what a quantizer is shown, rendered as the model is served, never judged."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gate.errors import ConfigError, StageError

_LINE = 'a line is {"text": "..."} or {"messages": [{"role": "user", "content": "..."}, ...]}'
_LEAST_TELLING = 12
"""Characters below which a text may be in two places by chance."""


class CalibrationInput(NamedTuple):
    """One input: the turns of a conversation, or one text without a role.

    Attributes:
        messages: (role, content) of each turn; a plain text is one turn of the role ''.
        where: its file and line, for messages.
    """

    messages: tuple[tuple[str, str], ...]
    where: str


def read_calibration(paths: Iterable[Path]) -> tuple[CalibrationInput, ...]:
    """The inputs of JSON-lines files, each line a text or the messages of a conversation.

    Raises:
        ConfigError: a file cannot be read, is empty, or a line is neither.
    """
    return tuple(one for path in paths for one in _read_file(path))


def render_calibration(inputs: Sequence[CalibrationInput], tokenizer: Any) -> tuple[str, ...]:
    """Each input as the text the model is given: conversations in the chat template, whole.

    Args:
        inputs: what `read_calibration` gave.
        tokenizer: a transformers tokenizer.

    Raises:
        StageError: there are conversations, and the tokenizer has no chat template or it fails.
    """
    return tuple(_render(one, tokenizer) for one in inputs)


def find_overlap(
    inputs: Sequence[CalibrationInput], documents: Iterable[Sequence[str]]
) -> tuple[CalibrationInput, int] | None:
    """The first calibration input that shares a text with a document, and that document's place.

    They share one where, letter case and white space aside, the longest text of the document is
    part of a turn of the input, or the longest turn of the input is part of a text of the
    document; texts shorter than 12 characters are too common to tell.

    Args:
        inputs: what `read_calibration` gave.
        documents: of each document to be judged, its texts.
    """
    turns = [[_plain(content) for _, content in one.messages] for one in inputs]
    shown = "\0".join("\0".join(parts) for parts in turns)
    longest = [max(parts, key=len, default="") for parts in turns]
    for place, texts in enumerate(documents):
        judged = [_plain(text) for text in texts]
        key = max(judged, key=len, default="")
        if len(key) >= _LEAST_TELLING and key in shown:
            found = next(i for i, parts in enumerate(turns) if any(key in part for part in parts))
            return inputs[found], place
        asked = "\0".join(judged)
        for one, turn in zip(inputs, longest, strict=True):
            if len(turn) >= _LEAST_TELLING and turn in asked:
                return one, place
    return None


def _read_file(path: Path) -> Iterator[CalibrationInput]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    if not any(line.strip() for line in lines):
        raise ConfigError(f"{path}: has no calibration inputs", hint=_LINE)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path.name}:{number}"
            yield CalibrationInput(_messages(line, where), where)


def _messages(line: str, where: str) -> tuple[tuple[str, str], ...]:
    problem = ConfigError(f"{where}: is no calibration input", hint=_LINE)
    try:
        content = json.loads(line)
    except ValueError as error:
        raise problem from error
    if not isinstance(content, dict) or ("text" in content) == ("messages" in content):
        raise problem
    turns = content.get("messages", [{"role": "", "content": content.get("text")}])
    if not isinstance(turns, list) or not turns:
        raise problem
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise problem
        if not isinstance(turn.get("content"), str) or not turn["content"].strip():
            raise problem
    return tuple((turn["role"], turn["content"]) for turn in turns)


def _render(one: CalibrationInput, tokenizer: Any) -> str:
    from jinja2 import TemplateError

    if one.messages[0][0] == "":
        return one.messages[0][1]
    if tokenizer.chat_template is None:
        raise StageError(
            f"{one.where}: is a conversation, and the tokenizer has no chat template",
            hint="give calibration inputs as {'text': ...}",
        )
    turns = [{"role": role, "content": content} for role, content in one.messages]
    try:
        rendered: str = tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError as error:
        raise StageError(f"{one.where}: the chat template fails: {error}") from error
    return rendered


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
