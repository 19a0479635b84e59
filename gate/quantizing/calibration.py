"""Calibration inputs: what a quantizer is shown, rendered as the model is served, never judged."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gate.engines.tokenized import open_tokenizer
from gate.errors import StageError
from gate.texts import WrittenText, read_texts

_LEAST_TELLING = 12
"""Characters below which a text may be in two places by chance."""


CalibrationInput = WrittenText
"""One input: the turns of a conversation, or one text without a role."""


def read_calibration(paths: Iterable[Path]) -> tuple[CalibrationInput, ...]:
    """The inputs of JSON-lines files, each line a text or the messages of a conversation.

    Raises:
        ConfigError: a file cannot be read, is empty, or a line is neither.
    """
    return tuple(one for path in paths for one in read_texts(path, what="calibration input"))


def render_calibration(inputs: Sequence[CalibrationInput], tokenizer: Any) -> tuple[str, ...]:
    """Each input as the text the model is given: conversations in the chat template, whole.

    Args:
        inputs: what `read_calibration` gave.
        tokenizer: a transformers tokenizer.

    Raises:
        StageError: there are conversations, and the tokenizer has no chat template or it fails.
    """
    return tuple(_render(one, tokenizer) for one in inputs)


def read_rendered(
    paths: Iterable[Path], folders: Sequence[Path], trust_remote_code: bool
) -> tuple[str, ...]:
    """The texts of JSON-lines files, conversations in the chat template of a model.

    Args:
        paths: what to read.
        folders: the model's, of which the last that has a tokenizer gives the template.
        trust_remote_code: run Python files that a folder brings.

    Raises:
        ConfigError: a file cannot be read, is empty, or a line is neither text nor messages.
        StageError: there are conversations, and no chat template for them.
    """
    inputs = [one for path in paths for one in read_texts(path)]
    if not any(one.is_conversation for one in inputs):
        return tuple(one.messages[0][1] for one in inputs)
    tokenizer = open_tokenizer(folders, trust_remote_code=trust_remote_code)
    return render_calibration(inputs, tokenizer)


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


def _render(one: CalibrationInput, tokenizer: Any) -> str:
    from jinja2 import TemplateError

    if not one.is_conversation:
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
