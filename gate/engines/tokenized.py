"""The half of an engine that a transformers tokenizer is: text to token ids and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.errors import StageError


class TokenizedText:
    """Text in a checkpoint's own tokens and chat template.

    Attributes:
        name: what the engine is, for messages.
        prefix_token_id: stands for an empty context: the begin token, else the end token.
    """

    def __init__(self, tokenizer: Any, *, name: str) -> None:
        """Wrap a transformers tokenizer."""
        begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.name = name
        self.prefix_token_id: int = end if begin is None else begin
        self._tokenizer = tokenizer

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The tokenizer's ids of a text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The tokenizer's text of ids."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def render_chat(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """Messages in the tokenizer's chat template.

        Raises:
            StageError: there is no chat template, or it refuses the messages.
        """
        from jinja2 import TemplateError

        if self._tokenizer.chat_template is None:
            raise StageError(
                f"{self.name}: the tokenizer has no chat template", hint="set chat: false"
            )
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except TemplateError as error:
            raise StageError(f"{self.name}: the chat template fails: {error}") from error
        return text


def open_tokenizer(paths: Sequence[Path], *, trust_remote_code: bool) -> Any:
    """The tokenizer of the last directory that has one.

    Raises:
        StageError: there is none.
    """
    from transformers import AutoTokenizer

    sources = [path for path in paths if (path / "tokenizer_config.json").is_file()]
    if not sources:
        raise StageError(f"{paths[0]}: no tokenizer_config.json")
    return AutoTokenizer.from_pretrained(sources[-1], trust_remote_code=trust_remote_code)


def end_token_ids(declared: int | list[int] | None, own: int | None) -> list[int]:
    """Tokens that end an answer: those of the generation config, and the tokenizer's own."""
    ids = declared if isinstance(declared, list) else [declared]
    return list(dict.fromkeys(end for end in (*ids, own) if end is not None)) or [0]
