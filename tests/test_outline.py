"""A gate's checks from its files alone: their names, and the bridges that the engines call for."""

import json

from gates import GATE, SUITE, write_gate

from gate.collecting.outline import names_of, read_outline
from gate.planning.resolution import resolve_checks

VLLM = GATE.replace("backend: {{name: hf, dtype: float32}}", "backend: vllm")


def test_checks_of_one_name_are_numbered(tmp_path, base, adapter):
    twice = "  - {of: merged, against: adapter, compare: delta, margin: 0.05}\n"
    suite = SUITE.replace("noise_floor", f"{twice}noise_floor")
    outline = read_outline(write_gate(tmp_path, base, adapter, suite=suite))
    names = names_of(outline.checks)
    assert "merged-vs-adapter[colors-delta]" in names
    assert "merged-vs-adapter[colors-delta#2]" in names


def test_a_slice_and_a_check_of_no_task_are_in_the_name(tmp_path, base, adapter):
    more = (
        "  - {of: merged, against: adapter, compare: delta, margin: 0.05, slice: 'a\u200e b'}\n"
        "  - {of: quantized, against: merged, compare: size, at_most: 0.9}\n"
    )
    suite = SUITE.replace("noise_floor", f"{more}speed: {{repeats: 2}}\nnoise_floor")
    suite = suite.replace("path: tasks/colors.yaml}", "path: tasks/colors.yaml, slice: answer}")
    names = names_of(read_outline(write_gate(tmp_path, base, adapter, suite=suite)).checks)
    assert "merged-vs-adapter[colors/a\ufffd b-delta]" in names
    assert "rtn-vs-merged[size]" in names


def test_an_adapter_that_an_engine_cannot_serve_gets_the_bridge_that_the_run_will_have(
    tmp_path, base, adapter
):
    own = tmp_path / "adapter"
    own.mkdir()
    for file in adapter.iterdir():
        (own / file.name).write_bytes(file.read_bytes())
    config = json.loads((own / "adapter_config.json").read_text())
    (own / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    outline = read_outline(write_gate(tmp_path, base, own, gate=VLLM))
    assert any("@hf" in name for name in names_of(outline.checks))
    assert not any("@hf" in one.variant for one in resolve_checks(outline.config).checks)
