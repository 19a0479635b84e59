"""The command gate audit: a verdict in a few lines, and an exit status."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from audit_builders import (
    edited,
    local,
    merged_by_stream,
    pico_base,
    random_adapter,
    save_file,
    with_config,
)

from gate.cli import main
from gate.tensors import open_tensors

Q0 = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    place = tmp_path_factory.mktemp("world")
    base = pico_base(place / "base", dtype="bfloat16")
    adapter = random_adapter(base, place / "intents", target_modules=["q_proj"], strength=0.1)
    return base, adapter, merged_by_stream(base, adapter, place / "merged")


@pytest.fixture
def gate(monkeypatch, capsys):
    """Runs `gate audit` with some arguments: (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["gate", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return run


def test_a_proven_merge_is_told_in_two_lines(gate, world):
    status, out, _ = gate(*world)
    assert status == 0
    first, second = out.splitlines()
    assert first == "proven: 2 tensors exact, 18 untouched; schedule: one rounding"
    assert second.startswith("least of the change is kept in model.layers.")
    assert second.endswith("%")


def test_faults_are_told_one_a_line(gate, world):
    base, adapter, _ = world
    status, out, _ = gate(base, adapter, base)
    assert status == 1
    assert out.splitlines()[:3] == [
        "not proven: 3 faults",
        "  nothing of the adapters is in the merged weights: they are the base's",
        f"  {Q0}: not applied: it equals the base's",
    ]


def test_one_fault_is_no_faults(gate, world, tmp_path):
    changed = with_config(world[2], tmp_path / "m", rms_norm_eps=0.1)
    _, out, _ = gate(world[0], world[1], changed)
    assert out.startswith("not proven: 1 fault\n")


def test_many_faults_are_counted(gate, world, tmp_path):
    def change(tensors):
        return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}

    _, out, _ = gate(world[0], world[1], edited(world[2], tmp_path / "m", change))
    assert "  and 1 more: --json FILE has them all" in out.splitlines()


def test_another_tokenizer_is_a_fault(gate, world, tmp_path):
    changed = edited(world[2], tmp_path / "m", lambda tensors: tensors)
    (changed / "chat_template.jinja").write_text("other")
    status, out, _ = gate(world[0], world[1], changed)
    assert status == 1
    assert "chat_template" in out


def test_a_tensor_within_rounding_is_counted_apart(gate, world, tmp_path):
    def change(tensors):
        tensors[Q0].view(torch.int16)[3, 5] ^= 1

    status, out, _ = gate(world[0], world[1], edited(world[2], tmp_path / "m", change))
    assert status == 0
    assert out.startswith(
        "proven: 1 tensors exact, 1 within rounding, 18 untouched; schedule: no single one\n"
    )


def test_everything_found_is_written_as_json(gate, world, tmp_path):
    gate(*world, "--json", tmp_path / "audit.json")
    written = json.loads((tmp_path / "audit.json").read_text())
    assert written["schedule"] == "one rounding"
    assert written["faults"] == []
    assert len(written["tensors"]) == 20


def test_json_that_cannot_be_written_is_an_error(gate, world, tmp_path):
    status, _, err = gate(*world, "--json", tmp_path / "nowhere" / "audit.json")
    assert status == 2
    assert "audit.json: cannot be written: No such file or directory" in err


def test_warnings_go_to_stderr(gate, world, tmp_path):
    base, _, _ = world
    weak = random_adapter(base, tmp_path / "weak", target_modules=["q_proj"], strength=0.002)
    merged = merged_by_stream(base, weak, tmp_path / "m")
    status, _, err = gate(base, weak, merged)
    assert status == 0
    assert "\nwarning: rounding loses most of the change of 2 tensors; of " in f"\n{err}"


def test_weights_and_methods_are_asked_for(gate, world, tmp_path):
    base, adapter, _ = world
    other = random_adapter(base, tmp_path / "other", target_modules=["q_proj"], seed=4)
    given = [local(adapter, weight=0.5), local(other)]
    merged = merged_by_stream(base, given, tmp_path / "m", method="ties", density=0.5)
    asked = ("--weight", "intents=0.5", "--method", "ties", "--density", "0.5")
    assert gate(base, adapter, other, merged, *asked)[0] == 0
    assert gate(base, adapter, other, merged)[0] == 1


def test_a_merge_that_is_not_there_is_bad_input(gate, world, tmp_path):
    status, _, err = gate(world[0], world[1], tmp_path / "m")
    assert status == 2
    assert err.startswith(f"gate: {tmp_path / 'm'}: no such directory\n")


def test_a_truncated_merge_is_bad_input_without_a_traceback(gate, world, tmp_path):
    merged = tmp_path / "m"
    shutil.copytree(world[2], merged)
    file = merged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    status, _, err = gate(world[0], world[1], merged)
    assert status == 2
    assert "truncated: its header promises" in err


def test_mapping_a_checkpoint_takes_no_memory(tmp_path):
    def anonymous():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))

    size_kib = 64 * 1024
    (tmp_path / "big").mkdir()
    save_file({"w": torch.zeros(16, 1 << 20)}, tmp_path / "big" / "model.safetensors")
    before = anonymous()
    tensor = open_tensors(tmp_path / "big", allow_pickle=False).views["w"]
    assert torch.equal(tensor, tensor)
    assert tensor.shape == (16, 1 << 20)
    assert anonymous() - before < size_kib / 8
