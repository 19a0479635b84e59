"""What lm-eval's --log_samples wrote: which file is of which task, and the samples in it."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gate.digest import digest_json
from gate.errors import SourceError, suggest

_NAME = re.compile(
    r"samples_(?P<task>.+?)(?:_(?P<moment>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?))?\.jsonl"
)
_NOT_METRICS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash"}
)
_HOW = "lm_eval --log_samples --output_path DIR writes them"


class SampleFile(NamedTuple):
    """A file of samples.

    Attributes:
        path: where it is.
        task: by its name; None where that does not tell.
        moment: when its run ended, as its name and that of the run's results have it; else ''.
    """

    path: Path
    task: str | None
    moment: str


class LoggedSample(NamedTuple):
    """What a file says of one document.

    Attributes:
        id: the document's number, which is not to be trusted where `samples` were unsorted
            (lm-eval issue 4084).
        hash: lm-eval's sha256 of the document.
        value: the metric.
        prompt: sha256 of the text before the first answer.
        request: sha256 of everything asked: prompts, choices, settings; '' where it is not told.
        choices: the answers offered; empty where the model writes its own.
    """

    id: int
    hash: str
    value: float
    prompt: str
    request: str
    choices: tuple[str, ...]


class LoggedSamples(NamedTuple):
    """One metric of one file, with what the results beside it say of it.

    Attributes:
        filter: the filter it was read after; None where the file does not name any.
        higher_is_better: None where nothing says so.
        num_fewshot: examples before each document; None where nothing says so.
    """

    file: SampleFile
    metric: str
    filter: str | None
    samples: tuple[LoggedSample, ...]
    higher_is_better: bool | None
    num_fewshot: int | None


def find_sample_files(place: Path) -> tuple[SampleFile, ...]:
    """The sample file that a path is, or the newest of each task below a directory, by task.

    Raises:
        SourceError: there is none, or those of several models.
    """
    if place.is_file():
        return (_named(place),)
    if not place.is_dir():
        raise SourceError(f"{place}: no such file or directory", hint=_HOW)
    files = sorted(map(_named, place.rglob("samples_*.jsonl")), key=lambda file: file.moment)
    if not files:
        raise SourceError(f"{place}: no samples_*.jsonl in it", hint=_HOW)
    folders = sorted({str(file.path.parent) for file in files})
    if len(folders) > 1:
        raise SourceError(
            f"{place}: samples of several runs: {', '.join(folders)}", hint="give one of these"
        )
    newest = {file.task: file for file in files}
    return tuple(newest[task] for task in sorted(newest, key=str))


def read_samples(
    file: SampleFile, *, task: str, metric: str, filter_name: str | None
) -> LoggedSamples:
    """The samples of one metric and filter, in the order of the file.

    Args:
        file: the file.
        task: the task's name in the results beside it.
        metric: judged document by document, such as acc.
        filter_name: None for the only one there is.

    Raises:
        SourceError: unreadable, cut off, empty, without this metric or filter, or with several
            filters and none named; a value that is not one finite number.
    """
    samples: list[LoggedSample] = []
    filters: dict[str | None, None] = {}
    for where, record in _records(file.path):
        own = record.get("filter")
        filters[own] = None
        if own == filter_name or (filter_name is None and len(filters) == 1):
            samples.append(_sample(record, where, metric))
    if not filters:
        raise SourceError(f"{file.path}: has no samples", hint=_HOW)
    told = _told_by_results(file, task, metric)
    return LoggedSamples(
        file=file,
        metric=metric,
        filter=_chosen(filter_name, list(filters), file),
        samples=tuple(samples),
        higher_is_better=told.higher_is_better,
        num_fewshot=told.num_fewshot,
    )


def _named(path: Path) -> SampleFile:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return SampleFile(path, None, "")
    return SampleFile(path, match["task"], match["moment"] or "")


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each sample of a file, with where it is."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1 and line.strip() == "[":
                    yield from _listed_records(path.name, line + lines.read())
                elif line.strip():
                    where = f"{path.name}:{number}"
                    yield where, _checked(_parsed(line, where), where)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as text: {error}") from error


def _listed_records(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Before lm-eval 0.4.3 a file was one list."""
    for place, record in enumerate(_parsed(text, f"{name}: one list"), start=1):
        where = f"{name}: sample {place}"
        yield where, _checked(record, where)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SourceError(
            f"{where}: is not whole JSON: {error}", hint="was the file cut off while it was copied?"
        ) from error


