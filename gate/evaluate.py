"""Runs one lm-eval task on one engine: the only file that runs lm-eval's tasks."""

import math
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.errors import ConfigError, GateError, SourceError, StageError, suggest
from gate.evaluation_records import Document, Evaluation, Sample
from gate.terms import Task

if TYPE_CHECKING:
    from gate.language_models import GateLM

BINARY_METRICS = frozenset(
    {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "pass@1"}
)
"""Metrics that judge each document right or wrong."""


def evaluate_task(
    lm: "GateLM", task: Task, *, on_progress: Callable[[int, int], None]
) -> Evaluation:
    """One sample per document of a task, as the model answers it.

    A limit takes documents chosen by the task's seed, the same ones for every model.

    Args:
        lm: the loaded model, as a backend opens it.
        task: the task, with the metric and filter that stand for it.
        on_progress: hears (documents done, documents in all).

    Raises:
        ConfigError: the task has no documents, or not this metric or filter, or needs sampling.
        StageError: a document does not fit the model, or a score is not finite.
    """
    from lm_eval.evaluator import evaluate

    with tempfile.TemporaryDirectory() as scratch:
        loaded = _load(task, Path(scratch))
        _check_names(task, loaded)
        ids = _choose(len(loaded.eval_docs), task)
        lm.begin(
            name_document=lambda place: f"task {task.name}: document {ids[place]}",
            on_progress=on_progress,
        )
        results = evaluate(
            lm,
            {"tasks": {task.name: loaded}},
            samples={task.name: ids},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=task.chat,
            fewshot_as_multiturn=task.chat,
        )
        logged = [one for one in results["samples"][task.name] if one["filter"] == task.filter]
        logged.sort(key=lambda one: one["doc_id"])
        return Evaluation(
            task=task.name,
            metric=task.metric,
            higher_is_better=_direction(task, loaded, logged),
            is_binary=_is_binary(task, logged),
            documents=tuple(_document(one, loaded) for one in logged),
            samples=tuple(
                _sample(one, task, loaded, lm.request_hash(place))
                for place, one in enumerate(logged)
            ),
        )


def _load(task: Task, scratch: Path) -> Any:
    """lm-eval's task, set to the few-shot examples and seed asked for."""
    try:
        loaded = _load_file(Path(task.path), task, scratch) if task.path else _load_shipped(task)
    except GateError:
        raise
    except IndexError as error:
        raise ConfigError(f"task {task.name} has no documents") from error
    except OSError as error:
        raise StageError(
            f"task {task.name}: its documents cannot be read: {error}",
            hint="a task that lm-eval ships needs the hub once; a local task needs its data_files",
        ) from error
    if getattr(loaded, "UNSAFE_CODE", False):
        raise ConfigError(f"task {task.name} runs code that the model writes; the gate does not")
    if task.num_fewshot is not None:
        loaded.set_config("num_fewshot", task.num_fewshot)
    loaded.set_fewshot_seed(task.seed)
    _check_fewshot(task, loaded)
    return loaded


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


@cache
def _shipped_tasks() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()  # reads 16,000 files: 20 s


def _load_shipped(task: Task) -> Any:
    manager = _shipped_tasks()
    if task.name not in manager.all_subtasks:
        raise ConfigError(
            f"lm-eval has no task named {task.name!r}",
            hint=suggest(task.name, manager.all_subtasks),
        )
    return manager.load([task.name])["tasks"][task.name]


def _choose(count: int, task: Task) -> list[int]:
    """Positions of the documents to take, sorted: lm-eval mislabels samples that are not."""
    if task.limit is None or task.limit >= count:
        return list(range(count))
    return sorted(random.Random(task.seed).sample(range(count), task.limit))


def _check_names(task: Task, loaded: Any) -> None:
    """Refuse a filter or metric that the task does not have, before anything is run."""
    filters = [one["name"] for one in loaded.config.filter_list or [{"name": "none"}]]
    if task.filter not in filters:
        raise ConfigError(
            f"task {task.name} has no filter {task.filter!r}", hint=f"it has {', '.join(filters)}"
        )
    # a function of the task's own may give metrics that its metric_list does not name
    if loaded.config.process_results is None and loaded.OUTPUT_TYPE != "generate_until":
        _check_metric(task, loaded.aggregation())


