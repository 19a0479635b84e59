"""A local task's files: what they are made of, how many documents they hold, and their texts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.configuring.yaml_files import read_yaml
from gate.digest import digest_file, digest_json
from gate.errors import ConfigError
from gate.terms import Noun, Task


class TaskFiles(Noun):
    """What a local task is made of: the digest of its files, and its number of documents.

    A task that lm-eval ships has no files here: `documents` is None and the digest names it.

    Attributes:
        judged: the JSON-lines files that hold the documents it judges.
        read: every file that it is read from.
    """

    digest: str
    documents: int | None
    judged: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def inspect_task(task: Task, where: str) -> TaskFiles:
    """What a task is made of.

    Args:
        task: the task, with the path of its YAML.
        where: its place in the suite, for messages.

    Raises:
        ConfigError: the YAML is of another task, a data file is missing, or it has no documents.
    """
    if task.path is None:
        return TaskFiles(digest=digest_json({"lm_eval": task.name}), documents=None)
    path = Path(task.path)
    content, sources = _task_yaml(path)
    if content.get("task") != task.name:
        raise ConfigError(
            f"{where}: {path.name} defines task {content.get('task')!r}, not {task.name!r}"
        )
    data = _data_files(content, path, where)
    sources = (*sources, *sorted(path.parent.glob("*.py")))
    parts = {source.name: digest_file(source) for source in sources}
    for split, files in data.items():
        parts |= {f"{split}/{index}": digest_file(file) for index, file in enumerate(files)}
    judged = data.get(_evaluation_split(content), ())
    documents = _count(judged)
    if documents == 0:
        raise ConfigError(f"{where}: task {task.name!r} has no documents")
    if documents is not None and task.limit is not None:
        documents = min(documents, task.limit)
    return TaskFiles(
        digest=digest_json(parts),
        documents=documents,
        judged=() if documents is None else tuple(map(str, judged)),
        read=tuple(map(str, (*sources, *(file for files in data.values() for file in files)))),
    )


def document_texts(files: TaskFiles) -> Iterator[tuple[str, ...]]:
    """Of each document that a task judges, its texts; nothing where they are not JSON lines.

    Raises:
        ConfigError: a line is no JSON.
    """
    for file in files.judged:
        lines = Path(file).read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    document = json.loads(line)
                except ValueError as error:
                    raise ConfigError(f"{file}:{number}: not JSON: {error}") from error
                yield tuple(_texts(document))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)


def _task_yaml(path: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """A task's YAML with its includes merged under it, and the files it was read from."""
    content = read_yaml(path).content
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name}:1: not a task: expected a mapping")
    merged: dict[str, Any] = {}
    sources: list[Path] = [path]
    includes = content.get("include", [])
    for name in [includes] if isinstance(includes, str) else includes:
        included, files = _task_yaml(path.parent / name)
        merged |= included
        sources += files
    return merged | content, tuple(sources)


def _evaluation_split(content: dict[str, Any]) -> str:
    return str(content.get("test_split") or content.get("validation_split") or "test")


def _data_files(content: dict[str, Any], path: Path, where: str) -> dict[str, tuple[Path, ...]]:
    """The local data files of each split, resolved against the task's YAML."""
    arguments = content.get("dataset_kwargs") or {}
    written = arguments.get("data_files", {}) if isinstance(arguments, dict) else {}
    if not isinstance(written, dict):
        written = {_evaluation_split(content): written}
    found: dict[str, tuple[Path, ...]] = {}
    for split, names in written.items():
        files = tuple(path.parent / name for name in ([names] if isinstance(names, str) else names))
        for file in files:
            if not file.is_file():
                raise ConfigError(f"{where}: {path.name} names a data file that is missing: {file}")
        found[split] = files
    return found


def _count(files: tuple[Path, ...]) -> int | None:
    """The number of documents in JSON-lines files; None where they are of another kind."""
    if not files or any(file.suffix != ".jsonl" for file in files):
        return None
    return sum(1 for file in files for line in file.read_bytes().split(b"\n") if line.strip())
