"""A small gate on disk, and a worker that answers for every model: for tests without an engine."""

import json
import random
from pathlib import Path
from textwrap import dedent

from gate.audit_records import Audit
from gate.digest import digest_json
from gate.evaluation_records import Document, Evaluation, Sample
from gate.jobs import Done, Failed, Progress, Started
from gate.records import WeightReport
from gate.running.worker import AUDIT_FILE, EVALUATION_FILE, REPORT_FILE, SPEED_FILE
from gate.serving_records import BatchSpeed, SpeedRun
from gate.terms import Task

CHOICES = ("red", "green", "blue", "yes")


def write_task(folder: Path, name: str = "colors", documents: int = 300) -> Path:
    """A multiple-choice task with its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"question": f"question {i}:", "choices": CHOICES, "answer": i % len(CHOICES)})
        for i in range(documents)
    ]
    (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    task = folder / f"{name}.yaml"
    task.write_text(
        dedent(f"""\
        task: {name}
        dataset_path: json
        dataset_kwargs:
          data_files: {{test: {name}.jsonl}}
        test_split: test
        output_type: multiple_choice
        doc_to_text: "{{{{question}}}}"
        doc_to_choice: choices
        doc_to_target: answer
        metric_list:
          - {{metric: acc, aggregation: mean, higher_is_better: true}}
        """)
    )
    return task


SUITE = """\
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml}
checks:
  - {of: adapter, against: base, compare: delta, at_least: 0}
  - {of: merged, against: adapter, compare: delta, margin: 0.02, two_sided: true}
  - {of: quantized, against: merged, compare: delta, margin: 0.03}
noise_floor: false
"""

GATE = """\
release: v1
candidate:
  base: {base}
  adapters: {{support: {adapter}}}
  training_run: run-7
variants:
  base: {{adapters: []}}
  adapter: {{}}
  merged: {{merge: stream}}
  rtn: {{merge: stream, quantize: {{name: rtn, bits: 8}}}}
backend: {{name: hf, dtype: float32}}
suite: suite.yaml
"""


def write_gate(
    folder: Path, base: Path, adapter: Path, *, gate: str = GATE, suite: str = SUITE
) -> Path:
    """A gate.yaml with its suite and task; returns the path of gate.yaml."""
    write_task(folder / "tasks")
    (folder / "suite.yaml").write_text(suite)
    path = folder / "gate.yaml"
    path.write_text(gate.format(base=base, adapter=adapter))
    return path


class FakeWorker:
    """Answers every batch at once: `right` says how many documents a variant gets right.

    Attributes:
        ran: labels of the jobs it was given, in order.
        stirred: documents whose answers change between two runs of one variant.
        speeds: {variant: tokens decoded a second}.
        asked: documents of each evaluation, by its label: the last time that it was run.
    """

    def __init__(
        self,
        right: dict[str, int],
        *,
        documents: int = 300,
        fails: str | None = None,
        faults: dict[str, list[str]] | None = None,
        stirred: int = 0,
        speeds: dict[str, float] | None = None,
    ):
        self.faults = faults or {}
        self.right = right
        self.documents = documents
        self.fails = fails
        self.stirred = stirred
        self.speeds = speeds or {}
        self.ran: list[str] = []
        self.asked: dict[str, int] = {}

    def __call__(self, batch, log, on_event):
        for job in batch.jobs:
            self.ran.append(job.label)
            on_event(Started(key=job.stage.key))
            if self.fails and job.label.startswith(self.fails):
                on_event(
                    Failed(key=job.stage.key, problem="it broke", hint="mend it", exit_status=3)
                )
                continue
            out = Path(job.out)
            if job.stage.kind == "evaluate":
                asked = min(job.task.limit or self.documents, self.documents)
                on_event(Progress(key=job.stage.key, done=asked, total=asked))
                self.asked[job.label] = asked
                evaluation = self._evaluation(
                    job.label.split()[1], job.task, stirred=job.is_repeat * self.stirred
                )
                (out / EVALUATION_FILE).write_text(evaluation.model_dump_json())
            elif job.stage.kind == "speed":
                found = self._speed(job.label.split()[1], job.repeat)
                (out / SPEED_FILE).write_text(found.model_dump_json())
            elif job.stage.kind == "audit":
                audit = Audit(faults=tuple(self.faults.get(job.label, ())))
                (out / AUDIT_FILE).write_text(audit.model_dump_json())
            else:
                (out / "model.safetensors").write_text(job.label)
                report = WeightReport(parameters=10, weight_bytes=20)
                out.with_name(REPORT_FILE).write_text(report.model_dump_json())
            cost = {"seconds": 1.0, "peak_memory_bytes": 1, "interpreter": "3.11 (here)"}
            on_event(Done(key=job.stage.key, **cost))

    def _speed(self, variant: str, repeat: int) -> SpeedRun:
        """A run that decodes as many tokens a second as `speeds` says, give or take a little."""
        rate = self.speeds[variant] * (1 + repeat / 1000)
        speed = BatchSpeed(
            batch_size=1,
            prefill_seconds=0.1,
            decode_seconds=1 / rate,
            prefill_tokens_per_second=100.0,
            decode_tokens_per_second=rate,
        )
        return SpeedRun(
            repeat=repeat,
            prompt_tokens=128,
            new_tokens=32,
            load_seconds=1.0,
            one=speed,
            many=speed,
            peak_memory_bytes=10**9,
        )

    def _evaluation(self, variant: str, task: Task, *, stirred: int = 0) -> Evaluation:
        """The first documents of one order, as many as the limit takes, sorted by their ids."""
        order = list(range(self.documents))
        random.Random(task.seed).shuffle(order)
        places = {i: place for place, i in enumerate(order[: task.limit])}
        documents, samples = [], []
        for i in sorted(places):
            target = CHOICES[i % len(CHOICES)]
            is_right = (i < self.right[variant]) != (i < stirred)
            answer = target if is_right else CHOICES[(i + 1) % len(CHOICES)]
            document = Document(
                id=i, hash=digest_json(i), prompt=f"question {i}:", target=target, choices=CHOICES
            )
            documents.append(document)
            samples.append(
                Sample(
                    id=i,
                    hash=document.hash,
                    value=float(is_right),
                    answer=answer,
                    request_hash=digest_json([i]),
                    place=places[i],
                )
            )
        return Evaluation(
            task=task.name,
            metric="acc",
            higher_is_better=True,
            is_binary=True,
            available=self.documents,
            documents=tuple(documents),
            samples=tuple(samples),
        )
