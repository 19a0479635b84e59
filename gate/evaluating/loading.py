"""An lm-eval task, loaded and set up: its documents in a seeded order, its examples by document."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gate.errors import ConfigError, GateError, SourceError, StageError
from gate.evaluating.fields import read_field
from gate.evaluating.metrics import find_aggregation
from gate.evaluating.shipped import find_shipped
from gate.terms import Task


class LoadedTask(NamedTuple):
    """A task as lm-eval has it.

    Attributes:
        task: what was asked for.
        inner: lm-eval's task object; what is asked of it are the documents `doc_iterator` gives.
        documents: all documents of the task.
        order: their numbers in the order in which they are asked, whatever the limit.
        aggregations: gives {metric: lm-eval's function of all its values}; lm-eval learns of
            some metrics when it first computes them.
        clusters: what each document shares with others; empty where the task names no such field.
        slices: each document's part of the task; empty where the task names no such field.
    """

    task: Task
    inner: Any
    documents: Sequence[dict[str, Any]]
    order: tuple[int, ...]
    aggregations: Callable[[], Mapping[str, Callable[..., Any]]]
    clusters: tuple[str, ...]
    slices: tuple[str, ...]


def load_task(task: Task, scratch: Path) -> LoadedTask:
    """An lm-eval task with the documents, few-shot examples and filter asked for.

    Args:
        task: from its YAML, or by name from those that lm-eval ships.
        scratch: a folder for its data, needed as long as the task.

    Raises:
        ConfigError: the task has no documents, or not this metric, filter or field, or cannot be
            judged.
        SourceError: its data files are missing.
        StageError: its documents cannot be read.
    """
    inner = _open(task, scratch)
    if getattr(inner, "UNSAFE_CODE", False):
        raise ConfigError(f"task {task.name} runs code that the model writes; the gate does not")
    if task.num_fewshot is not None:
        inner.set_config("num_fewshot", task.num_fewshot)
    _check_fewshot(task, inner)
    _check_names(task, inner)
    documents = inner.eval_docs
    _draw_examples_by_document(task, inner)
    # lm-eval would process all documents again each time that it is asked
    inner.set_config("process_docs", None)
    return LoadedTask(
        task=task,
        inner=inner,
        documents=documents,
        order=seeded_order(len(documents), task.seed),
        aggregations=inner.aggregation,
        clusters=read_field(task.name, documents, task.cluster) if task.cluster else (),
        slices=read_field(task.name, documents, task.slice) if task.slice else (),
    )


def seeded_order(count: int, seed: int) -> tuple[int, ...]:
    """The numbers of `count` documents in the order in which a task is asked.

    A limit takes the first of them, so that a larger limit keeps the documents of a smaller one.
    """
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return tuple(order)


def document_hash(document: Mapping[str, Any]) -> str:
    """The sha256 by which lm-eval 0.4.13 knows a document (evaluator.py: doc_hash)."""
    from lm_eval.utils import handle_non_serializable, hash_string

    text = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    digest: str = hash_string(text)
    return digest


def check_metric(task: Task, known: Iterable[str]) -> None:
    """Refuse a metric that the task does not have.

    Raises:
        ConfigError: it is not among those known.
    """
    if task.metric not in known:
        raise ConfigError(
            f"task {task.name} has no metric {task.metric!r}", hint=f"it has {', '.join(known)}"
        )


def _draw_examples_by_document(task: Task, inner: Any) -> None:
    """Make a document's few-shot examples depend on the seed and the document alone.

    lm-eval draws them in sequence (api/samplers.py), so that those of a document would depend on
    how many documents were asked before it.
    """
    in_sequence = inner.fewshot_context

    def fewshot_context(document: Mapping[str, Any], *args: Any, **settings: Any) -> Any:
        drawn = random.Random(f"{task.seed} {document_hash(document)}")
        inner.set_fewshot_seed(drawn.getrandbits(64))
        return in_sequence(document, *args, **settings)

    inner.fewshot_context = fewshot_context


def _open(task: Task, scratch: Path) -> Any:
    try:
        return _load_file(Path(task.path), task, scratch) if task.path else _load_shipped(task)
    except GateError:
        raise
    except IndexError as error:
        raise ConfigError(f"task {task.name} has no documents") from error
    except OSError as error:
        raise StageError(
            f"task {task.name}: its documents cannot be read: {error}",
            hint="a task that lm-eval ships needs the hub once; a local task needs its data_files",
        ) from error


def _load_file(path: Path, task: Task, scratch: Path) -> Any:
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml
    from yaml import YAMLError  # type: ignore[import-untyped]  # lm-eval's reader has no stubs

    try:
        config = load_yaml(path)
    except (YAMLError, ValueError, ImportError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(config.get("task", ""), str) or "group" in config:
        raise ConfigError(f"{path}: a group of tasks", hint="name the tasks one by one")
    config["task"] = task.name
    _resolve_data(config, path, scratch)
    return TaskManager(include_defaults=False).load([config])["tasks"][task.name]


def _resolve_data(config: dict[str, Any], path: Path, scratch: Path) -> None:
    """Data files from the YAML's directory, read afresh.

    lm-eval resolves them from the working directory; datasets knows a file it has read by path
    and time, and serves the old rows of one that changed within the clock's tick.
    """
    keywords = config.get("dataset_kwargs") or {}
    if "data_files" not in keywords:
        return
    files = keywords["data_files"]
    if isinstance(files, dict):
        files = {split: _resolve(names, path) for split, names in files.items()}
    else:
        files = _resolve(files, path)
    config["dataset_kwargs"] = {**keywords, "data_files": files, "cache_dir": str(scratch)}


def _resolve(names: str | list[str], path: Path) -> list[str]:
    found = []
    for name in [names] if isinstance(names, str) else names:
        file = path.parent / name
        if "://" not in name and not file.is_file():
            raise SourceError(
                f"{path}: its data file {name} does not exist", hint=f"looked for {file}"
            )
        if "://" not in name and not file.read_bytes().strip():
            raise ConfigError(f"task {path.stem} has no documents: {file} is empty")
        found.append(name if "://" in name else str(file.resolve()))
    return found


def _load_shipped(task: Task) -> Any:
    from lm_eval.tasks import TaskManager

    file = find_shipped(task.name)
    return TaskManager(include_defaults=False).load([str(file)])["tasks"][task.name]


def _check_names(task: Task, inner: Any) -> None:
    """Refuse a filter or metric that the task does not have, before anything is run."""
    filters = [one["name"] for one in inner.config.filter_list or [{"name": "none"}]]
    if task.filter not in filters:
        raise ConfigError(
            f"task {task.name} has no filter {task.filter!r}", hint=f"it has {', '.join(filters)}"
        )
    functions = inner.aggregation()
    if task.metric in functions:
        find_aggregation(task.name, task.metric, functions)
    # a function of the task's own may give metrics that its metric_list does not name
    elif inner.config.process_results is None and inner.OUTPUT_TYPE != "generate_until":
        check_metric(task, functions)


def _check_fewshot(task: Task, inner: Any) -> None:
    """Refuse examples drawn from the documents judged, where lm-eval may show one its own answer.

    lm-eval leaves a document out of its own examples only if fewshot_split names the test split.
    """
    config, examples = inner.config, inner.fewshot_cfg
    if not config.num_fewshot or examples.samples:
        return
    judged = config.test_split or config.validation_split
    drawn = examples.split or config.training_split or config.validation_split or config.test_split
    if drawn == judged and examples.split != config.test_split:
        raise ConfigError(
            f"task {task.name} draws its few-shot examples from the documents it judges",
            hint=f"set fewshot_split in its YAML, to {judged} itself or to another split",
        )
