"""llama.cpp in this process: scores and continues with a GGUF file, by token ids of its own."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.cores import core_count
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
)
from gate.engines.llama_batches import Line, Token, gather, lay_out, opening_of
from gate.engines.llama_models import LlamaModel
from gate.engines.llama_writing import Writing
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

CODE = ("engines/llama_batches.py", "engines/llama_writing.py")
"""Files of the gate that decide how a model is run here."""

_log = logging.getLogger(__name__)


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
    model = LlamaModel(files[0], max_sequences=batch_size, threads=threads or core_count())
    if not model.can_share:
        _log.warning(
            "%s: each choice runs its whole prompt again: the model keeps a state that is of one "
            "sequence alone",
            model.name,
        )
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

        What all rows begin with is run once, and so is the context of the choices of a document.

        Raises:
            StageError: llama.cpp cannot run the rows.
        """
        if not rows:
            return
        shares = self._model.can_share
        opening = opening_of([_line(row) for row in rows]) if shares else ()
        start, most = len(opening), self._model.max_sequences
        batches = list(gather(rows, most_rows=most, start=start, shares=shares))
        layouts = [lay_out(list(map(_line, one)), start=start, shares=shares) for one in batches]
        self._open(opening, cells=max(len(layout.tokens) for layout in layouts))
        for batch, layout in zip(batches, layouts, strict=True):
            self._model.forget(start)
            logits = self._model.run(layout.tokens)
            norms = _log_norms(logits)
            for row, read in zip(batch, layout.reads, strict=True):
                yield _likelihoods(logits[read], norms[read], row.targets)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row the tokens written greedily; where one ends, the next one begins.

        Raises:
            StageError: llama.cpp cannot run the rows, or the model's logits are not finite.
        """
        if not rows:
            return
        lines = [Line(row.ids, len(row.ids) - 1) for row in rows]
        opening = opening_of(lines) if self._model.can_share else ()
        places = min(len(rows), self._model.max_sequences)
        longest = max(len(row.ids) + row.max_tokens for row in rows)
        self._open(opening, cells=places * (longest - len(opening)))
        writing = Writing(self._model, places=places, opening=len(opening))
        yield from writing.answers(rows, lambda row, text: has_stopped(self, text, row.stops))

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

    def _open(self, opening: tuple[int, ...], *, cells: int) -> None:
        """Empty the memory, make room in it, and run what all sequences begin with."""
        self._model.open_context(len(opening) + cells)
        everyone = range(self._model.max_sequences)
        if opening:
            self._model.run([Token(id, place, everyone) for place, id in enumerate(opening)])

    def _text_of(self, token: int) -> str:
        return "" if token < 0 else self.decode([token], skip_special_tokens=False)


def _line(row: ScoreRow) -> Line:
    return Line(row.ids, row.first)


def _likelihoods(
    logits: Any, norms: Any, targets: Sequence[tuple[int, ...]]
) -> tuple[Likelihood, ...]:
    """Each target's likelihood, from the logits that predict its tokens, one line a token."""
    import numpy as np

    best = logits.argmax(axis=1)
    lines = np.arange(len(logits))
    return tuple(
        Likelihood(
            float((logits[lines, target].astype(np.float64) - norms).sum()),
            bool((best == target).all()),
        )
        for target in map(np.asarray, targets)
    )


def _log_norms(logits: Any) -> Any:
    """The logarithm of each line's summed exponentials, in float64."""
    import numpy as np

    norms = np.empty(len(logits))
    for place, line in enumerate(logits):  # by itself: as large as the vocabulary in float64
        highest = float(line.max())
        norms[place] = highest + np.log(np.exp(line.astype(np.float64) - highest).sum())
    return norms


def _log_softmax(logits: Any) -> Any:
    """Log-probabilities in float64."""
    return logits.astype("float64") - _log_norms(logits)[:, None]