def _checked(record: Any, where: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise SourceError(f"{where}: is no sample of lm-eval", hint=_HOW)
    missing = [key for key in ("doc_id", "doc", "arguments") if key not in record]
    if "doc_hash" in record and "prompt_hash" in record:
        missing = [key for key in missing if key == "doc_id"]
    if missing or not isinstance(record["doc_id"], int):
        what = f"it has no {missing[0]}" if missing else "its doc_id is no number"
        raise SourceError(f"{where}: is no sample of lm-eval: {what}", hint=_HOW)
    return record


def _sample(record: dict[str, Any], where: str, metric: str) -> LoggedSample:
    requests = _requests(record)
    prompt = str(requests[0][0]) if requests and requests[0] else ""
    return LoggedSample(
        id=record["doc_id"],
        hash=record.get("doc_hash") or _lm_eval_hash(record["doc"]),
        value=_value(record, where, metric),
        prompt=record.get("prompt_hash") or hashlib.sha256(prompt.encode()).hexdigest(),
        request=digest_json(requests) if requests else "",
        choices=_choices(requests, record),
    )


def _requests(record: dict[str, Any]) -> list[list[Any]]:
    """The arguments of each request: lm-eval writes them by name, and wrote them as lists."""
    written = record.get("arguments") or []
    parts = written.values() if isinstance(written, dict) else written
    return [list(one.values()) if isinstance(one, dict) else list(one) for one in parts]


def _choices(requests: list[list[Any]], record: dict[str, Any]) -> tuple[str, ...]:
    """Answers offered: one request each, or one prompt each where all have the same ending.

    For acc_mutual_info each is asked a second time, without a prompt.
    """
    if len(requests) < 2 or not all(_is_likelihood(one) for one in requests):  # noqa: PLR2004
        return ()
    if "acc_mutual_info" in record:
        requests = requests[: len(requests) // 2]
    endings = tuple(one[1] for one in requests)
    return endings if len(set(endings)) > 1 else tuple(str(one[0]) for one in requests)


def _is_likelihood(request: list[Any]) -> bool:
    """Whether a request asks how likely an ending is: generation has settings in its place."""
    return len(request) > 1 and isinstance(request[1], str)


def _lm_eval_hash(document: Any) -> str:
    """As lm_eval 0.4.13 hashes a document (evaluator.py), for files that have no hashes yet."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _value(record: dict[str, Any], where: str, metric: str) -> float:
    if metric in _NOT_METRICS or metric not in record:
        known = record.get("metrics") or [key for key in record if key not in _NOT_METRICS]
        raise SourceError(f"{where}: has no metric {metric!r}", hint=suggest(metric, known))
    value = record[metric]
    if not isinstance(value, bool | int | float):
        raise SourceError(
            f"{where}: {metric} of one document is not a number",
            hint="it is made for a whole corpus: choose a metric that judges each document",
        )
    if not math.isfinite(value):
        raise SourceError(f"{where}: {metric} is {value}", hint="what gave this score is broken")
    return float(value)


def _chosen(given: str | None, filters: list[str | None], file: SampleFile) -> str | None:
    named = [one for one in filters if one is not None]
    if given is not None and given not in filters:
        if not named:
            raise SourceError(
                f"{file.path}: does not name its filters", hint="lm-eval does since 0.4.8"
            )
        raise SourceError(f"{file.path}: no filter {given!r}", hint=suggest(given, named))
    if given is None and len(filters) > 1:
        raise SourceError(
            f"{file.path}: has the filters {', '.join(named)}", hint="name one with --filter"
        )
    return given if given is not None else filters[0]


class _Told(NamedTuple):
    higher_is_better: bool | None
    num_fewshot: int | None


def _told_by_results(file: SampleFile, task: str, metric: str) -> _Told:
    """What the results of the same run say of a metric and of the examples shown."""
    for path in _results_beside(file):
        try:
            results = json.loads(path.read_bytes())
            directions, shots = results["higher_is_better"], results.get("n-shot", {})
            if task in directions:
                return _Told(directions[task].get(metric), shots.get(task))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # results of another shape say nothing: a flag then gives the direction
    return _Told(None, None)


def _results_beside(file: SampleFile) -> list[Path]:
    """The results of the run that wrote a file; where its name has no moment, any, newest first."""
    if file.moment:
        return sorted(file.path.parent.glob(f"*_{file.moment}.json"))
    return sorted(file.path.parent.glob("*results*.json"), reverse=True)
