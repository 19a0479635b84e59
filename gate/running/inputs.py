"""What stages read that no stage makes, as files to be sent to other machines."""

import os
from collections.abc import Iterator
from pathlib import Path

from gate.configuring.config import GateConfig
from gate.distributing.consignments import Input
from gate.distributing.trees import list_files
from gate.planning.todo import Sources
from gate.terms import Source

_SMALL_BYTES = 16 << 20
"""Beside what counts of a model, larger files are weights of other formats and optimizers."""


def inputs_of(config: GateConfig, sources: Sources) -> Iterator[Input]:
    """The models, adapters, tasks and texts of a gate, each with all of its files.

    Args:
        config: what was asked.
        sources: the base and adapters.
    """
    for source in (sources.base, *sources.adapters.values()):
        yield _model(source)
    for task in config.suite.tasks:
        if task.path:
            yield _task(task.path, config.suite.files[task.name].read)
    texts = [one.path for one in config.suite.texts]
    for path in (*texts, *(one.path for one in config.suite.calibration)):
        file = Path(path)
        yield Input(path=path, root=file.parent, inside=file.name, names=(file.name,))


def _model(source: Source) -> Input:
    """A model's folder, under its own name, which some engines write into what they give."""
    folder = Path(source.path)
    names = [name for name in list_files(folder) if _is_sent(name, source)]
    return Input(
        path=source.path,
        root=folder.parent,
        inside=folder.name,
        names=tuple(f"{folder.name}/{name}" for name in names),
    )


def _is_sent(name: str, source: Source) -> bool:
    if name in source.manifest or not source.manifest:
        return True
    is_hidden = any(part.startswith(".") for part in Path(name).parts)
    return not is_hidden and Path(source.path, name).stat().st_size < _SMALL_BYTES


def _task(path: str, files: tuple[str, ...]) -> Input:
    """A task's files as they lie to each other."""
    places = [os.path.abspath(file) for file in (path, *files)]
    root = os.path.commonpath([os.path.dirname(place) for place in places])
    names = tuple(dict.fromkeys(Path(place).relative_to(root).as_posix() for place in places))
    return Input(path=path, root=Path(root), inside=names[0], names=names)
