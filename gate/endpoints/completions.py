"""The completions protocol: token ids to the tokens a server writes, or to how likely it has them.

Spoken by vLLM, SGLang, llama-server, llama-cpp-python and others, each with fields of its own.
"""

import math
from itertools import product
from typing import Any, NamedTuple

from gate.endpoints.completion_answers import Completion, TokenScore, parse_completion
from gate.endpoints.connections import Connection, Reply
from gate.errors import StageError
from gate.terms import JsonValue

_PATH = "/v1/completions"

_GREEDY: dict[str, JsonValue] = {
    "temperature": 0,
    # servers take from the checkpoint, or from their command line, what a request leaves open
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,  # vLLM, SGLang
    "repeat_penalty": 1,  # llama-cpp-python
    "samplers": ["temperature"],  # llama-server
    "cache_prompt": False,  # llama-server: a cached prefix was computed in other batches
    "skip_special_tokens": False,  # vLLM, SGLang: a stop string may be a special token
    "return_token_ids": True,  # vLLM, SGLang
}

_WHOLE = frozenset({"stop", "length", "eos_token", "stop_sequence"})

Prompt = tuple[int, ...] | str
"""Token ids; or text, for a server that takes no ids and was seen to make the same ones of it."""


class Form(NamedTuple):
    """The form of request that a server takes.

    Attributes:
        takes_ids: prompts are token ids, not text.
        gives_logprobs: it can be asked for the log-probabilities of what it writes.
    """

    takes_ids: bool
    gives_logprobs: bool


class Written(NamedTuple):
    """What a server wrote after a prompt.

    Attributes:
        text: the text, without the stop string that ended it.
        ids: its token ids, an end token among them; None where the server gives none.
        logprobs: of each token, in nats; empty where the server gives none.
        tokens: how many it wrote; None where it does not say.
        is_cut: whether it ended because it may write no more.
    """

    text: str
    ids: tuple[int, ...] | None
    logprobs: tuple[float, ...]
    tokens: int | None
    is_cut: bool


class Completions:
    """A model of a server, asked in a form that the server takes."""

    def __init__(self, connection: Connection, model: str, form: Form) -> None:
        """Speak about one of a server's models."""
        self._connection = connection
        self._model = model
        self.form = form

    def write(
        self,
        prompt: Prompt,
        *,
        prompt_tokens: int,
        stops: tuple[str, ...] = (),
        max_tokens: int,
        min_tokens: int = 0,
        wants_logprobs: bool = True,
    ) -> Written:
        """What the server writes greedily.

        Args:
            prompt: in the form that it takes.
            prompt_tokens: how many tokens that is.
            stops: strings that end the answer.
            max_tokens: the most tokens to write.
            min_tokens: the least; servers know it by different names, and some not at all.
            wants_logprobs: ask for log-probabilities, where the server gives them.

        Raises:
            StageError: the server refuses, reads another number of tokens than it was given, or
                gives an answer that is broken off, or too short, or not finite.
        """
        body: dict[str, JsonValue] = {"max_tokens": max_tokens}
        if stops:
            body["stop"] = list(stops)
        if min_tokens:
            body |= {"min_tokens": min_tokens, "ignore_eos": min_tokens == max_tokens}
        if wants_logprobs and self.form.gives_logprobs:
            body["logprobs"] = 1
        choice, usage = self._ask(prompt, prompt_tokens, body)
        logprobs = choice.written_logprobs
        if not all(map(math.isfinite, logprobs)):
            raise StageError(
                f"{self._connection.url}: the log-probabilities of its answer are not finite",
                hint="the weights hold NaN or infinity, or overflow in the server's dtype",
            )
        tokens = usage.completion_tokens
        if tokens is not None and tokens < min_tokens:
            raise StageError(
                f"{self._connection.url}: it wrote {tokens} tokens where {min_tokens} were asked "
                "for: it knows neither min_tokens nor ignore_eos",
                hint="vLLM, SGLang and llama-server know one of them",
            )
        is_cut = choice.finish_reason == "length"
        if is_cut and tokens is not None and tokens < max_tokens:
            raise StageError(
                f"{self._connection.url}: it stopped after {tokens} of {max_tokens} tokens",
                hint="its context is shorter than it says: serve the model with a longer one",
            )
        ids = choice.written_ids
        if ids is not None and tokens not in (None, len(ids)):
            ids = None  # llama-server leaves out the tokens that a stop string began in
        return Written(choice.text, ids, logprobs, tokens, is_cut)

    def read(self, prompt: Prompt, ids: tuple[int, ...]) -> tuple[TokenScore, ...] | None:
        """The score of each token of a prompt but the first; None where the server gives none.

        Args:
            prompt: in the form that the server takes.
            ids: its token ids.

        Raises:
            StageError: the server refuses, or scores other tokens than it was given.
        """
        body: dict[str, JsonValue] = {"max_tokens": 1, "echo": True, "logprobs": 1}
        choice, _ = self._ask(prompt, len(ids), body)
        try:
            return choice.prompt_scores(ids)
        except ValueError as error:
            raise StageError(f"{self._connection.url}: {error}") from error

    def _ask(self, prompt: Prompt, prompt_tokens: int, body: dict[str, JsonValue]) -> Completion:
        reply = _post(self._connection, self._model, prompt, body)
        content = reply.demand()
        try:
            choice, usage = parse_completion(content)
        except ValueError as error:
            raise StageError(
                f"{reply.url} does not answer as a completions server: {error}"
            ) from error
        if usage.prompt_tokens not in (None, prompt_tokens):
            raise StageError(
                f"{self._connection.url}: it read {usage.prompt_tokens} tokens of a prompt of "
                f"{prompt_tokens}",
                hint="the server cuts prompts, or adds tokens to them",
            )
        if choice.finish_reason not in _WHOLE:
            raise StageError(
                f"{self._connection.url}: an answer ended with {choice.finish_reason!r}",
                hint="only an end token, a stop string or the most tokens may end one",
            )
        return Completion(choice, usage)


def find_form(connection: Connection, model: str, ids: tuple[int, ...], text: str) -> Form:
    """The fullest form of request that a server answers.

    Args:
        connection: to the server.
        model: one of its models.
        ids: a short prompt.
        text: the same as text.

    Raises:
        StageError: it answers none of them rightly; its words on the last, plainest one are in it.
    """
    refusal = ""
    for form in (Form(*choice) for choice in product((True, False), repeat=2)):
        body: dict[str, JsonValue] = {"max_tokens": 1}
        if form.gives_logprobs:
            body["logprobs"] = 1
        reply = _post(connection, model, ids if form.takes_ids else text, body)
        if reply.is_ok and read_prompt_tokens(reply.content) in (None, len(ids)):
            return form
        refusal = f"{reply.status}: {reply.message}"
    raise StageError(f"{connection.url}{_PATH} completes no prompt: {refusal}")


def read_prompt_tokens(content: Any) -> int | None:
    """How many tokens a server says it read, in the content of any of its answers."""
    usage = content.get("usage") if isinstance(content, dict) else None
    found = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return found if isinstance(found, int) else None


def _post(connection: Connection, model: str, prompt: Prompt, body: dict[str, JsonValue]) -> Reply:
    given: JsonValue = prompt if isinstance(prompt, str) else list(prompt)
    whole: dict[str, JsonValue] = {"model": model, "prompt": given}
    return connection.post(_PATH, whole | _GREEDY | body)
