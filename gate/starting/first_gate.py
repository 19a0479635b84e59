"""A first gate.yaml and suite for a base and its adapters, written and proven to plan."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.planning.prospects import Prospect, prospects
from gate.planning.todo import locate_sources, look_up
from gate.starting.candidates import Candidate, locate_candidate
from gate.starting.conversion import conversion_fault
from gate.starting.examples import read_examples
from gate.starting.facts import AdapterFacts, BaseFacts
from gate.starting.inputs import (
    general_texts,
    inputs_of,
    read_first,
    texts_of_documents,
    unseen,
    write_inputs,
)
from gate.starting.machine import Machine, look_at_machine
from gate.starting.pieces import find_pieces, is_ready
from gate.starting.proposing import Proposals, propose
from gate.starting.tasks import StarterTask, own_task, smoke_task, split_examples, task_name
from gate.starting.writing import write_gate, write_suite
from gate.store import Store
from gate.texts import WrittenText

GATE_FILE = "gate.yaml"
_SUITE_FILE = "suite.yaml"
_CALIBRATION_FILE = "data/calibration.jsonl"
_TEXTS_FILE = "texts/texts.jsonl"

Say = Callable[[str], None]
"""Hears a line of progress."""


class Asked(NamedTuple):
    """What a first gate.yaml is asked for.

    Attributes:
        base: a directory, or org/name@commit.
        adapters: likewise, in order; at least one.
        data: JSON-lines files, each of which becomes a task; none for a smoke task.
        prompt: the field with the prompt, where it is not to be guessed.
        answer: the field with the answer, likewise.
        release: a name; None for the first adapter's, with v1.
    """

    base: str
    adapters: tuple[str, ...]
    data: tuple[Path, ...] = ()
    prompt: str | None = None
    answer: str | None = None
    release: str | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False


class Started(NamedTuple):
    """A gate that was written, and what its plan says.

    Attributes:
        files: what was written, from the folder; gate.yaml first.
        base: what the base is.
        adapters: {name in gate.yaml: what it is}.
        tasks: those of the suite.
        proposals: the variants.
        machine: what they were proposed for.
        stages: how many a first run takes.
        prospects: every check, with what it can show.
    """

    files: tuple[str, ...]
    base: BaseFacts
    adapters: dict[str, AdapterFacts]
    tasks: tuple[StarterTask, ...]
    proposals: Proposals
    machine: Machine
    stages: int
    prospects: tuple[Prospect, ...]


class _Suite(NamedTuple):
    """The tasks of a suite, and the other files that it names, by their paths."""

    tasks: tuple[StarterTask, ...]
    texts: str
    calibration: str


def start(
    asked: Asked, folder: Path, *, root: Path, store: Store, say: Say = lambda _line: None
) -> Started:
    """Write a gate.yaml and a suite, and plan them to prove that they would run.

    Nothing is overwritten, and nothing is left where the plan fails.

    Args:
        asked: the candidate, and what to judge it on.
        folder: where the files go.
        root: what relative directories in `asked` are relative to.
        store: for the environments of engines, and the digests of large files.
        say: hears what is done.

    Raises:
        ConfigError: a file is there already, data that cannot be read, or a plan that fails.
        SourceError: a base or adapter that is missing, unfit or refused.
    """
    _refuse_existing(folder, (GATE_FILE, _SUITE_FILE))
    say("reading the base and the adapters")
    candidate = locate_candidate(
        asked.base,
        asked.adapters,
        root=root,
        store=store,
        allow_pickle=asked.allow_pickle,
        trust_remote_code=asked.trust_remote_code,
    )
    suite = _make_suite(asked, candidate)
    machine = look_at_machine()
    proposals = _propose(candidate, suite, machine, store=store, say=say)
    files = _files(asked, candidate, suite, proposals, places=(root, folder))
    with _written(folder, files):
        say("planning it")
        stages, found = _prove(folder / GATE_FILE, store)
    return Started(
        files=tuple(sorted(files, key=lambda name: (name.count("/"), name))),
        base=candidate.base,
        adapters=candidate.adapters,
        tasks=suite.tasks,
        proposals=proposals,
        machine=machine,
        stages=stages,
        prospects=found,
    )


def _propose(
    candidate: Candidate, suite: _Suite, machine: Machine, *, store: Store, say: Say
) -> Proposals:
    """Variants for the engines that are here; llama.cpp is asked whether it knows the model."""
    pieces = find_pieces(store.root)
    fault = None
    if is_ready(pieces, "llama.cpp") and not candidate.base.is_packed:
        say("asking llama.cpp whether it knows this architecture and tokenizer")
        paths = [Path(one.path) for one in candidate.sources.adapters.values()]
        fault = conversion_fault(candidate.base.path, paths)
    return propose(
        candidate.base,
        tuple(candidate.adapters.values()),
        machine=machine,
        pieces=pieces,
        has_calibration=bool(suite.calibration),
        gguf_fault=fault,
    )


def _make_suite(asked: Asked, candidate: Candidate) -> _Suite:
    """Tasks of the user's own data, else the smoke task; inputs for quantizers from the former."""
    is_qlora = any(one.qlora and not one.by_peft for one in candidate.adapters.values())
    if not asked.data:
        return _Suite((smoke_task(),), general_texts() if is_qlora else "", "")
    chat = candidate.has_template
    tasks: list[StarterTask] = []
    texts: list[WrittenText] = []
    shown: list[WrittenText] = []
    judged: list[list[str]] = []
    for file in asked.data:
        examples = read_examples(file, prompt=asked.prompt, answer=asked.answer)
        split = split_examples(examples)
        name = task_name(file, [task.name for task in tasks])
        tasks.append(own_task(name, examples, split.judged, chat=chat))
        judged += texts_of_documents(split.judged, examples)
        texts += inputs_of(read_first(split.judged), examples, chat=chat)
        shown += inputs_of(split.calibration, examples, chat=chat)
    calibration = write_inputs(unseen(shown, judged))
    return _Suite(tuple(tasks), write_inputs(texts) if is_qlora else "", calibration)


