import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.digest import digest_tree
from gate.mergers import stream
from gate.terms import LocalAdapter


def merge(*arguments, **options):
    command = [sys.executable, "-c", "from gate.cli import main; main()", "merge"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def test_a_merge_says_what_it_made(base, adapter, tmp_path):
    done = merge(base, adapter, "--out", tmp_path / "deep" / "out")
    assert done.returncode == 0, done.stderr
    assert "merged by stream in" in done.stdout
    assert "6 tensors changed; rounding kept at least" in done.stdout
    assert {file.name for file in (tmp_path / "deep").iterdir()} == {"out"}
    assert (tmp_path / "deep" / "out" / "model.safetensors").is_file()


def test_two_adapters_with_weights_and_a_method(base, adapter, tmp_path):
    other = pico_adapter(base, tmp_path / "other", seed=9)
    done = merge(
        base, adapter, other, "--out", tmp_path / "out",
        "--weight", f"{other.name}=0.5", "--method", "ties", "--density", "0.5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    adapters = [
        LocalAdapter(name="one", path=adapter),
        LocalAdapter(name="other", path=other, weight=0.5),
    ]
    stream.merge(base, adapters, tmp_path / "wanted", method="ties", density=0.5)
    assert digest_tree(tmp_path / "out") == digest_tree(tmp_path / "wanted")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method", "tie"], "--method: no 'tie'\n  hint: did you mean ties?"),
        (["--weight", "x=1"], "--weight x: no such adapter"),
        (["--weight", "x=y"], "--weight x=y: no number\n  hint: for example intents=0.5"),
    ],
)
def test_a_wrong_option_is_named(base, adapter, tmp_path, arguments, told):
    done = merge(base, adapter, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_two_adapters_of_one_name_are_refused(base, adapter, tmp_path):
    done = merge(base, adapter, adapter, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "two adapters named" in done.stderr


def test_a_directory_that_is_not_empty_is_not_touched(base, adapter, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    done = merge(base, adapter, "--out", tmp_path)
    assert done.returncode == 2
    assert "exists and is not an empty directory" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["note.txt"]


def test_a_merge_that_fails_leaves_nothing(base, adapter, tmp_path):
    lora = tmp_path / "lora"
    lora.mkdir()
    (lora / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = min(tensors)
    tensors[name][0] = torch.nan
    save_file(tensors, lora / "adapter_model.safetensors")
    done = merge(base, lora, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert f"elements of {name} are NaN or infinite" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"lora"}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_merge_leaves_nothing_under_the_final_name(adapter, tmp_path, stop):
    base = pico_base(tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    tensors["ballast"] = torch.zeros(50_000_000)  # enough to be met while it is being copied
    save_file(tensors, base / "model.safetensors")
    process = subprocess.Popen(
        [sys.executable, "-c", "from gate.cli import main; main()", "merge", str(base),
         str(adapter), "--out", str(tmp_path / "out")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    begun = time.monotonic()
    while not list(tmp_path.glob(".out.*/out/model.safetensors")):
        assert time.monotonic() - begun < 120
        assert process.poll() is None
    for one in (signal.SIGSTOP, stop, signal.SIGCONT):
        process.send_signal(one)
    process.wait(timeout=60)
    assert process.returncode != 0
    assert not (tmp_path / "out").exists()
