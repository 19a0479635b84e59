"""Plans: each step once, named by content; bridges where a check would cross runtimes."""

import pytest
from gates import GATE, SUITE, write_gate

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.planning.plan import artifact_name, make_plan
from gate.terms import Source

BASE = Source(given="base", path="/base", digest="b0")
ADAPTER = Source(given="adapter", path="/adapter", digest="a0")

GGUF = GATE.replace(
    "{{name: rtn, bits: 8}}}}", "{{name: gguf, type: Q8_0}}, backend: llamacpp}}"
).replace("rtn:", "q8_0:")


def plan_of(tmp_path, *, gate=GATE, suite=SUITE, adapter=ADAPTER):
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=gate, suite=suite))
    return make_plan(config, BASE, {"support": adapter})


def labels(plan) -> list[str]:
    return [planned.label for planned in plan.stages]


def test_a_merge_that_two_variants_share_is_planned_once(tmp_path):
    assert labels(plan_of(tmp_path)) == [
        "merge merged",
        "quantize rtn",
        "audit merge merged",
        "audit quantize rtn",
        "evaluate base colors",
        "evaluate adapter colors",
        "evaluate merged colors",
        "evaluate rtn colors",
    ]


def test_a_changed_adapter_renames_exactly_what_depends_on_it(tmp_path):
    before = {planned.label: planned.stage.key for planned in plan_of(tmp_path).stages}
    changed = ADAPTER.model_copy(update={"digest": "a1"})
    after = {p.label: p.stage.key for p in plan_of(tmp_path, adapter=changed).stages}
    same = {label for label in before if before[label] == after[label]}
    assert same == {"evaluate base colors"}


def test_a_changed_weight_renames_the_merge_and_the_adapter_on_its_base(tmp_path):
    before = {planned.label: planned.stage.key for planned in plan_of(tmp_path).stages}
    gate = GATE.replace("{adapter}", "{{source: {adapter}, weight: 0.5}}")
    after = {p.label: p.stage.key for p in plan_of(tmp_path, gate=gate).stages}
    same = {label for label in before if before[label] == after[label]}
    assert same == {"evaluate base colors"}


def test_a_changed_document_renames_only_evaluations(tmp_path):
    before = {planned.label: planned.stage.key for planned in plan_of(tmp_path).stages}
    config = load_config(write_gate(tmp_path, "base", "adapter"))
    data = tmp_path / "tasks" / "colors.jsonl"
    data.write_text(data.read_text().replace("question 7:", "question seven:"))
    config = load_config(tmp_path / "gate.yaml")
    after = {p.label: p.stage.key for p in make_plan(config, BASE, {"support": ADAPTER}).stages}
    same = {label for label in before if before[label] == after[label]}
    assert same == {"merge merged", "quantize rtn", "audit merge merged", "audit quantize rtn"}


def test_keys_do_not_depend_on_where_the_gate_lies(tmp_path):
    one, other = plan_of(tmp_path / "one"), plan_of(tmp_path / "other")
    assert [p.stage.key for p in one.stages] == [p.stage.key for p in other.stages]


def test_a_check_across_runtimes_gets_a_bridge(tmp_path):
    plan = plan_of(tmp_path, gate=GGUF)
    bridge = plan.variants[-1]
    assert (bridge.name, bridge.kind, str(bridge.backend)) == (
        "merged@llamacpp",
        "bridge",
        "llamacpp",
    )
    assert [(c.variant, c.reference) for c in plan.checks] == [
        ("adapter", "base"),
        ("merged", "adapter"),
        ("merged@llamacpp", "merged"),
        ("q8_0", "merged@llamacpp"),
    ]


def test_the_bridge_must_hold_the_margin_in_both_directions(tmp_path):
    runtime = plan_of(tmp_path, gate=GGUF).checks[2].check
    assert (runtime.at_least, runtime.at_most) == (-0.03, 0.03)


