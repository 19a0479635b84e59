"""A task that the benchmarks write themselves: a passage, and ten ways in which it may go on."""

import json
import random
from itertools import accumulate
from pathlib import Path

NAME = "ten_choices"
CHOICES = 10

_SEED = 1234
_VOCABULARY = 2_000
_PASSAGE, _CHOICE = 60, 6
"""Words; a token is about half a word of this language."""

_SYLLABLES = ("ta", "re", "in", "so", "mo", "le", "par", "den", "ci", "us", "ver", "al")
_YAML = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{passage}}}}\\nIt goes on:"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: " "
num_fewshot: 0
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""


def write_task(folder: Path, *, documents: int, choices: int = CHOICES) -> Path:
    """Write the task's YAML and its documents, the same for the same numbers; give the YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(_SEED)
    words = [
        "".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(_VOCABULARY)
    ]
    weights = tuple(accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))

    def text(length: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=length))

    data = folder / f"{NAME}.jsonl"
    with data.open("w", encoding="utf-8") as stream:
        for _ in range(documents):
            document = {
                "passage": text(_PASSAGE),
                "choices": [text(_CHOICE) for _ in range(choices)],
                "answer": chance.randrange(choices),
            }
            stream.write(json.dumps(document) + "\n")
    task = folder / f"{NAME}.yaml"
    task.write_text(_YAML.format(name=NAME, file=data.resolve()), encoding="utf-8")
    return task
