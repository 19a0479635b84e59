"""Starter tasks: the files of an lm-eval task, and what a suite asks of it."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gate.configuring.suites import shipped_suites
from gate.planning.expectations import POWER
from gate.planning.spreads import ASSUMED_FLIP_RATES
from gate.starting.examples import Example, Examples, Kind, varying_fields
from gate.stats.sample_size import documents_for_power

MARGINS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""Losses that a starter suite may allow, as shares of documents."""

PERPLEXITY_MARGIN = 0.02
"""Of the logarithm of a perplexity: about 2 %."""

CONFIDENCE = 0.95
SMOKE_LIMIT = 100
LIMIT = 400
NOT_TEXT = re.compile(r"true|false|null|yes|no|on|off|y|n", re.IGNORECASE)
"""What some readers of YAML take for something else than a text."""

_SEED = 1234
_FEWEST_TO_SPARE = 200
_CALIBRATION_SHARE = 5
_MOST_CALIBRATION = 128
_MOST_JUDGED = 5000
_TOKENS_PER_CHARACTER = 2
_FEWEST_TOKENS = 16
_MOST_TOKENS = 256
_METRICS: dict[Kind, str] = {
    "choice": "acc",
    "label": "acc",
    "short": "exact_match",
    "long": "perplexity",
}


class StarterTask(NamedTuple):
    """A task to be written.

    Attributes:
        name: in the suite and of its files.
        metric: the one that stands for it.
        margin: the loss that a check allows: the smallest that so many documents prove.
        limit: documents that are asked; None for all of them.
        documents: how many its file has.
        chat: whether prompts go through the chat template.
        is_smoke: whether it is general knowledge of ours and says nothing of the user's task.
        groups: (field, number of groups) of fields that may be a cluster or a slice.
        files: {path from the suite's folder: text} of its YAML and its data.
        told: how its data was read, in sentences.
    """

    name: str
    metric: str
    margin: float
    limit: int | None
    documents: int
    chat: bool
    is_smoke: bool
    groups: tuple[tuple[str, int], ...]
    files: dict[str, str]
    told: tuple[str, ...]


class Split(NamedTuple):
    """Examples to be judged, and others that quantizers may be shown; the latter may be none."""

    judged: tuple[Example, ...]
    calibration: tuple[Example, ...]


def smoke_task() -> StarterTask:
    """Common knowledge that comes with mergegate: it finds a broken model, not a worse one."""
    source = shipped_suites() / "demo"
    data = (source / "data" / "facts.jsonl").read_text(encoding="utf-8")
    documents = len(data.splitlines())
    return StarterTask(
        name="smoke",
        metric="acc",
        margin=margin_for(min(documents, SMOKE_LIMIT)),
        limit=SMOKE_LIMIT,
        documents=documents,
        chat=False,
        is_smoke=True,
        groups=(),
        files={
            "tasks/smoke.yaml": _SMOKE,
            "data/smoke.jsonl": data,
        },
        told=(),
    )


def own_task(
    name: str, examples: Examples, judged: Sequence[Example], *, chat: bool
) -> StarterTask:
    """A task of a user's own examples.

    Args:
        name: what it is called.
        examples: what its file holds.
        judged: those of them that it asks.
        chat: whether prompts go through a chat template.
    """
    asked = min(len(judged), LIMIT)
    is_share = examples.kind != "long"
    lines = (json.dumps(document_of(row, examples), ensure_ascii=False) for row in judged)
    return StarterTask(
        name=name,
        metric=_METRICS[examples.kind],
        margin=margin_for(asked) if is_share else PERPLEXITY_MARGIN,
        limit=LIMIT if len(judged) > LIMIT else None,
        documents=len(judged),
        chat=chat,
        is_smoke=False,
        groups=tuple(varying_fields(judged)),
        files={
            f"tasks/{name}.yaml": _task_yaml(name, examples, judged, chat=chat),
            f"data/{name}.jsonl": "".join(f"{line}\n" for line in lines),
        },
        told=examples.told,
    )


