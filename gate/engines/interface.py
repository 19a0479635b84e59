"""What a backend opens: an engine that scores and continues token ids, rows in and results out."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, takewhile
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

READ_AT_ONCE = 1024
"""Tokens that are run at once where distributions are read, so that their logits have room."""

LINES_AT_ONCE = 256
"""Distributions over a full vocabulary that are given at once."""


class ScoreRow(NamedTuple):
    """Token ids to run, with the continuations that are read off their last positions.

    Attributes:
        ids: a context, then a continuation without its last token; never empty.
        targets: continuations of one length that differ in their last token only, so that one
            run of `ids` scores them all.
    """

    ids: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]

    @property
    def first(self) -> int:
        """The position whose logits predict the first token of the targets."""
        return len(self.ids) - len(self.targets[0])

    @property
    def context(self) -> tuple[int, ...]:
        """The ids before the continuation."""
        return self.ids[: self.first + 1]


class Likelihood(NamedTuple):
    """A continuation's summed log-probability in nats, and whether greedy decoding writes it."""

    loglikelihood: float
    is_greedy: bool


class PromptRow(NamedTuple):
    """A prompt to continue greedily until a stop string, an end token, or `max_tokens`.

    Attributes:
        ids: the prompt; never empty.
        stops: strings that end the answer.
        max_tokens: the most tokens to write.
        min_tokens: the least: an end token that would come before is not written.
    """

    ids: tuple[int, ...]
    stops: tuple[str, ...]
    max_tokens: int
    min_tokens: int = 0


class ReadRow(NamedTuple):
    """Token ids of which some are read: what the model expects there is asked for.

    Attributes:
        ids: a part of a text, as long as the engine attends to at most.
        places: of the tokens that are read, ascending and never 0: each is given those before it.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]


class TopTokens(NamedTuple):
    """The most probable next tokens at some places, where an engine tells no more.

    Attributes:
        ids: int32, one line a place, the most probable first.
        logprobs: float32, their log-probabilities in nats.
        chosen: float32, the log-probability of the text's own token at each place.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    chosen: NDArray[np.float32]


NextTokens = NDArray[np.float32] | TopTokens
"""Distributions of the next token: log-probabilities [places, vocabulary], or the top of them."""


class Engine(Protocol):
    """A loaded model that works on token ids.

    Attributes:
        name: what it is, for messages.
        max_length: the most tokens it can attend to.
        prefix_token_id: stands for an empty context: the begin token, else the end token.
    """

    name: str
    max_length: int
    prefix_token_id: int

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text; special tokens written in it are recognized."""

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of token ids."""

    def render_chat(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """Messages in the model's own chat template; without the prompt the last one stays open.

        Raises:
            StageError: the model has no chat template, or the template refuses the messages.
        """

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row, in order, one likelihood per target."""

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row, in order, the tokens written, without the end token.

        Raises:
            StageError: the model's logits are not finite.
        """


@runtime_checkable
class ReadingEngine(Engine, Protocol):
    """An engine that also tells what the model expects at each token of a text."""

    def read(self, rows: Sequence[ReadRow], top: int) -> Iterator[NextTokens]:
        """The distributions at every place of the rows, in order, a few places at a time.

        Args:
            rows: parts of texts, none longer than `max_length`.
            top: tokens told at each place by an engine that cannot give the full vocabulary.

        Raises:
            StageError: the engine cannot run the rows.
        """


def read_batches(rows: Sequence[ReadRow], batch_size: int) -> Iterator[list[ReadRow]]:
    """Rows in order, at most `batch_size` at once and, padded, `READ_AT_ONCE` tokens.

    A row that is longer stays by itself.
    """
    batch: list[ReadRow] = []
    for row in rows:
        longest = max(len(one.ids) for one in (*batch, row))
        if batch and (len(batch) == batch_size or longest * (len(batch) + 1) > READ_AT_ONCE):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def score_batches(rows: Sequence[ScoreRow], batch_size: int) -> Iterator[list[ScoreRow]]:
    """Rows in order, in batches of at most `batch_size`; rows of one context stay by themselves.

    Neighbours with the same context share all of it; other neighbours share what they happen to.
    """
    singles: list[ScoreRow] = []
    for _, group in groupby(rows, key=lambda row: row.context):
        siblings = list(group)
        if len(siblings) == 1:
            singles += siblings
        if singles and (len(siblings) > 1 or len(singles) == batch_size):
            yield singles
            singles = []
        if len(siblings) > 1:
            for start in range(0, len(siblings), batch_size):
                yield siblings[start : start + batch_size]
    if singles:
        yield singles


def shared_length(lines: Sequence[tuple[int, ...]], limit: int) -> int:
    """How many leading ids are equal in all lines, `limit` at most."""
    # the first and last in order differ wherever any two do
    pairs = zip(min(lines)[:limit], max(lines)[:limit], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def has_stopped(engine: Engine, written: Sequence[int], stops: Sequence[str]) -> bool:
    """Whether a stop string has just been completed at the end of the tokens written."""
    if not stops:
        return False
    # a token is at least one byte, save for a few that complete a character or hold no text
    reach = max(len(stop.encode()) for stop in stops) + 4
    tail = engine.decode(written[-reach:], skip_special_tokens=False)
    return any(stop in tail for stop in stops)


@contextmanager
def patient_threads() -> Iterator[None]:
    """For importing a library with threads of its own: they sleep while they wait for each other.

    OpenMP's spin by default, which took 20 times the time where others used the cores too. The
    policy is read once, when the library is loaded; what a user has set stays.
    """
    policy = os.environ.get("OMP_WAIT_POLICY")
    os.environ["OMP_WAIT_POLICY"] = policy or "PASSIVE"
    try:
        yield
    finally:
        if policy is None:
            del os.environ["OMP_WAIT_POLICY"]