def test_a_bridge_that_the_gate_names_is_used(tmp_path):
    gate = GGUF.replace(
        "backend: {{name",
        "  bf16: {{merge: stream, quantize: {{name: gguf, type: BF16}}, backend: llamacpp}}\n"
        "backend: {{name",
    )
    plan = plan_of(tmp_path, gate=gate)
    assert [variant.name for variant in plan.variants] == [
        "base",
        "adapter",
        "merged",
        "q8_0",
        "bf16",
    ]
    assert ("bf16", "merged") in [(c.variant, c.reference) for c in plan.checks]
    assert ("q8_0", "bf16") in [(c.variant, c.reference) for c in plan.checks]


def test_a_verdict_rests_on_the_whole_lineage(tmp_path):
    lineages = plan_of(tmp_path, gate=GGUF).lineages
    assert lineages["q8_0"] == ("adapter", "merged", "merged@llamacpp", "q8_0")
    assert lineages["merged"] == ("adapter", "merged")


def test_a_shipped_variant_that_nothing_blocks_is_refused(tmp_path):
    suite = SUITE.replace("margin: 0.03", "margin: 0.03, level: warn")
    with pytest.raises(ConfigError, match="rtn is to ship, but no check with level 'block'"):
        plan_of(tmp_path, suite=suite)


def test_an_ambiguous_reference_is_refused(tmp_path):
    gate = GATE.replace("  merged:", "  one: {{merge: stream}}\n  two:")
    with pytest.raises(ConfigError, match=r"several variants fit \(one, two\)") as caught:
        plan_of(tmp_path, gate=gate)
    assert caught.value.hint == "name the variant in 'against'"


def test_an_artifact_is_named_from_variant_base_adapter_and_release(tmp_path):
    variant = plan_of(tmp_path).variants[2]
    name = artifact_name(variant, base="models/SmolLM2-135M-Instruct", release="v3")
    assert name == "merged-smollm2-135m-instruct-adapter-support-v3"


TWO = """
release: v1
candidate:
  base: base
  adapters: {{a: one, b: two}}
variants:
  base: {{adapters: []}}
  merged: {{merge: {{name: stream, method: ties, density: 0.5}}}}
backend: hf
suite: suite.yaml
"""
OWN = """
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml, reference: adapter:a}
checks:
  - {of: adapter, against: base, compare: delta, at_least: 0}
  - {of: merged, against: adapter, compare: delta, margin: 0.02}
"""


def test_a_tasks_own_adapter_alone_is_its_reference(tmp_path):
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=TWO, suite=OWN))
    plan = make_plan(config, BASE, {"a": ADAPTER, "b": ADAPTER})
    assert [one.label for one in plan.checks] == [
        "adapter@a-vs-base[colors]:delta",
        "merged-vs-adapter@a[colors]:delta",
    ]
    assert plan.lineages["merged"] == ("adapter@a", "merged")
    own = next(p for p in plan.stages if p.label == "evaluate adapter@a colors")
    assert own.adapters == ("a",)


def test_a_reference_that_is_no_adapter_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(
            write_gate(
                tmp_path, "base", "adapter", gate=TWO, suite=OWN.replace("adapter:a", "adapter:c")
            )
        )
    assert "no adapter 'c'" in caught.value.problem


def test_the_texts_name_a_merge_that_compares_on_them(tmp_path):
    suite = SUITE + "texts:\n  - {name: words, path: words.jsonl}\n"
    gate = GATE.replace(
        "merged: {{merge: stream}}", "merged: {{merge: {{name: stream, base_precision: auto}}}}"
    )

    def keys(text):
        (tmp_path / "words.jsonl").write_text(f'{{"text": "{text}"}}\n')
        config = load_config(write_gate(tmp_path, "base", "adapter", gate=gate, suite=suite))
        plan = make_plan(config, BASE, {"support": ADAPTER})
        return {planned.label: planned.stage.key for planned in plan.stages}

    one, other = keys("one"), keys("other")
    assert one["merge merged"] != other["merge merged"]
    assert one["merge rtn"] == other["merge rtn"]
