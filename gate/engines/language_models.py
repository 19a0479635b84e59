"""lm-eval's language model interface over an engine: tokenizes, groups, sorts, records, checks."""
# ruff: noqa: TID253 - the one subclass of lm-eval's interface; imported inside functions only

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from gate.digest import digest_json
from gate.engines.interface import Engine, Likelihood, PromptRow, ScoreRow
from gate.errors import ConfigError, StageError


class _Pair(NamedTuple):
    """A request's context and continuation in token ids, and the document it belongs to."""

    document: int
    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.context + self.continuation[:-1]


class GateLM(TemplateLM):  # type: ignore[misc]  # lm-eval is not typed
    """An engine as lm-eval sees it.

    Nothing is truncated, cached, sampled or retried; every token id that the engine is given is
    recorded, so that two variants can be shown to have been asked the same.
    """

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine; documents go by their position until `begin` names them."""
        super().__init__()
        self.engine = engine
        self.is_reversed = False
        """Whether the engine is asked from the last row to the first, for a second run."""
        self._prefix = engine.decode([engine.prefix_token_id], skip_special_tokens=False)
        self.begin()

    def begin(
        self,
        *,
        name_document: Callable[[int], str] = "document {}".format,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Forget what was asked so far: another task begins.

        Args:
            name_document: names a document in messages, by its position in the task.
            on_progress: hears (documents done, documents in all).
        """
        self._name = name_document
        self._on_progress = on_progress
        self._asked: dict[int, dict[int, str]] = defaultdict(dict)

    def request_hash(self, document: int) -> str:
        """The sha256 of all the engine was given for a document, by its position in the run."""
        asked = self._asked[document]
        return digest_json([asked[index] for index in sorted(asked)])

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """For each (context, continuation): its log-probability in nats, and whether it is greedy.

        Raises:
            StageError: a pair is longer than the model, has no tokens, or its score is not finite.
        """
        pairs = []
        for request in requests:
            pair = _Pair(request.doc_id, *map(tuple, self._encode_request(*request.args)))
            self._check_pair(pair)
            self._record(request, {"context": pair.context, "continuation": pair.continuation})
            pairs.append(pair)
        return self._likelihoods(pairs)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """For each text: its log-probability in nats, in one window.

        Raises:
            StageError: a text is longer than the model, has no tokens, or its score is not finite.
        """
        pairs = []
        for request in requests:
            text = tuple(self.tok_encode(request.args[0], add_special_tokens=False))
            pair = _Pair(request.doc_id, (self.prefix_token_id,), text)
            self._check_pair(pair)
            self._record(request, {"context": pair.context, "continuation": pair.continuation})
            pairs.append(pair)
        return [loglikelihood for loglikelihood, _ in self._likelihoods(pairs)]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """For each (prompt, settings): the text written greedily, cut before its first stop.

        Raises:
            ConfigError: the task asks for sampling.
            StageError: a prompt with the tokens to write is longer than the model.
        """
        rows = []
        for request in requests:
            row = self._prompt_row(request)
            self._record(request, row._asdict())
            rows.append(row)
        done = self._progress(request.doc_id for request in requests)
        places: dict[PromptRow, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            places[row].append(place)
        order = sorted(places, key=lambda row: (row.stops, row.max_tokens, -len(row.ids), row.ids))
        texts: dict[PromptRow, str] = {}
        order = order[::-1] if self.is_reversed else order
        for row, written in zip(order, self.engine.generate(order), strict=True):
            text = self.engine.decode(written, skip_special_tokens=True)
            texts[row] = _cut(text, row.stops)
            done(requests[place].doc_id for place in places[row])
        return [texts[row] for row in rows]

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Token ids, as lm-eval's own HFLM gives them: a begin token in the text is not doubled."""
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self._prefix)
        return self.engine.encode(string, add_special_tokens=add_special_tokens)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text; lm-eval needs it only where there is no begin token."""
        return self.engine.prefix_token_id

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        return self.engine.prefix_token_id

    @property
    def tokenizer_name(self) -> str:
        """The engine's name, for lm-eval's request cache, which the gate never uses."""
        return self.engine.name

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Nothing to select: the engine renders by its own template."""
        return None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Messages rendered by the engine's own chat template."""
        return self.engine.render_chat(chat_history, add_generation_prompt=add_generation_prompt)

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        pairs = [_Pair(place, tuple(c), tuple(t)) for place, (_, c, t) in enumerate(requests)]
        return self._likelihoods(pairs)

    def _likelihoods(self, pairs: Sequence[_Pair]) -> list[tuple[float, bool]]:
        targets: dict[tuple[tuple[int, ...], int], dict[tuple[int, ...], list[int]]] = {}
        for place, pair in enumerate(pairs):
            key = (pair.ids, len(pair.continuation))
            targets.setdefault(key, {}).setdefault(pair.continuation, []).append(place)
        rows = sorted(
            (ScoreRow(ids, tuple(by_target)) for (ids, _), by_target in targets.items()),
            key=lambda row: (-len(row.context), row.context, -len(row.ids), row.ids),
        )
        rows = rows[::-1] if self.is_reversed else rows
        done = self._progress(pair.document for pair in pairs)
        results: list[tuple[float, bool]] = [(math.nan, False)] * len(pairs)
        for row, scores in zip(rows, self.engine.score(rows), strict=True):
            by_target = targets[row.ids, len(row.targets[0])]
            for target, score in zip(row.targets, scores, strict=True):
                for place in by_target[target]:
                    results[place] = self._finite(score, pairs[place].document)
            done(pairs[place].document for places in by_target.values() for place in places)
        return results

    def _encode_request(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context:
            encoded: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return encoded
        ids = self.tok_encode(continuation, add_special_tokens=False)
        if ids[:1] == [self.prefix_token_id]:
            return ids[:1], ids[1:]
        return [self.prefix_token_id], ids

    def _prompt_row(self, request: Instance) -> PromptRow:
        prompt, settings = request.args
        settings = normalize_gen_kwargs(settings)
        if settings["do_sample"]:
            raise ConfigError(
                f"{self._name(request.doc_id)}: the task samples its answers, and two runs of one "
                "model would differ",
                hint="set do_sample: false in its generation_kwargs",
            )
        row = PromptRow(
            tuple(self.tok_encode(prompt)),
            tuple(stop for stop in handle_stop_sequences(settings["until"], eos=None) if stop),
            settings["max_gen_toks"],
        )
        self._check_length(request.doc_id, len(row.ids) + row.max_tokens)
        return row

    def _check_pair(self, pair: _Pair) -> None:
        if not pair.continuation:
            raise StageError(
                f"{self._name(pair.document)}: a choice adds no token to its prompt",
                hint="the choice is empty, or the tokenizer melts it into the prompt's last token",
            )
        self._check_length(pair.document, len(pair.ids))

    def _check_length(self, document: int, length: int) -> None:
        if length > self.engine.max_length:
            raise StageError(
                f"{self._name(document)} takes {length} tokens, more than the "
                f"{self.engine.max_length} of {self.engine.name}",
                hint="the gate never truncates: shorten the task's prompts or answers, or use "
                "fewer few-shot examples",
            )

    def _record(self, request: Instance, given: dict[str, Any]) -> None:
        self._asked[request.doc_id][request.idx] = digest_json(given)

    def _progress(self, documents: Iterable[int]) -> Callable[[Iterable[int]], None]:
        """A function that hears the documents of finished requests, and tells of finished ones."""
        waiting = Counter(documents)
        total = len(waiting)

        def done(documents: Iterable[int]) -> None:
            for document in documents:
                waiting[document] -= 1
                if not waiting[document]:
                    del waiting[document]
            self._on_progress(total - len(waiting), total)

        return done

    def _finite(self, score: Likelihood, document: int) -> tuple[float, bool]:
        if math.isfinite(score.loglikelihood):
            return score.loglikelihood, score.is_greedy
        raise StageError(
            f"{self._name(document)}: a log-likelihood is {score.loglikelihood}",
            hint="the weights hold NaN or infinity, or overflow in this dtype",
        )


def _cut(text: str, stops: Iterable[str]) -> str:
    """The text before the first stop string in it."""
    for stop in stops:
        text = text.partition(stop)[0]
    return text
