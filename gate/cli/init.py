"""gate init: a first gate.yaml for a base and its adapters."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.options import (
    DEFAULT_STORE,
    AdapterPaths,
    AllowPickle,
    BasePath,
    StorePath,
    TrustRemoteCode,
)

if TYPE_CHECKING:
    from gate.starting.first_gate import Started


def init(
    base: BasePath,
    adapters: AdapterPaths,
    *,
    out: Annotated[
        Path, typer.Option("--out", help="The folder to write into.", metavar="DIR")
    ] = Path(),
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="JSON lines to judge it on; may be repeated.", metavar="FILE"),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="The field with the prompt, if the guess is wrong."),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option("--answer", help="The field with the answer, if the guess is wrong."),
    ] = None,
    release: Annotated[
        str | None, typer.Option("--release", help="A name for the release.", metavar="NAME")
    ] = None,
    store: StorePath = DEFAULT_STORE,
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write a commented gate.yaml and a starter suite, and plan them to prove that they run.

    Reads base, adapters and data, proposes variants for the engines and the hardware found, and
    overwrites nothing. No model is loaded.
    """
    from gate.starting.first_gate import Asked, start
    from gate.store import Store

    asked = Asked(
        base=base,
        adapters=tuple(adapters),
        data=tuple(data or ()),
        prompt=prompt,
        answer=answer,
        release=release,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )
    started = start(asked, out, root=Path.cwd(), store=Store(store), say=_say)
    sys.stdout.write(_told(started, out))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _told(started: "Started", out: Path) -> str:
    """What was found and written, and what to do next, as lines."""
    from gate.starting.first_gate import GATE_FILE

    file = out / GATE_FILE
    rows = [
        ("base", _of_base(started)),
        *(("adapter", _of_adapter(started, name)) for name in started.adapters),
        *(("task", line) for line in _of_tasks(started)),
        ("machine", _of_machine(started)),
        ("variants", ", ".join(one.name for one in started.proposals.variants if one.is_active)),
        ("plan", _of_plan(started)),
        *(("note", note) for note in started.proposals.notes),
        *(("missing", line) for line in _missing(started)),
        ("written", ", ".join(str(out / name) for name in started.files)),
        ("next", f"read {file}, then: gate run {shlex.quote(str(file))}"),
    ]
    shown = (
        (heading if rows[max(i - 1, 0)][0] != heading or i == 0 else "", line)
        for i, (heading, line) in enumerate(rows)
    )
    return "".join(f"{heading:<9} {line}\n" for heading, line in shown)


def _of_base(started: "Started") -> str:
    from gate.presentation import count, size

    base = started.base
    facts = [
        base.architecture,
        "weights are pickled" if base.parameters is None else "",
        f"{base.parameters / 1e6:,.1f} M weights" if base.parameters is not None else "",
        f"mostly {base.dtype}" if base.dtype else "",
        size(base.size_bytes) if base.size_bytes is not None else "",
        f"context {count(base.context)}" if base.context else "",
        "a chat template" if base.has_template else "no chat template",
    ]
    return f"{base.name}: {', '.join(filter(None, facts))}"


def _of_adapter(started: "Started", name: str) -> str:
    adapter = started.adapters[name]
    trained_on = f"; its config names {adapter.trained_on}" if adapter.trained_on else ""
    return f"{name}: {adapter.kind}{trained_on}"


def _of_tasks(started: "Started") -> list[str]:
    lines = []
    for task in started.tasks:
        asked = f"{task.limit or task.documents} of {task.documents:,} documents, {task.metric}"
        if task.is_smoke:
            asked += ": a smoke test, which says nothing of what the adapter is for (--data FILE)"
        lines.append(f"{task.name}: {asked}")
        lines += [f"  {sentence}" for sentence in task.told]
        lines += [
            f"  {field} groups the lines ({groups}): see the comments in suite.yaml"
            for field, groups in task.groups
        ]
    return lines


def _of_machine(started: "Started") -> str:
    from gate.presentation import size

    machine = started.machine
    gpus = ", ".join(f"{one.name} ({size(one.memory_bytes)})" for one in machine.gpus)
    return f"{machine.cpu_count} cores, {size(machine.memory_bytes)} of memory, {gpus or 'no GPU'}"


def _of_plan(started: "Started") -> str:
    hopeless = sum(one.refusal is not None for one in started.prospects)
    told = f"{started.stages} stages to run, {len(started.prospects)} checks"
    if hopeless:
        return f"{told}, of which {hopeless} CANNOT PASS with so few documents: gate plan says why"
    return told


def _missing(started: "Started") -> list[str]:
    lacking = [one for one in started.proposals.variants if one.needs is not None]
    return [f"{one.name} ({one.why}): {one.needs}" for one in lacking]
