"""Scores continuations with a transformers model: a context is run once for all that follow it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from gate.engines.hf_batches import cheapest_parts, padded_costs
from gate.engines.hf_caches import CachedModel, Prefix, branch, pad
from gate.engines.interface import LINES_AT_ONCE, READ_AT_ONCE, Likelihood, ScoreRow

_RUN_EACH = 64  # tokens in a run for each of batch_size
_KEPT_EACH = 1024  # tokens in the cache of a run for each of batch_size


class Question(NamedTuple):
    """A context, and the rows that go on from it.

    Attributes:
        context: the ids that all its rows begin with, and of which the last predicts the targets.
        rows: their places among those that are scored.
        going: the places of those that have more ids than the context.
        longest: the most ids of a row.
    """

    context: tuple[int, ...]
    rows: tuple[int, ...]
    going: tuple[int, ...]
    longest: int


class _Asked(NamedTuple):
    """A line of a run, the row that it is of, and the places in the row that are read there."""

    line: int
    row: int
    places: range


def score_rows(
    model: CachedModel, rows: Sequence[ScoreRow], *, batch_size: int
) -> Iterator[tuple[Likelihood, ...]]:
    """For each row, in order, one likelihood per target; log-softmax in float32.

    Args:
        model: a loaded model.
        rows: those of one context beside each other; of similar length beside each other is best.
        batch_size: sequences of 64 tokens in a run.
    """
    for is_long, group in groupby(rows, lambda row: len(row.ids) > model.steady):
        alike = list(group)
        if is_long:
            model.tell_of_length()
        if is_long or model.unshared:
            yield from _score_whole(model, alike, batch_size, is_alone=is_long)
        else:
            yield from _score_shared(model, alike, batch_size)


def _score_whole(
    model: CachedModel, rows: Sequence[ScoreRow], batch_size: int, *, is_alone: bool
) -> Iterator[tuple[Likelihood, ...]]:
    """Every row run from its first token on, alone where padding would change it."""
    alone = (range(place, place + 1) for place in range(len(rows)))
    fitting = _fitting_parts([len(row.ids) for row in rows], model, batch_size)
    for part in alone if is_alone else fitting:
        scoring = _Scoring(model, rows[part.start : part.stop], batch_size)
        scoring.run_whole()
        yield from scoring.likelihoods()


def _score_shared(
    model: CachedModel, rows: Sequence[ScoreRow], batch_size: int
) -> Iterator[tuple[Likelihood, ...]]:
    """What rows have in common run once: an opening of all, and each context."""
    opening = model.run_opening([row.ids for row in rows], min(row.first for row in rows))
    questions = make_questions(rows)
    for part in question_parts(questions, opening.length, model, batch_size=batch_size):
        own = questions[part.start : part.stop]
        first = own[0].rows[0]
        scoring = _Scoring(model, rows[first : own[-1].rows[-1] + 1], batch_size)
        scoring.run_questions([_moved(question, first) for question in own], opening)
        yield from scoring.likelihoods()


def make_questions(rows: Sequence[ScoreRow]) -> list[Question]:
    """Neighbours of one context as one question, in order."""
    questions = []
    for context, group in groupby(enumerate(rows), key=lambda pair: pair[1].context):
        own = list(group)
        questions.append(
            Question(
                context,
                tuple(place for place, _ in own),
                tuple(place for place, row in own if len(row.ids) > len(context)),
                max(len(row.ids) for _, row in own),
            )
        )
    return questions


def question_parts(
    questions: Sequence[Question], opening: int, model: CachedModel, *, batch_size: int
) -> Iterator[range]:
    """Neighbours whose contexts are run together.

    Contexts are padded to the longest, and what one has beyond the shortest is run again for each
    of its rows; so the tokens of both are counted. Beyond a sliding window contexts are as long as
    each other, as a layer that forgets cannot be taken back to the shortest.
    """

    def costs(start: int) -> Iterator[float]:
        longest, shortest, reach, going = 0, model.window, 0, 0
        for count, question in enumerate(questions[start:], 1):
            length = len(question.context)
            longest = max(longest, length)
            shortest = length if count == 1 else min(shortest, length)
            run = count * (longest - opening)
            is_forgetful = longest >= model.window and shortest < longest
            if count > 1 and (run > _RUN_EACH * batch_size or is_forgetful):
                return
            reach, going = max(reach, question.longest), going + len(question.going)
            again = model.run_tokens + going * (reach - shortest) if going else 0
            yield model.run_tokens + run + again

    return cheapest_parts(len(questions), costs)


class _Scoring:
    """Rows that are scored together, and what was read of their targets so far."""

    def __init__(self, model: CachedModel, rows: Sequence[ScoreRow], batch_size: int) -> None:
        import torch

        self._model = model
        self._rows = rows
        self._batch_size = batch_size
        ends = torch.tensor([len(row.targets) for row in rows]).cumsum(0).tolist()
        self._starts = [0, *ends]
        self._sums = torch.zeros(ends[-1], dtype=torch.float64)
        self._misses = torch.zeros(ends[-1], dtype=torch.int64)

    def run_whole(self) -> None:
        """Run every row from its first token on."""
        asked = [
            _Asked(line, line, range(row.first, len(row.ids)))
            for line, row in enumerate(self._rows)
        ]
        self._run([row.ids for row in self._rows], None, asked, start=0)

    def run_questions(self, questions: Sequence[Question], opening: Prefix) -> None:
        """Run the contexts, which gives each target's first token, then what goes on from them."""
        contexts = [question.context for question in questions]
        asked = [
            _Asked(line, row, range(len(contexts[line]) - 1, len(contexts[line])))
            for line, question in enumerate(questions)
            for row in question.rows
        ]
        cache = branch(opening, [0] * len(contexts))
        after = self._run(contexts, cache, asked, start=opening.length)
        prefix = Prefix(max(map(len, contexts)), after)
        lines = [(line, row) for line, one in enumerate(questions) for row in one.going]
        lines.sort(key=lambda pair: -len(self._rows[pair[1]].ids))
        shared = min(map(len, contexts))
        widths = [len(self._rows[row].ids) - shared for _, row in lines]
        for part in _fitting_parts(widths, self._model, self._batch_size, kept=shared):
            self._go_on(lines[part.start : part.stop], prefix, shared)

    def _go_on(self, lines: Sequence[tuple[int, int]], prefix: Prefix, shared: int) -> None:
        """Run what rows have beyond the tokens that the contexts share in number."""
        rows = [self._rows[row] for _, row in lines]
        asked = [
            _Asked(line, row, range(self._rows[row].first + 1, len(self._rows[row].ids)))
            for line, (_, row) in enumerate(lines)
        ]
        cache = branch(prefix, [line for line, _ in lines], shared)
        self._run([row.ids for row in rows], cache, asked, start=shared)

    def _run(
        self, lines: Sequence[tuple[int, ...]], cache: Any, asked: Sequence[_Asked], *, start: int
    ) -> Any:
        """Run lines from a place on and read them; the cache that is left."""
        ids = pad([line[start:] for line in lines], 0)
        needed = min(one.places.start for one in asked)
        count = start + ids.shape[1] - needed
        output = self._model.run(ids, cache, count=count)
        self._read(output.logits[:, -count:], needed, asked)
        return getattr(output, "past_key_values", None)

    def _read(self, logits: Any, offset: int, asked: Sequence[_Asked]) -> None:
        """Take the targets' tokens from logits [lines, places from the offset on, vocabulary]."""
        import torch

        places = [(one, place) for one in asked for place in one.places]
        for start in range(0, len(places), LINES_AT_ONCE):
            some = places[start : start + LINES_AT_ONCE]
            lines = [one.line for one, _ in some]
            scores = torch.log_softmax(
                logits[lines, [place - offset for _, place in some]].float(), dim=-1
            )
            wanted = [
                (index, target[place - self._rows[one.row].first], self._starts[one.row] + number)
                for index, (one, place) in enumerate(some)
                for number, target in enumerate(self._rows[one.row].targets)
            ]
            index, token, owner = torch.tensor(wanted).T
            chosen = scores[index, token].double().cpu()
            is_greedy = (scores.argmax(dim=-1).cpu()[index]) == token
            self._sums.index_add_(0, owner, chosen)
            self._misses.index_add_(0, owner, (~is_greedy).long())

    def likelihoods(self) -> Iterator[tuple[Likelihood, ...]]:
        """For each row one likelihood per target."""
        found = list(map(Likelihood, self._sums.tolist(), (self._misses == 0).tolist()))
        for start, end in zip(self._starts, self._starts[1:], strict=False):
            yield tuple(found[start:end])


def _fitting_parts(
    widths: list[int], model: CachedModel, batch_size: int, *, kept: int = 0
) -> Iterator[range]:
    """Neighbours of these widths that are run together, each with so many tokens in the cache."""
    most = min(READ_AT_ONCE, _RUN_EACH * batch_size)
    costs = padded_costs(
        widths,
        most_tokens=most,
        most_lines=_KEPT_EACH * batch_size // max(kept, 1),
        run_tokens=model.run_tokens,
    )
    return cheapest_parts(len(widths), costs)


def _moved(question: Question, first: int) -> Question:
    """A question of rows whose places are counted from another one on."""
    return question._replace(
        rows=tuple(row - first for row in question.rows),
        going=tuple(row - first for row in question.going),
    )
