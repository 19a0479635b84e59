"""Whole gates on pico models: real merges, real quantizers, real engines, real child processes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base, pico_trained_adapter, smollm2_tokenizer
from gates import CHOICES

from gate.configuring.config import load_config
from gate.errors import ConfigError, GateError
from gate.running.runner import run_gate
from gate.store import Store

SUBJECTS = ("lost", "late", "broken", "urgent")
DOCUMENTS = 320

TASK = """\
task: desk
dataset_path: json
dataset_kwargs:
  data_files: {test: desk.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""

SUITE = """\
tasks:
  - {name: desk, metric: acc, path: desk.yaml}
checks:
  - {of: adapter, against: base, compare: delta, at_least: 0.2}
  - {of: merged, against: adapter, compare: delta, margin: 0.02, two_sided: true}
  - {of: quantized, against: merged, compare: delta, margin: 0.03}
"""

GATE = """\
release: v1
candidate:
  base: base
  adapters: {desk: adapter}
variants:
  base: {adapters: []}
  adapter: {}
  merged: {merge: stream}
"""


def _question(number: int) -> str:
    return f"{SUBJECTS[number % 4]} {number}:"


def _desk(folder: Path, tokenizer=None) -> Path:
    """A base that knows nothing, an adapter that has learned the desk's four answers, a task."""
    pico_base(folder / "base", tokenizer=tokenizer, initializer_range=0.08)
    numbers = random.Random(0).sample(range(1000), 200)
    examples = [(_question(number), f" {CHOICES[number % 4]}") for number in numbers]
    pico_trained_adapter(folder / "base", folder / "adapter", examples)
    rows = [
        {"text": _question(number), "choices": CHOICES, "answer": number % 4}
        for number in range(1000, 1000 + DOCUMENTS)
    ]
    (folder / "desk.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "desk.yaml").write_text(TASK)
    (folder / "suite.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return _desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def desk(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "desk")
    return tmp_path / "desk"


def write(desk: Path, variants: str) -> Path:
    backend = "backend: {name: hf, batch_size: 32}\nsuite: suite.yaml\n"
    (desk / "gate.yaml").write_text(GATE + variants + backend)
    return desk / "gate.yaml"


def run(desk: Path, variants: str = ""):
    config = load_config(write(desk, variants))
    return run_gate(config, store=Store(desk / "store"), reports=desk / "reports").record


def verdicts(record) -> dict[str, str]:
    return {one.variant: one.verdict for one in record.verdicts}


def scores(record) -> dict[str, float]:
    return {score.variant: score.mean for score in record.scores}


def test_a_fine_quantization_is_promoted_and_a_destructive_one_blocked(desk):
    record = run(
        desk,
        "  rtn8: {merge: stream, quantize: {name: rtn, bits: 8, group_size: 32}}\n"
        "  erased: {merge: stream, quantize: erase}\n",
    )
    found = scores(record)
    assert found["base"] < 0.5
    assert found["adapter"] > 0.95
    assert verdicts(record) == {"merged": "promote", "rtn8": "promote", "erased": "block"}
    assert record.verdict == "block"
    assert all(stage.peak_memory_bytes for stage in record.stages)
    proven = {one.label: one.audit.is_proven for one in record.audits}
    assert proven == {
        "audit merge merged": True,
        "audit quantize rtn8": True,
        "audit quantize erased": False,
    }


def test_two_adapters_are_each_held_to_their_own_task(desk):
    pico_adapter(desk / "base", desk / "other", seed=3, strength=0.02)
    (desk / "suite.yaml").write_text(
        SUITE.replace("acc, path", "acc, reference: adapter:desk, path")
    )
    gate = GATE.replace("{desk: adapter}", "{desk: adapter, other: other}")
    assert gate != GATE
    (desk / "gate.yaml").write_text(
        f"{gate}  ties: {{merge: {{name: stream, method: ties, density: 0.7}}}}\n"
        "backend: {name: hf, batch_size: 32}\nsuite: suite.yaml\nship: [merged]\n"
    )
    config = load_config(desk / "gate.yaml")
    record = run_gate(config, store=Store(desk / "store"), reports=desk / "reports").record
    assert {one.reference for one in record.results if one.variant == "merged"} == {"adapter@desk"}
    assert {one.label: one.audit.faults for one in record.audits} == {
        "audit merge merged": (),
        "audit merge ties": (),
    }
    assert verdicts(record)["merged"] == "promote"


@pytest.mark.gguf
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_gguf_is_bridged_and_judged_in_its_own_runtime(tmp_path):
    pytest.importorskip("llama_cpp")
    desk = _desk(tmp_path, tokenizer=smollm2_tokenizer())
    record = run(
        desk, "  q8_0: {merge: stream, quantize: {name: gguf, type: Q8_0}, backend: llamacpp}\n"
    )
    assert {(one.variant, one.reference): one.outcome for one in record.results} == {
        ("adapter", "base"): "pass",
        ("merged", "adapter"): "pass",
        ("merged@llamacpp", "merged"): "pass",
        ("q8_0", "merged@llamacpp"): "pass",
    }
    hashes = {tuple(sample.request_hash for sample in score.samples) for score in record.scores}
    assert len(hashes) == 1
    q8_0 = next(one for one in record.artifacts if one.variant == "q8_0")
    assert 8 < q8_0.report.bits_per_weight < 10
    assert {(one.engine, one.variant) for one in record.noise} == {
        ("hf", "adapter"),
        ("llamacpp", "merged@llamacpp"),
    }


def test_an_adapter_that_changes_nothing_is_refused(desk):
    shutil.rmtree(desk / "adapter")
    pico_adapter(desk / "base", desk / "adapter", strength=0.0)
    with pytest.raises(ConfigError, match="changes nothing: every lora_B is zero"):
        run(desk)


def test_an_adapter_of_another_base_is_refused_by_the_tensor_and_nothing_is_written(desk, tmp_path):
    other = pico_base(tmp_path / "other", hidden_size=32)
    shutil.rmtree(desk / "adapter")
    pico_adapter(other, desk / "adapter")
    with pytest.raises(ConfigError, match=r"layers\.0\.\S+lora_B\.weight has shape \[32, 4\]"):
        run(desk)
    assert not (desk / "reports").exists()
    assert not list((desk / "store").glob("merge/*"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda desk: shutil.rmtree(desk / "base"), "base: no such directory"),
        (lambda desk: shutil.rmtree(desk / "adapter"), "adapter: no such directory"),
        (lambda desk: (desk / "suite.yaml").unlink(), "no suite 'suite.yaml'"),
        (lambda desk: (desk / "desk.jsonl").unlink(), "names a data file that is missing"),
        (lambda desk: (desk / "base" / "config.json").unlink(), "has no config.json"),
        (
            lambda desk: (desk / "base" / "model.safetensors").rename(
                desk / "base" / "pytorch_model.bin"
            ),
            "allow_pickle",
        ),
    ],
)
def test_missing_or_refused_input_is_named_before_anything_runs(desk, spoil, told):
    write(desk, "")
    spoil(desk)
    with pytest.raises(ConfigError) as caught:
        run(desk)
    assert told in str(caught.value)
    assert not (desk / "reports").exists()


def test_code_from_the_hub_is_refused_unless_it_is_trusted(desk):
    config = json.loads((desk / "base" / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Evil"}
    (desk / "base" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError) as caught:
        run(desk)
    assert "trust_remote_code" in str(caught.value)


def test_a_metric_that_the_task_lacks_is_refused_with_those_it_has(desk):
    suite = (desk / "suite.yaml").read_text()
    (desk / "suite.yaml").write_text(suite.replace("metric: acc", "metric: accuracy"))
    with pytest.raises(GateError) as caught:
        run(desk)
    assert caught.value.exit_status == 2
    assert "accuracy" in str(caught.value)
    assert "acc" in caught.value.hint


def test_killed_at_any_moment_the_run_is_resumed_without_redoing_what_was_finished(desk):
    write(desk, "")
    command = [sys.executable, "-c", "from gate.cli import main; main()", "run", "gate.yaml"]
    environment = os.environ | {"COLUMNS": "200"}
    for line in ("merge merged: done", "evaluate base desk: started"):
        with subprocess.Popen(
            command, cwd=desk, stderr=subprocess.PIPE, text=True, env=environment
        ) as child:
            for told in child.stderr:
                if line in told:
                    break
            os.kill(child.pid, signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    done = subprocess.run(
        command, cwd=desk, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "6 stages: 2 cached, 4 to run" in done.stderr
    assert "merge merged: started" not in done.stderr
