"""llama.cpp in this process: scores and continues with a GGUF file, by token ids of its own."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.engines.interface import (
    LINES_AT_ONCE,
    READ_AT_ONCE,
    Likelihood,
    NextTokens,
    PromptRow,
    ReadRow,
    ScoreRow,
    has_stopped,
    read_batches,
    score_batches,
    shared_length,
)
from gate.engines.llama_models import LlamaModel, Token
from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

READS = "gguf"
"""What the backend opens."""

DISTRIBUTIONS = "full"
"""It gives the probabilities of the full vocabulary at each token of a text."""

BRIDGE = {"name": "gguf", "type": "BF16"}
"""The quantizer that makes merged weights readable here without changing them."""

PACKAGES = ("llama-cpp-python", "lm-eval")
"""Distributions whose versions can change the scores."""


@contextmanager
def open_model(
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    batch_size: int = 16,
    threads: int | None = None,
) -> Iterator["GateLM"]:
    """A GGUF file loaded with llama.cpp, tokenized by its own vocabulary.

    Args:
        weights: a directory that holds one .gguf file.
        adapters: none; adapters run on the hf backend.
        trust_remote_code: not used: a GGUF file holds no code.
        allow_pickle: not used: a GGUF file is not a pickle.
        batch_size: sequences run at once, up to 256.
        threads: threads to compute with; None for one a core.

    Raises:
        ConfigError: adapters are given.
        StageError: llama.cpp is not installed, or cannot load the file.
    """
    from gate.engines.language_models import GateLM

    if adapters:
        raise ConfigError(
            f"llamacpp serves merged weights, not adapters ({adapters[0].name})",
            hint="add a merge and a gguf quantize to the variant, or serve it with hf",
        )
    files = sorted(weights.glob("*.gguf"))
    if len(files) != 1:
        raise StageError(f"{weights} holds {len(files)} .gguf files, not one")
    model = LlamaModel(files[0], max_sequences=batch_size, threads=threads or os.cpu_count() or 1)
    try:
        yield GateLM(LlamaEngine(model))
    finally:
        model.close()


class LlamaEngine:
    """A GGUF model as the gate's engine."""

    def __init__(self, model: LlamaModel) -> None:
        """Wrap a loaded file."""
        self._model = model
        self.name = model.name
        self.max_length = model.max_length
        self.prefix_token_id = model.end_id if model.begin_id < 0 else model.begin_id

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The ids of a text in the file's own vocabulary."""
        return self._model.encode(text, add_special_tokens=add_special_tokens)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of ids in the file's own vocabulary."""
        return self._model.decode(ids, skip_special_tokens=skip_special_tokens)

    def render_chat(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """Messages in the file's own chat template, rendered as transformers renders it.

        Raises:
            StageError: the file has no chat template, or it refuses the messages.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        template = self._model.chat_template
        if template is None:
            raise StageError(f"{self.name}: the file has no chat template", hint="set chat: false")
        try:
            rendered, _ = render_jinja_template(
                [messages],
                chat_template=template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                bos_token=self._text_of(self._model.begin_id),
                eos_token=self._text_of(self._model.end_id),
            )
        except TemplateError as error:
            raise StageError(f"{self.name}: the chat template fails: {error}") from error
        return str(rendered[0])

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row one likelihood per target; log-softmax in float64.

        Raises:
            StageError: llama.cpp cannot run the rows.
        """
        for batch in score_batches(rows, self._model.max_sequences):
            tokens, starts = self._lay_out([(row.ids, row.first) for row in batch])
            self._model.open_context(len(tokens))
            logits = self._model.run(tokens)
            for row, start in zip(batch, starts, strict=True):
                yield _likelihoods(logits[start : start + len(row.targets[0])], row.targets)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row the tokens written greedily.

        Raises:
            StageError: llama.cpp cannot run the rows, or the model's logits are not finite.
        """
        for start in range(0, len(rows), self._model.max_sequences):
            yield from self._generate_batch(rows[start : start + self._model.max_sequences])

    def read(self, rows: Sequence[ReadRow], top: int) -> Iterator[NextTokens]:
        """At every place the log-probabilities of the full vocabulary, from float64 to float32.

        Raises:
            StageError: llama.cpp cannot run the rows.
        """
        import numpy as np

        for batch in read_batches(rows, self._model.max_sequences):
            tokens = [
                Token(id, place, [sequence], place + 1 in reads)
                for sequence, row in enumerate(batch)
                for reads in [set(row.places)]
                for place, id in enumerate(row.ids)
            ]
            self._model.open_context(len(tokens))
            for start in range(0, len(tokens), READ_AT_ONCE):
                logits = self._model.run(tokens[start : start + READ_AT_ONCE])
                for first in range(0, len(logits), LINES_AT_ONCE):
                    lines = logits[first : first + LINES_AT_ONCE]
                    yield _log_softmax(lines).astype(np.float32)

    def _generate_batch(self, rows: Sequence[PromptRow]) -> list[tuple[int, ...]]:
        import numpy as np

        tokens, _ = self._lay_out([(row.ids, len(row.ids) - 1) for row in rows])
        self._model.open_context(len(tokens) + sum(row.max_tokens for row in rows))
        written: list[list[int]] = [[] for _ in rows]
        waiting = list(range(len(rows)))
        while waiting:
            logits = self._model.run(tokens)
            early = [len(written[place]) < rows[place].min_tokens for place in waiting]
            if any(early):
                logits[np.ix_(early, self._model.end_ids)] = -np.inf
            best = logits.argmax(axis=1).tolist()
            for place, token in zip(list(waiting), best, strict=True):
                row, text = rows[place], written[place]
                is_end = self._model.is_end(token)
                if not is_end:
                    text.append(token)
                if is_end or len(text) >= row.max_tokens or has_stopped(self, text, row.stops):
                    waiting.remove(place)
            ends = {place: len(rows[place].ids) + len(written[place]) - 1 for place in waiting}
            tokens = [Token(written[place][-1], end, [place], True) for place, end in ends.items()]
        return [tuple(text) for text in written]

    def _lay_out(
        self, lines: Sequence[tuple[tuple[int, ...], int]]
    ) -> tuple[list[Token], list[int]]:
        """Lines of ids as one batch, read from a position on; and where each one's logits begin.

        What all lines begin with is in the batch once, as part of each of them.
        """
        shared = 0
        if self._model.can_share and len(lines) > 1:
            shared = shared_length([ids for ids, _ in lines], min(first for _, first in lines))
        everyone = range(len(lines))
        tokens = [Token(lines[0][0][place], place, everyone) for place in range(shared)]
        starts, count = [], 0
        for sequence, (ids, first) in enumerate(lines):
            starts.append(count)
            count += len(ids) - first
            tokens += [
                Token(ids[place], place, [sequence], place >= first)
                for place in range(shared, len(ids))
            ]
        return tokens, starts

    def _text_of(self, token: int) -> str:
        return "" if token < 0 else self.decode([token], skip_special_tokens=False)


def _likelihoods(logits: Any, targets: Sequence[tuple[int, ...]]) -> tuple[Likelihood, ...]:
    """Each target's likelihood, from the logits that predict its tokens, one line a token."""
    import numpy as np

    scores = _log_softmax(logits)
    best = scores.argmax(axis=1)
    lines = np.arange(len(scores))
    return tuple(
        Likelihood(float(scores[lines, target].sum()), bool((best == target).all()))
        for target in map(np.asarray, targets)
    )


def _log_softmax(logits: Any) -> Any:
    """Log-probabilities in float64."""
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