def _files(
    asked: Asked,
    candidate: Candidate,
    suite: _Suite,
    proposals: Proposals,
    *,
    places: tuple[Path, Path],
) -> dict[str, str]:
    """{path from the folder: text} of everything; gate.yaml last, so that it names whole files."""
    root, folder = places
    sources = dict(zip(candidate.adapters, asked.adapters, strict=True))
    adapters = {name: _from(folder, given, root) for name, given in sources.items()}
    release = asked.release or f"{next(iter(adapters))}-v1"
    files = {path: text for task in suite.tasks for path, text in task.files.items()}
    texts = suite.texts if proposals.needs_texts else ""
    files |= {_CALIBRATION_FILE: suite.calibration} if suite.calibration else {}
    files |= {_TEXTS_FILE: texts} if texts else {}
    files[_SUITE_FILE] = write_suite(
        suite.tasks,
        texts=_TEXTS_FILE if texts else None,
        calibration=_CALIBRATION_FILE if suite.calibration else None,
    )
    files[GATE_FILE] = write_gate(release, _from(folder, asked.base, root), adapters, proposals)
    return files


def _from(folder: Path, given: str, root: Path) -> str:
    """A source as gate.yaml names it: relative where both lie below `root`, which may be moved."""
    path = root / Path(given).expanduser()
    if not path.is_dir():
        return given  # a hub id
    path, top, here = Path(os.path.abspath(path)), root.resolve(), folder.resolve()
    if path.is_relative_to(top) and here.is_relative_to(top):
        return Path(os.path.relpath(path, here)).as_posix()
    return str(path)


def _refuse_existing(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise ConfigError(
                f"{folder / name}: is there already, and nothing is overwritten",
                hint="give another folder with --out, or move it away",
            )


@contextmanager
def _written(folder: Path, files: Mapping[str, str]) -> Iterator[None]:
    """The files in place; taken away again where what follows fails."""
    _refuse_existing(folder, tuple(files))
    made: list[Path] = []
    try:
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as stream:
                made.append(file)
                stream.write(text)
        yield
    except BaseException as error:
        for file in reversed(made):
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            why = error.strerror or str(error)
            raise ConfigError(f"{folder}: cannot be written: {why}") from error
        raise


def _prove(config: Path, store: Store) -> tuple[int, tuple[Prospect, ...]]:
    """Plan what was written: how many stages it takes, and what its checks can show."""
    loaded = load_config(config)
    todo = look_up(loaded, locate_sources(loaded, store), store)
    return len(todo.to_run), prospects(loaded, todo.plan)
