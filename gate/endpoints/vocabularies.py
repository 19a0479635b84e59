"""The vocabulary of a model on this machine, without its weights: tokens, chat template, limits."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from gate.checkpoints import read_json
from gate.engines.tokenized import TokenizedText, end_token_ids, open_tokenizer
from gate.terms import LocalAdapter


class Vocabulary(Protocol):
    """The half of an engine that turns text into tokens and back.

    Attributes:
        prefix_token_id: stands for an empty context: the begin token, else the end token.
    """

    prefix_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text; special tokens written in it are recognized."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of token ids."""

    def render_chat(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """Messages in the model's own chat template.

        Raises:
            StageError: the model has no chat template, or the template refuses the messages.
        """


class LocalVocabulary(NamedTuple):
    """A model's vocabulary, which of its tokens end an answer, and how many it attends to."""

    vocabulary: Vocabulary
    is_end: Callable[[int], bool]
    max_length: int


def read_checkpoint(
    weights: Path, adapters: Sequence[LocalAdapter], *, trust_remote_code: bool
) -> LocalVocabulary:
    """The vocabulary of a checkpoint; the tokenizer is the last adapter's that has one.

    Raises:
        StageError: there is no tokenizer.
    """
    paths = [weights, *(adapter.path for adapter in adapters)]
    tokenizer = open_tokenizer(paths, trust_remote_code=trust_remote_code)
    config = read_json(weights / "config.json")
    generation = weights / "generation_config.json"
    declared = (read_json(generation) if generation.is_file() else config).get("eos_token_id")
    ends = frozenset(end_token_ids(declared, tokenizer.eos_token_id))
    limit = config.get("max_position_embeddings") or config.get("text_config", {}).get(
        "max_position_embeddings"
    )
    vocabulary = TokenizedText(tokenizer, name=weights.name)
    return LocalVocabulary(vocabulary, ends.__contains__, limit or sys.maxsize)
