"""Writes greedily with a transformers model: rows of a batch leave it as they end."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from gate.engines.hf_batches import cheapest_parts, padded_costs
from gate.engines.hf_caches import NOTHING, CachedModel, Prefix, branch
from gate.engines.interface import Engine, PromptRow, has_stopped
from gate.errors import StageError

_KEPT_EACH = 1024  # tokens in the cache for each of batch_size


def write_rows(
    model: CachedModel,
    rows: Sequence[PromptRow],
    *,
    engine: Engine,
    ends: Sequence[int],
    batch_size: int,
) -> Iterator[tuple[int, ...]]:
    """For each row, in order, the tokens written greedily.

    Args:
        model: a loaded model whose cache rows can share.
        rows: prompts; of similar length beside each other is best.
        engine: decodes what was written, to find stop strings.
        ends: tokens that end an answer.
        batch_size: sequences of 1,024 tokens at once.

    Raises:
        StageError: the model's logits are not finite.
    """
    for part in written_parts(rows, model, batch_size=batch_size):
        batch = rows[part.start : part.stop]
        yield from _Writing(model, batch, engine, ends).write(_opening(model, batch))


def written_parts(
    rows: Sequence[PromptRow], model: CachedModel, *, batch_size: int
) -> Iterator[range]:
    """Neighbours that are written together: alike in all but their prompts."""
    start = 0
    for _, group in groupby(rows, lambda row: (row.stops, row.max_tokens, row.min_tokens)):
        alike = list(group)
        most = alike[0].max_tokens
        costs = padded_costs(
            [len(row.ids) + most for row in alike],
            most_tokens=_KEPT_EACH * batch_size,
            run_tokens=model.run_tokens * (1 + most),
        )
        for part in cheapest_parts(len(alike), costs):
            yield range(start + part.start, start + part.stop)
        start += len(alike)


def _opening(model: CachedModel, rows: Sequence[PromptRow]) -> Prefix:
    """What all prompts begin with, where padding between it and the rest changes nothing."""
    longest = max(len(row.ids) + row.max_tokens for row in rows)
    if not model.takes_positions or longest >= model.window:
        return NOTHING
    lines = [row.ids for row in rows]
    return model.run_opening(lines, min(map(len, lines)) - 1)


class _Writing:
    """A batch of rows that are written together."""

    def __init__(
        self, model: CachedModel, rows: Sequence[PromptRow], engine: Engine, ends: Sequence[int]
    ) -> None:
        self._model = model
        self._rows = rows
        self._engine = engine
        self._ends = list(ends)
        self._written: list[list[int]] = [[] for _ in rows]

    def write(self, opening: Prefix) -> list[tuple[int, ...]]:
        """The tokens of each row, without the end token."""
        import torch

        ids, mask = self._lay_out(opening.length)
        cache = branch(opening, [0] * len(self._rows))
        lines = list(range(len(self._rows)))
        while True:
            output = self._model.run(ids, cache, count=1, **self._attended(mask, ids.shape[1]))
            best = self._best(output.logits[:, -1].float(), lines)
            pairs = enumerate(zip(lines, best, strict=True))
            left = [place for place, (line, token) in pairs if not self._ends_with(line, token)]
            if not left:
                return [tuple(written) for written in self._written]
            cache = output.past_key_values
            if len(left) < len(lines):
                cache = branch(Prefix(mask.shape[1], cache), left)
                mask, lines = mask[left], [lines[place] for place in left]
            ids = torch.tensor([[best[place]] for place in left])
            mask = torch.cat([mask, mask.new_ones(len(lines), 1)], dim=1)

    def _attended(self, mask: Any, width: int) -> dict[str, Any]:
        """What a run of the last `width` places is told of padding."""
        if not self._model.takes_positions:
            return {"attention_mask": mask}
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
        return {"attention_mask": mask, "position_ids": positions}

    def _lay_out(self, start: int) -> tuple[Any, Any]:
        """The prompts from a place on, padded on the left, and what of them is attended to."""
        import torch

        width = max(len(row.ids) for row in self._rows) - start
        ids = torch.full((len(self._rows), width), self._ends[0])
        mask = torch.ones(len(self._rows), start + width, dtype=torch.long)
        for line, seen, row in zip(ids, mask, self._rows, strict=True):
            missing = start + width - len(row.ids)
            line[missing:] = torch.tensor(row.ids[start:])
            seen[start : start + missing] = 0
        return ids, mask.to(self._model.device)

    def _best(self, logits: Any, lines: Sequence[int]) -> list[int]:
        """The most probable token of each line, one that ends nothing before the least length."""
        if not logits.amax(dim=-1).isfinite().all():
            raise StageError(
                f"{self._engine.name}: its logits are not finite",
                hint="the weights hold NaN or infinity, or overflow in this dtype",
            )
        early = [
            place
            for place, line in enumerate(lines)
            if len(self._written[line]) < self._rows[line].min_tokens
        ]
        if early:
            logits = logits.clone()  # what is computed for inference cannot be written to
            logits[[[place] for place in early], self._ends] = float("-inf")
        best: list[int] = logits.argmax(dim=-1).tolist()
        return best

    def _ends_with(self, line: int, token: int) -> bool:
        """Whether a row's answer ends with a token; it is written unless it is an end token."""
        written, row = self._written[line], self._rows[line]
        if token in self._ends:
            return True
        written.append(token)
        return len(written) >= row.max_tokens or has_stopped(self._engine, written, row.stops)
