"""Adapters that an engine cannot serve go to transformers, and a bridge crosses the runtimes."""

import json

import pytest
from gates import GATE, SUITE, write_gate

from gate.configuring.config import load_config
from gate.descent import lineage_of
from gate.errors import ConfigError
from gate.planning.fallbacks import fit_backends
from gate.planning.plan import make_plan
from gate.planning.resolution import resolve_checks
from gate.terms import Source

ON_VLLM = GATE.replace("backend: {{name: hf, dtype: float32}}", "backend: vllm")
PLAIN = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"], "bias": "none"}


def fitted(tmp_path, adapter_config, *, gate=ON_VLLM, suite=SUITE):
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=gate, suite=suite))
    adapters = {}
    for one in config.candidate.adapters:
        folder = tmp_path / one.name
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps(adapter_config))
        adapters[one.name] = Source(given="adapter", path=str(folder), digest="a0")
    found = fit_backends(config, adapters)
    return config.model_copy(update={"variants": found.variants}), found.notes


def test_an_adapter_that_the_engine_serves_stays_there(tmp_path):
    config, notes = fitted(tmp_path, PLAIN)
    assert notes == ()
    assert {variant.backend.name for variant in config.variants} == {"vllm"}


def test_an_adapter_beyond_the_engine_is_evaluated_with_hf_and_the_plan_says_so(tmp_path):
    config, (note,) = fitted(tmp_path, PLAIN | {"use_dora": True})
    assert {one.name: one.backend.name for one in config.variants}["adapter"] == "hf"
    assert note.startswith("adapter: evaluated with hf, not vllm: ")
    assert "DoRA" in note


def test_an_adapter_with_a_weight_is_beyond_an_engine_that_takes_none(tmp_path):
    gate = ON_VLLM.replace("{adapter}", "{{source: {adapter}, weight: 0.5}}")
    _, (note,) = fitted(tmp_path, PLAIN, gate=gate)
    assert "cannot apply adapter support at a weight of its own" in note


def test_several_adapters_are_beyond_an_engine_that_applies_one(tmp_path):
    gate = ON_VLLM.replace("{{support: {adapter}}}", "{{a: {adapter}, b: {adapter}}}")
    _, (note,) = fitted(tmp_path, PLAIN, gate=gate)
    assert "it applies one adapter at a time" in note


def test_a_merge_in_another_runtime_than_its_adapter_is_compared_over_a_bridge(tmp_path):
    config, _ = fitted(tmp_path, PLAIN | {"use_dora": True})
    found = resolve_checks(config)
    (bridge,) = found.bridges
    assert (bridge.name, bridge.backend.name, bridge.is_bridge) == ("merged@hf", "hf", True)
    pairs = {(one.variant, one.reference): one.check for one in found.checks}
    assert ("merged@hf", "adapter") in pairs
    runtime = pairs["merged", "merged@hf"]
    assert (runtime.at_least, runtime.at_most) == (-0.02, 0.02)
    assert ("merged", "adapter") not in pairs
    variants = (*config.variants, bridge)
    merged = next(one for one in variants if one.name == "merged")
    assert lineage_of(merged, variants, found.checks) == ("adapter", "merged@hf", "merged")


def test_an_engine_that_is_not_installed_is_told_with_the_command_that_installs_it(tmp_path):
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=ON_VLLM))
    base = Source(given="base", path="/base", digest="b0")
    with pytest.raises(ConfigError, match="vllm needs vllm, which is not installed in ") as refused:
        make_plan(config, base, {"support": Source(given="a", path="/a", digest="a0")})
    assert "gate env create vllm" in refused.value.hint
