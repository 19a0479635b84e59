"""lm-eval tasks written to a folder, and their evaluation on the toy engine."""

import json

from ruamel.yaml import YAML
from test_language_models import Letters

from gate.engines.language_models import GateLM
from gate.evaluate import evaluate_task
from gate.terms import Task

CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
}
CHOICE = CHOICES | {
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
}
GENERATION = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{'yes'}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False},
}
WRITTEN = GENERATION | {
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]
}


class Roomy(Letters):
    """The toy engine with room for a document."""

    max_length = 400


def rows(count, **fields):
    """Documents of three choices, numbered; fields are functions of the number."""
    return [
        {
            "question": f"the order {place}",
            "choices": ["a", "bb", "ccc"],
            "answer": place % 3,
            **{name: give(place) for name, give in fields.items()},
        }
        for place in range(count)
    ]


def metric_list(metric, aggregation, *, higher_is_better=True):
    """A task's metrics: this one."""
    return [{"metric": metric, "aggregation": aggregation, "higher_is_better": higher_is_better}]


def write_task(
    folder,
    documents,
    *,
    metric="acc",
    filter="none",
    limit=None,
    chat=False,
    shots=None,
    cluster=None,
    slice=None,
    splits=None,
    **yaml,
) -> Task:
    """A task's YAML with its documents, and the Task; `splits` are {name: documents} beside."""
    files = {"test": documents, **(splits or {})}
    for split, lines in files.items():
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = {
        "task": "toy",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: f"{split}.jsonl" for split in files}},
        "test_split": "test",
        **yaml,
    }
    path = folder / "toy.yaml"
    YAML().dump(config, path)
    return Task(
        name="toy",
        metric=metric,
        filter=filter,
        limit=limit,
        chat=chat,
        num_fewshot=shots,
        path=str(path),
        cluster=cluster,
        slice=slice,
    )


def evaluate(task, engine=None, *, on_progress=lambda done, total: None, partial=None):
    """The task on the toy engine, or another."""
    lm = GateLM(engine or Roomy())
    return evaluate_task(lm, task, on_progress=on_progress, partial=partial)
