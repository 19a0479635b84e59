"""A model behind a URL as the gate's engine: asked by token ids, proven before it is believed."""

import math
import sys
from collections.abc import Iterator, Sequence

from gate.endpoints.completion_answers import TokenScore
from gate.endpoints.completions import Completions, Prompt, Written, find_form
from gate.endpoints.connections import Connection, ask_in_order
from gate.endpoints.journal import Identity
from gate.endpoints.likeness import check_template, check_tokenizer
from gate.endpoints.servers import ServedModel, tokenize
from gate.endpoints.vocabularies import LocalVocabulary
from gate.engines.interface import Likelihood, PromptRow, ScoreRow
from gate.errors import StageError

_PROBES = (
    "The harbour master keeps two ledgers. In the first,",
    "Question: What is 17 + 25?\nAnswer:",
    "def is_even(number):\n    return",
)
_PROVEN_TOKENS = 4
_SHOWN = 80  # characters of a text that are worth showing
_SLACK = 0.1  # nats by which what greedy decoding wrote may fall short of the best, in bfloat16
_ASKED_TO_WRITE = 1  # servers that score a prompt insist on writing a token after it


class ServedEngine:
    """A served model as the gate's engine, once it has shown the local tokenizer and template."""

    def __init__(
        self,
        connection: Connection,
        served: ServedModel,
        local: LocalVocabulary,
        *,
        concurrency: int,
    ) -> None:
        """Compare the server with the local model, and find the form of request that it takes.

        Raises:
            StageError: its tokenizer or chat template is another, or it takes no prompt.
        """
        self.name = f"{served.name} at {connection.url}"
        self.max_length = served.max_length or local.max_length
        self.prefix_token_id = local.vocabulary.prefix_token_id
        self.served = served
        self.encode = local.vocabulary.encode
        self.decode = local.vocabulary.decode
        self.render_chat = local.vocabulary.render_chat
        self._connection = connection
        self._is_end = local.is_end
        self._concurrency = concurrency
        self._is_scoring = False
        doubts = [
            check_tokenizer(connection, served.name, local.vocabulary),
            check_template(connection, served.name, local.vocabulary),
        ]
        form = find_form(connection, served.name, self._ids(_PROBES[0]), _PROBES[0])
        self._completions = Completions(connection, served.name, form)
        self._tell([doubt for doubt in doubts if doubt])

    def identify(self) -> Identity:
        """How the served model is known again.

        Raises:
            StageError: the server cannot be asked.
        """
        words = " ".join(_PROBES).split(" ")
        texts = [" ".join(words[: count + 1]) for count in range(len(words))]
        answers = [self._write(PromptRow(self._ids(text), (), 1)) for text in texts]
        served = self.served._asdict() | {"max_length": self.max_length}
        return Identity(
            facts={name: str(value) for name, value in served.items()},
            tokens=tuple(self._ids_of(answer, 0) for answer in answers),
            logprobs=tuple(value for answer in answers for value in answer.logprobs),
        )

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row one likelihood per target; equally likely tokens are all greedy.

        Raises:
            StageError: the server gives no log-probabilities of prompts, or wrong ones; a row has
                no room on it; or it cannot be asked.
        """
        if rows and not self._is_scoring:
            self._prove_scoring()
            self._is_scoring = True
        prompts = [(*row.ids, target[-1]) for row in rows for target in row.targets]
        scored = ask_in_order(self._read, prompts, concurrency=self._concurrency)
        for row in rows:
            yield tuple(_likelihood(next(scored)[row.first :]) for _ in row.targets)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row the tokens written greedily.

        Raises:
            StageError: the server cannot be asked, breaks an answer off, or its log-probabilities
                are not finite.
        """
        answers = ask_in_order(self._write_row, rows, concurrency=self._concurrency)
        for row, answer in zip(rows, answers, strict=True):
            yield self._ids_of(answer, row.min_tokens)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.encode(text, add_special_tokens=True))

    def _write_row(self, row: PromptRow) -> Written:
        # without ids log-probabilities serve nothing, and llama-cpp-python sorts words for them
        return self._write(row, wants_logprobs=self._completions.form.takes_ids)

    def _write(self, row: PromptRow, *, wants_logprobs: bool = True) -> Written:
        return self._completions.write(
            self._prompt(row.ids),
            prompt_tokens=len(row.ids),
            stops=row.stops,
            max_tokens=row.max_tokens,
            min_tokens=row.min_tokens,
            wants_logprobs=wants_logprobs,
        )

    def _read(self, ids: tuple[int, ...]) -> tuple[TokenScore, ...]:
        needed = len(ids) + _ASKED_TO_WRITE
        if needed > self.max_length:
            raise StageError(
                f"{self.name}: a prompt to score needs room for {needed} tokens, more than its "
                f"{self.max_length}",
                hint="serve the model with a longer context, or shorten the task's prompts",
            )
        scores = self._completions.read(self._prompt(ids), ids)
        if scores is None:
            raise StageError(
                f"{self.name}: the server gives no log-probabilities of prompts: every choice "
                "would score the same, and any model would pass",
                hint="tasks in which the model writes an answer can be run on it; for this one "
                "serve the model with vLLM, or run a GGUF file with llamacpp",
            )
        return scores

    def _prompt(self, ids: tuple[int, ...]) -> Prompt:
        prompt = self._spell(ids)
        if prompt is not None:
            return prompt
        tail = self.decode(ids, skip_special_tokens=False)[-_SHOWN:]
        raise StageError(
            f"{self.name}: the server takes text only, and makes other tokens of {tail!r}",
            hint="serve the model with vLLM, SGLang or llama-server, which take token ids",
        )

    def _spell(self, ids: tuple[int, ...]) -> Prompt | None:
        """Token ids as the server takes them: as they are, or as a text that it makes them of."""
        if self._completions.form.takes_ids:
            return ids
        begin = self.decode([self.prefix_token_id], skip_special_tokens=False)
        whole = self.decode(ids, skip_special_tokens=False)
        for text in (whole, whole.removeprefix(begin)):
            if tokenize(self._connection, self.served.name, text) == ids:
                return text
        return None

    def _ids_of(self, answer: Written, min_tokens: int) -> tuple[int, ...]:
        """The tokens of an answer, without the end token; those of its text where none are given.

        Raises:
            StageError: its text has no tokens that would give it.
        """
        if answer.ids is not None:
            places = range(min_tokens, len(answer.ids))
            end = next((at for at in places if self._is_end(answer.ids[at])), None)
            return answer.ids[:end]
        ids = tuple(self.encode(answer.text, add_special_tokens=False))
        if self.decode(ids, skip_special_tokens=False) == answer.text:
            return ids
        raise StageError(
            f"{self.name}: its answer {answer.text[:_SHOWN]!r} has no tokens that give that text",
            hint="serve the model with vLLM, SGLang or llama-server, which give token ids",
        )

    def _prove_scoring(self) -> None:
        """Have the server score what it writes itself: nothing may be likelier than that.

        Raises:
            StageError: it is not so.
        """
        values: list[float] = []
        own: list[TokenScore] = []
        for prompt in map(self._ids, _PROBES):
            written = self._write_singly(prompt)
            scores = self._read(prompt + written)
            own += scores[len(prompt) - 1 :]
            values += [score.logprob for score in scores]
        fault = _fault(values, own)
        if fault:
            raise StageError(
                f"{self.name}: the server's log-probabilities of prompts are wrong: {fault}",
                hint="tasks in which the model writes an answer can be run on it; for this one "
                "serve the model with vLLM, or run a GGUF file with llamacpp",
            )

    def _write_singly(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        """Tokens written one at a time, since the text of several may be that of others too."""
        written: tuple[int, ...] = ()
        for _ in range(_PROVEN_TOKENS):
            step = self._ids_of(self._write(PromptRow(prompt + written, (), 1)), 0)
            if len(step) != 1 or self._spell(prompt + written + step) is None:
                break
            written += step
        return written

    def _tell(self, doubts: Sequence[str]) -> None:
        """One line on the log about who is asked, and one for each thing that is not known."""
        served, form = self.served, self._completions.form
        if not served.is_listed:
            doubts = ["it lists no models: whether it has this one is not known", *doubts]
        if served.max_length is None:
            doubts = [f"it does not say its context: {self.max_length} are taken", *doubts]
        told = f"version {served.version or 'unknown'}, model from {served.root or 'unknown'}"
        how = "token ids" if form.takes_ids else "text that it makes the same token ids of"
        sys.stderr.write(f"{self.name}: {told}, {self.max_length} tokens, prompts are {how}\n")
        for doubt in doubts:
            sys.stderr.write(f"{self.name}: warning: {doubt}\n")


def _likelihood(scores: Sequence[TokenScore]) -> Likelihood:
    return Likelihood(
        math.fsum(score.logprob for score in scores),
        all(score.logprob >= score.best for score in scores),
    )


def _fault(values: Sequence[float], own: Sequence[TokenScore]) -> str | None:
    """What is wrong with log-probabilities of prompts, in words."""
    if not all(map(math.isfinite, values)):
        return "they are not finite"
    if max(values) > _SLACK:
        return "they are above 0"
    if max(values) - min(values) == 0:
        return f"they are all {values[0]}"
    if not own:
        return "it writes nothing that they could be compared with"
    if any(score.logprob < score.best - _SLACK for score in own):
        return "what it writes itself is not what they say is likeliest"
    return None
