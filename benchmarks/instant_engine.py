"""An engine without a model, for what the gate and lm-eval take by themselves."""

from collections.abc import Iterator, Sequence

from gate.engines.interface import Likelihood, PromptRow, ScoreRow


class Instant:
    """An engine that answers at once: what remains is what the gate and lm-eval take."""

    name = "instant"
    max_length = 1 << 20
    prefix_token_id = 0

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """A token for every byte."""
        del add_special_tokens
        return list(text.encode())

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The bytes of the tokens."""
        del skip_special_tokens
        return bytes(ids).decode(errors="replace")

    def render_chat(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        """The messages, one after the other."""
        del add_generation_prompt
        return "".join(one["content"] for one in messages)

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """Some number that depends on the continuation."""
        for row in rows:
            yield tuple(Likelihood(-float(sum(one)), False) for one in row.targets)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """Nothing."""
        yield from (() for _ in rows)
