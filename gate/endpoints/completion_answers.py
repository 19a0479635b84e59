"""A completion as servers answer it, each in its way: what was written, and how likely it was."""

import math
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError


class TokenScore(NamedTuple):
    """A prompt token's log-probability in nats, and the best that any token had in its place."""

    logprob: float
    best: float


class _Lax(BaseModel):
    """Part of an answer; servers may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Scored(_Lax):
    """A token with its log-probability."""

    logprob: float
    id: int | None = None


class Logprobs(_Lax):
    """Log-probabilities: OpenAI's completions have the first two, llama-server has the third."""

    token_logprobs: tuple[float | None, ...] | None = None
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None
    content: tuple[Scored, ...] | None = None


class Choice(_Lax):
    """The one answer to a prompt."""

    text: str
    finish_reason: str | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: Logprobs | None = None
    prompt_logprobs: tuple[dict[str, Scored] | None, ...] | None = None

    @property
    def written_logprobs(self) -> tuple[float, ...]:
        """The log-probability of each token written, NaN for one without; empty where none has."""
        if self.logprobs is None:
            return ()
        if self.logprobs.content is not None:
            return tuple(token.logprob for token in self.logprobs.content)
        values = self.logprobs.token_logprobs or ()
        return tuple(math.nan if value is None else value for value in values)

    @property
    def written_ids(self) -> tuple[int, ...] | None:
        """The tokens written, an end token among them; None where the server does not tell."""
        if self.token_ids is not None:
            return self.token_ids
        if self.logprobs is None or self.logprobs.content is None:
            return None
        ids = tuple(token.id for token in self.logprobs.content if token.id is not None)
        return ids if len(ids) == len(self.logprobs.content) else None

    def prompt_scores(self, ids: tuple[int, ...]) -> tuple[TokenScore, ...] | None:
        """The scores of a prompt's tokens but the first; None where the server gives none.

        Raises:
            ValueError: it scored other tokens.
        """
        if self.prompt_logprobs:
            return _by_id(self.prompt_logprobs, ids)
        return _by_place(self.logprobs, len(ids))


class Usage(_Lax):
    """How many tokens were read and written."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(NamedTuple):
    """An answer and what it took."""

    choice: Choice
    usage: Usage


class _Content(_Lax):
    choices: tuple[Choice, ...]
    usage: Usage | None = None


def parse_completion(content: Any) -> Completion:
    """A completion from the JSON that a server answered with.

    Raises:
        ValueError: it is none.
    """
    try:
        answer = _Content.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place or 'answer'}: {first['msg']}") from error
    if not answer.choices:
        raise ValueError("choices: there are none")
    return Completion(answer.choices[0], answer.usage or Usage())


def _by_id(
    places: tuple[dict[str, Scored] | None, ...], ids: tuple[int, ...]
) -> tuple[TokenScore, ...]:
    """Scores as vLLM has them: for each place, tokens by their ids."""
    scores = []
    for place, token in zip(places[1:], ids[1:], strict=False):
        if place is None or str(token) not in place:
            break
        best = max(scored.logprob for scored in place.values())
        scores.append(TokenScore(place[str(token)].logprob, best))
    if len(places) != len(ids) or len(scores) != len(ids) - 1:
        raise ValueError("it scored other tokens than it was given")
    return tuple(scores)


def _by_place(logprobs: Logprobs | None, count: int) -> tuple[TokenScore, ...] | None:
    """Scores as OpenAI has them: for each place, a number and the best few by their text."""
    if logprobs is None or logprobs.token_logprobs is None or logprobs.top_logprobs is None:
        return None
    # the token that was written may follow those of the prompt
    if not count <= len(logprobs.token_logprobs) <= count + 1:
        return None
    scores = []
    pairs = zip(logprobs.token_logprobs[1:count], logprobs.top_logprobs[1:count], strict=False)
    for value, top in pairs:
        if value is None or not top:
            return None
        scores.append(TokenScore(value, max(value, *top.values())))
    return tuple(scores) if len(scores) == count - 1 else None