def _check_fewshot(task: Task, loaded: Any) -> None:
    """Refuse examples drawn from the documents judged, where lm-eval may show one its own answer.

    lm-eval leaves a document out of its own examples only if fewshot_split names the test split.
    """
    config, examples = loaded.config, loaded.fewshot_cfg
    if not config.num_fewshot or examples.samples:
        return
    judged = config.test_split or config.validation_split
    drawn = examples.split or config.training_split or config.validation_split or config.test_split
    if drawn == judged and examples.split != config.test_split:
        raise ConfigError(
            f"task {task.name} draws its few-shot examples from the documents it judges",
            hint=f"set fewshot_split in its YAML, to {judged} itself or to another split",
        )


def _check_metric(task: Task, known: Iterable[str]) -> None:
    if task.metric not in known:
        raise ConfigError(
            f"task {task.name} has no metric {task.metric!r}", hint=f"it has {', '.join(known)}"
        )


def _direction(task: Task, loaded: Any, logged: Sequence[dict[str, Any]]) -> bool:
    _check_metric(task, logged[0]["metrics"])
    is_higher_better = loaded.higher_is_better().get(task.metric)
    if is_higher_better is None:
        raise ConfigError(
            f"task {task.name} does not say whether more {task.metric} is better",
            hint="set higher_is_better in its metric_list",
        )
    return bool(is_higher_better)


def _is_binary(task: Task, logged: Sequence[dict[str, Any]]) -> bool:
    """Whether the metric is right or wrong by its nature, and here.

    Values alone do not decide: one variant may happen to have no value between 0 and 1.
    """
    return task.metric in BINARY_METRICS and all(one[task.metric] in (0, 1) for one in logged)


def _document(one: dict[str, Any], loaded: Any) -> Document:
    is_text_alone = loaded.OUTPUT_TYPE == "loglikelihood_rolling"
    return Document(
        id=one["doc_id"],
        hash=one["doc_hash"],
        prompt="" if is_text_alone else one["arguments"][0][0],
        target=_target(one["target"], _choices(one, loaded)),
        choices=_choices(one, loaded),
    )


def _target(target: Any, choices: Sequence[str]) -> str:
    """The right answer as text: lm-eval gives a choice by its number, and several as a list."""
    if isinstance(target, list):
        return " | ".join(_target(part, choices) for part in target)
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def _choices(one: dict[str, Any], loaded: Any) -> tuple[str, ...]:
    if loaded.OUTPUT_TYPE != "multiple_choice":
        return ()
    return tuple(map(str, loaded.doc_to_choice(one["doc"])))


def _sample(one: dict[str, Any], task: Task, loaded: Any, request_hash: str) -> Sample:
    choices = _choices(one, loaded)
    likelihoods = [] if loaded.OUTPUT_TYPE == "generate_until" else one["resps"]
    scores = [first[0] if isinstance(first, tuple) else first for first, *_ in likelihoods]
    return Sample(
        id=one["doc_id"],
        hash=one["doc_hash"],
        value=_value(one, task),
        answer=_answer(one, task, choices, scores),
        request_hash=request_hash,
        loglikelihoods=tuple(scores[: len(choices) or None]),
    )


def _value(one: dict[str, Any], task: Task) -> float:
    value = one[task.metric]
    if isinstance(value, tuple | list | dict | str):
        raise ConfigError(
            f"task {task.name}: {task.metric} of one document is not a number",
            hint="it is made for a whole corpus: choose a metric that judges each document",
        )
    if not math.isfinite(value):
        raise StageError(
            f"task {task.name}: document {one['doc_id']}: NaN scores: {task.metric} is {value}"
        )
    return float(value)


def _answer(
    one: dict[str, Any], task: Task, choices: Sequence[str], scores: Sequence[float]
) -> str:
    """The text written, or the choice taken, by the metric's own way of choosing."""
    if choices:
        taken = max(range(len(choices)), key=lambda place: _strength(place, task, choices, scores))
        return choices[taken]
    first = one["resps"][0][0]
    if isinstance(first, str):
        return first
    is_greedy = isinstance(first, tuple) and first[1]
    return str(one["target"]) if is_greedy else ""


def _strength(place: int, task: Task, choices: Sequence[str], scores: Sequence[float]) -> float:
    """What lm-eval 0.4.13 takes the largest of (ConfigurableTask.process_results)."""
    if task.metric == "acc_norm":
        return scores[place] / len(choices[place])
    if task.metric == "acc_bytes":
        return scores[place] / len(choices[place].encode())
    if task.metric == "acc_mutual_info":
        return scores[place] - scores[place + len(choices)]
    return scores[place]
