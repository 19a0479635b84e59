"""Every error that a user can meet: what is wrong, what to do next, which exit status it means.

GateError                 3  could not finish
├── ConfigError           2  gate.yaml, a suite, a task file or an argument is wrong
│   └── SourceError       2  a base model, adapter or data file is missing, unreadable or refused
├── RecordError           2  a record that cannot be read
├── StageError            3  a merge, quantize or evaluate stage failed
├── StoreError            3  the store cannot be used: disk full, locked, damaged
├── PublishError          3  a release cannot be published: target locked, full, not reachable
└── Interrupted           3  stopped by the user; running again resumes
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class GateError(Exception):
    """A problem in words, with a hint on the way out and the exit status it leads to."""

    exit_status: ClassVar[int] = 3

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        """Keep the problem (names the file, key or stage) and the hint (what to do next)."""
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        """The problem, then the hint on a line of its own."""
        return f"{self.problem}\n  hint: {self.hint}" if self.hint else self.problem


class ConfigError(GateError):
    """gate.yaml, a suite, a task file or an argument is wrong: found before anything runs."""

    exit_status = 2


class SourceError(ConfigError):
    """A base model, adapter or data file is missing, unreadable, unfit or refused."""


class RecordError(GateError):
    """A record.json that cannot be read as a record of this version."""

    exit_status = 2


class StageError(GateError):
    """A stage failed: its child reported an error, crashed, or was killed."""


class StoreError(GateError):
    """The store cannot be used: disk full, not writable, locked by another run."""


class PublishError(GateError):
    """A release cannot be staged or published: its target is locked, full or not reachable."""


class Interrupted(GateError):
    """The user stopped the run; finished stages are kept."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, else all of them."""
    options = list(known)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(sorted(options))}" if options else "there are none"
