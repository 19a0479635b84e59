"""An engine's answers kept as they come, so that a run that broke off goes on where it stopped."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from gate.digest import digest_json
from gate.engines.interface import Engine, Likelihood, PromptRow, ScoreRow
from gate.errors import StageError
from gate.terms import Noun

TOLERANCE = 0.06
"""How far apart, in nats, the answers of one model to the same prompts may be: root mean square.

In bfloat16 another batch or a cached prefix moves them: by 0.037 for a model of 135 M parameters.
Its weights rounded to 8 bits move them by 0.08, a third of a trained adapter by 0.13. A server that
is wrongly taken for another costs time, as all is asked anew; two that are nearer than this to each
other are taken for one.
"""

_Row = TypeVar("_Row", ScoreRow, PromptRow)


class Identity(Noun):
    """How a server is known again: what it says of itself, and what it answers to fixed prompts.

    Attributes:
        facts: what it says of itself.
        tokens: what it wrote after each prompt: token ids.
        logprobs: of those tokens, in nats; empty where the server gives none.
    """

    facts: dict[str, str]
    tokens: tuple[tuple[int, ...], ...]
    logprobs: tuple[float, ...]

    def is_close(self, other: "Identity") -> bool:
        """Whether the other answers the same.

        Of two tokens that are equally likely any may be written: log-probabilities decide, and
        tokens where there are none.
        """
        if self.facts != other.facts or len(self.logprobs) != len(other.logprobs):
            return False
        if not self.logprobs:
            return self.tokens == other.tokens
        return math.dist(self.logprobs, other.logprobs) <= TOLERANCE * math.sqrt(len(self.logprobs))


class _Kind(NamedTuple):
    """A way to ask an engine, and how its answers are read back from JSON."""

    name: str
    read: Callable[[Any], Any]


_SCORES = _Kind("score", lambda answer: tuple(Likelihood(*one) for one in answer))
_TEXTS = _Kind("generate", tuple)


class Journaled:
    """An engine that asks another one only for what has not been answered before.

    The answers are in a JSON-lines file under the identity of who gave them; when that is another
    now, they are thrown away. It is asked for once more after each pass, so that answers of two
    models never meet in one result.

    Attributes:
        name: the engine's.
        max_length: the engine's.
        prefix_token_id: the engine's.
    """

    def __init__(self, engine: Engine, path: Path | None, identify: Callable[[], Identity]) -> None:
        """Read what is kept.

        Args:
            engine: who is asked.
            path: the file; None to keep nothing, and still see that the engine stays the same.
            identify: asks the engine who it is.

        Raises:
            StageError: the engine cannot be asked.
        """
        self.name = engine.name
        self.max_length = engine.max_length
        self.prefix_token_id = engine.prefix_token_id
        self.encode = engine.encode
        self.decode = engine.decode
        self.render_chat = engine.render_chat
        self._engine = engine
        self._path = path
        self._identify = identify
        self._identity = identify()
        self._known = {} if path is None else _read(path, self._identity)

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row, in order, one likelihood per target.

        Raises:
            StageError: the engine fails, or has become another one meanwhile.
        """
        return self._answers(_SCORES, rows, self._engine.score)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row, in order, the tokens written; rows that ask for a least are for measuring.

        Those are always asked, and not kept.

        Raises:
            StageError: the engine fails, or has become another one meanwhile.
        """
        if any(row.min_tokens for row in rows):
            return self._engine.generate(rows)
        return self._answers(_TEXTS, rows, self._engine.generate)

    def _answers(
        self,
        kind: _Kind,
        rows: Sequence[_Row],
        ask: Callable[[Sequence[_Row]], Iterator[Any]],
    ) -> Iterator[Any]:
        if self._path is None:
            yield from ask(rows)
            self._confirm()
            return
        keys = [digest_json({kind.name: row._asdict()}) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        asked = ask(list(missing.values()))
        with self._path.open("a", encoding="utf-8") as file:
            for key in keys:
                if key not in self._known:
                    self._known[key] = answer = next(asked)
                    file.write(json.dumps({"row": key, "answer": answer}) + "\n")
                    file.flush()
                yield kind.read(self._known[key])
        if missing:
            self._confirm()

    def _confirm(self) -> None:
        """Ask the engine once more who it is, and forget its answers where it is another now."""
        if self._identify().is_close(self._identity):
            return
        self._known.clear()
        if self._path is not None:
            _begin(self._path, self._identity)
        raise StageError(
            f"{self.name}: another model answered at the end than at the start",
            hint="run again when the deployment has settled: everything is asked anew",
        )


def _read(path: Path, identity: Identity) -> dict[str, Any]:
    """The answers in a file; none, and a new file, where they are another identity's.

    A line that was not written to its end is dropped, with all that follows it.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    header = _parse(lines[0]) if lines else None
    if header is None or not _is_of(header, identity):
        _begin(path, identity)
        return {}
    known: dict[str, Any] = {}
    whole = len(lines[0])
    for line in lines[1:]:
        entry = _parse(line)
        if entry is None:
            break
        known[entry["row"]] = entry["answer"]
        whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return known


def _begin(path: Path, identity: Identity) -> None:
    """Start a file that holds no answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"identity": identity.model_dump(mode="json")}
    path.write_text(json.dumps(header) + "\n", encoding="utf-8")


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole line of a journal; None for one that was torn."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _is_of(header: dict[str, Any], identity: Identity) -> bool:
    try:
        return Identity.model_validate(header.get("identity")).is_close(identity)
    except ValidationError:
        return False
