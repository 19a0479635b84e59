"""Texts that models read token by token: JSON-lines files with one text to a line."""

import json
from pathlib import Path

from gate.errors import ConfigError


def read_texts(path: Path) -> tuple[str, ...]:
    """The texts of a file: the value of `text` in each of its lines.

    Raises:
        ConfigError: the file cannot be read, or a line has no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from error
    texts = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            texts.append(_text(path, number, line))
    if not texts:
        raise ConfigError(f"{path}: has no texts", hint='a line is {"text": "..."}')
    return tuple(texts)


def _text(path: Path, number: int, line: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise _no_text(path, number) from error
    if not isinstance(text, str) or not text.strip():
        raise _no_text(path, number)
    return text


def _no_text(path: Path, number: int) -> ConfigError:
    return ConfigError(f"{path}:{number}: has no text", hint='a line is {"text": "..."}')
