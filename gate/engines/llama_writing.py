"""Continues prompts side by side in llama.cpp: where one answer ends, the next prompt begins."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from gate.engines.interface import PromptRow
from gate.engines.llama_batches import AT_ONCE, Token
from gate.engines.llama_models import LlamaModel

HasStopped = Callable[[PromptRow, Sequence[int]], bool]
"""Whether a stop string of the row has just been completed by the tokens written."""


class _Answer:
    """A prompt, and what has been written to it."""

    def __init__(self, index: int, row: PromptRow) -> None:
        self.index = index
        self.row = row
        self.written: list[int] = []

    def next_tokens(self, sequence: int, start: int) -> list[Token]:
        """What is not in memory yet: the prompt from a position on, or the last token written."""
        if self.written:
            position = len(self.row.ids) + len(self.written) - 1
            return [Token(self.written[-1], position, [sequence], True)]
        last = len(self.row.ids) - 1
        return [
            Token(self.row.ids[place], place, [sequence], place == last)
            for place in range(start, last + 1)
        ]


class Writing:
    """Greedy answers to prompts, as many at once as there are places.

    Each step runs the last token of every answer that is being written, and with them prompts
    for the free places: one, and more up to `AT_ONCE` tokens.
    """

    def __init__(self, model: LlamaModel, *, places: int, opening: int) -> None:
        """Take a model whose memory has room.

        Args:
            model: the model, with nothing in memory but the opening.
            places: sequences to write at once.
            opening: how many ids of every prompt are in memory already, in every sequence.
        """
        self._model = model
        self._places = places
        self._opening = opening
        self._active: dict[int, _Answer] = {}

    def answers(
        self, rows: Sequence[PromptRow], has_stopped: HasStopped
    ) -> Iterator[tuple[int, ...]]:
        """For each row, in order, the tokens written, without the end token.

        Raises:
            StageError: llama.cpp cannot run the rows, or the model's logits are not finite.
        """
        waiting = deque(_Answer(index, row) for index, row in enumerate(rows))
        finished: dict[int, tuple[int, ...]] = {}
        told = 0
        while waiting or self._active:
            best = self._model_best(self._step(waiting))
            for (sequence, answer), token in zip(list(self._active.items()), best, strict=True):
                is_end = self._model.is_end(token)
                if not is_end:
                    answer.written.append(token)
                is_long = len(answer.written) >= answer.row.max_tokens
                if is_end or is_long or has_stopped(answer.row, answer.written):
                    finished[answer.index] = tuple(answer.written)
                    del self._active[sequence]
                    self._model.forget(self._opening, sequence=sequence)
            while told in finished:
                yield finished.pop(told)
                told += 1

    def _step(self, waiting: deque[_Answer]) -> list[Token]:
        """The tokens to run next; prompts that begin are active from here on."""
        tokens = [
            token
            for sequence, answer in self._active.items()
            for token in answer.next_tokens(sequence, self._opening)
        ]
        free = [place for place in range(self._places) if place not in self._active]
        for count, sequence in enumerate(free[: len(waiting)]):
            size = len(waiting[0].row.ids) - self._opening
            if count and len(tokens) + size > AT_ONCE:
                break
            self._active[sequence] = waiting.popleft()
            tokens += self._active[sequence].next_tokens(sequence, self._opening)
        return tokens

    def _model_best(self, tokens: list[Token]) -> list[int]:
        """The most probable next token of every active answer, in their order."""
        import numpy as np

        logits = self._model.run(tokens)
        early = [len(answer.written) < answer.row.min_tokens for answer in self._active.values()]
        if any(early):
            logits[np.ix_(early, self._model.end_ids)] = -np.inf
        best: list[int] = logits.argmax(axis=1).tolist()
        return best