def task_name(file: Path, taken: Sequence[str]) -> str:
    """A name for a task, from its file's; numbered where another has it.

    A name that YAML would read as a number or a truth value gets a word before it.
    """
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", file.stem).strip("_").lower() or "task"
    if plain[0].isdecimal() or NOT_TEXT.fullmatch(plain):
        plain = f"task_{plain}"
    numbered = (plain, *(f"{plain}_{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in numbered if name not in taken)


def margin_for(documents: int) -> float:
    """The smallest margin that so many documents prove, if quantizing changes as many as usual."""
    for margin in MARGINS:
        needed = documents_for_power(
            margin=margin,
            flip_rate=ASSUMED_FLIP_RATES["quantized"],
            confidence=CONFIDENCE,
            power=POWER,
        )
        if needed is not None and needed <= documents:
            return margin
    return MARGINS[-1]


def split_examples(examples: Examples) -> Split:
    """Examples to be judged, 5,000 at the most, with some set aside where there are 200 or more."""
    rows = examples.rows
    order = list(range(len(rows)))
    random.Random(_SEED).shuffle(order)
    is_enough = len(rows) >= _FEWEST_TO_SPARE
    spared = min(len(rows) // _CALIBRATION_SHARE, _MOST_CALIBRATION) if is_enough else 0
    judged = tuple(rows[place] for place in sorted(order[spared : spared + _MOST_JUDGED]))
    calibration = tuple(rows[place] for place in sorted(order[:spared]))
    return Split(judged, calibration)


def document_of(row: Example, examples: Examples) -> dict[str, object]:
    """A line of the task's data: flat, so that every loader reads it alike."""
    choices = row.choices or examples.labels
    own: dict[str, object] = {"prompt": row.prompt, "answer": row.answer}
    if choices:
        own |= {"choices": list(choices), "answer": choices.index(row.answer)}
    return dict(row.fields) | own


def _task_yaml(name: str, examples: Examples, judged: Sequence[Example], *, chat: bool) -> str:
    """The YAML of an lm-eval task."""
    lines = _HEAD.format(name=name).splitlines()
    if examples.system and chat:
        lines.append(f"description: {json.dumps(examples.system, ensure_ascii=False)}")
    if examples.kind in ("choice", "label"):
        lines += ["output_type: multiple_choice", "doc_to_choice: choices"]
    elif examples.kind == "long":
        lines.append("output_type: loglikelihood")
    else:
        longest = max(len(row.answer) for row in judged)
        tokens = min(max(longest * _TOKENS_PER_CHARACTER // 3, _FEWEST_TOKENS), _MOST_TOKENS)
        until = [] if any("\n" in row.answer for row in judged) else ["\n"]
        told = json.dumps({"until": until, "do_sample": False, "max_gen_toks": tokens})
        lines += ["output_type: generate_until", f"generation_kwargs: {told}"]
    lines += [f"target_delimiter: {json.dumps('' if chat else ' ')}"]
    lines += [f"metric_list: [{_METRIC[_METRICS[examples.kind]]}]", "metadata: {version: 1.0}"]
    return "\n".join(lines) + "\n"


_METRIC = {
    "acc": "{metric: acc, aggregation: mean, higher_is_better: true}",
    "exact_match": "{metric: exact_match, aggregation: mean, higher_is_better: true}",
    "perplexity": "{metric: perplexity, aggregation: perplexity, higher_is_better: false}",
}

_HEAD = """\
# Written by gate init: a starting point. Is this how the adapter was asked in training?
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: ../data/{name}.jsonl}}}}
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: answer
num_fewshot: 0
"""

_SMOKE = """\
# Written by gate init: common knowledge to be completed by a word. It finds a broken model, not a
# worse one, and says nothing of what the adapter is for: put a task of your own beside it.
task: smoke
dataset_path: json
dataset_kwargs: {data_files: {test: ../data/smoke.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: " "
num_fewshot: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""
