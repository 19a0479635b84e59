"""gate.yaml and suites: every mistake is named with file, line, key and the way out."""

import pytest
from gates import GATE, SUITE, write_gate

from gate.configuring.config import load_config
from gate.errors import ConfigError


def refusal(tmp_path, *, gate=GATE, suite=SUITE) -> str:
    path = write_gate(tmp_path, "base", "adapter", gate=gate, suite=suite)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_gate_is_read_with_its_suite(tmp_path):
    config = load_config(write_gate(tmp_path, "base", "adapter"))
    assert [(variant.name, variant.kind) for variant in config.variants] == [
        ("base", "base"),
        ("adapter", "adapter"),
        ("merged", "merged"),
        ("rtn", "quantized"),
    ]
    assert config.ship == ("merged", "rtn")
    assert config.suite.files["colors"].documents == 300
    assert (config.suite.checks[1].at_least, config.suite.checks[1].at_most) == (-0.02, 0.02)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.yaml: No such file"):
        load_config(tmp_path / "nothing.yaml")


def test_broken_yaml_names_the_line(tmp_path):
    told = refusal(tmp_path, gate="release: v1\nvariants: [a, b\n")
    assert told.startswith("gate.yaml:3: not valid YAML")


def test_a_key_given_twice_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE + "release: v2\n")
    assert 'found duplicate key "release"' in told


def test_yaml_is_read_safely(tmp_path):
    told = refusal(tmp_path, gate="!!python/object/apply:os.system ['false']\n")
    assert "gate.yaml:1: expected keys such as release" in told


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("suite:", "siute:"))
    assert "gate.yaml:12: siute: unknown key" in told
    assert "gate.yaml:1: suite: is required" in told
    assert "did you mean suite?" in told


def test_an_unknown_key_inside_a_variant_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("merged: {{merge:", "merged: {{merg:"))
    assert "gate.yaml:9: variants.merged.merg: unknown key" in told
    assert "did you mean merge?" in told


def test_an_unknown_quantizer_is_refused_with_the_nearest(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("name: rtn", "name: rtm"))
    assert "gate.yaml:10: variants.rtn.quantize: no quantizer named 'rtm'" in told
    assert "did you mean rtn?" in told


def test_an_unknown_parameter_is_refused_with_the_nearest(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("bits: 8", "bit: 8"))
    assert "variants.rtn.quantize: rtn has no parameter 'bit'" in told
    assert "did you mean bits?" in told


def test_a_parameter_of_the_wrong_type_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("bits: 8", "bits: eight"))
    assert "variants.rtn.quantize: rtn.bits: 'eight' is not int" in told


def test_a_missing_parameter_is_named(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace(", bits: 8", ""))
    assert "variants.rtn.quantize: rtn needs 'bits'" in told


def test_a_backend_that_cannot_read_the_artifact_is_refused(tmp_path):
    gate = GATE.replace("{{merge: stream}}", "{{merge: stream, backend: llamacpp}}")
    told = refusal(tmp_path, gate=gate)
    assert "variants.merged.backend: llamacpp reads gguf, and this variant is checkpoint" in told
    assert "quantize: {name: gguf, type: BF16}" in told


def test_quantizing_without_merging_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("rtn: {{merge: stream, ", "rtn: {{"))
    assert "variants.rtn.quantize: a variant is merged before it is quantized" in told


def test_merging_without_an_adapter_is_refused(tmp_path):
    told = refusal(
        tmp_path, gate=GATE.replace("{{adapters: []}}", "{{adapters: [], merge: stream}}")
    )
    assert "variants.base.merge: there is no adapter to merge" in told


def test_an_unknown_adapter_is_refused_with_the_nearest(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("adapter: {{}}", "adapter: {{adapters: [suport]}}"))
    assert "variants.adapter.adapters: no adapter 'suport'" in told
    assert "did you mean support?" in told


def test_a_name_that_is_no_file_name_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("release: v1", "release: ../v1"))
    assert "gate.yaml:1: release: '../v1' cannot be a file name" in told


def test_shipping_an_unknown_variant_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE + "ship: [merged, q8]\n")
    assert "gate.yaml:13: ship.1: no merged or quantized variant 'q8'" in told


def test_shipping_what_is_not_merged_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE + "ship: [adapter]\n")
    assert "no merged or quantized variant 'adapter'" in told


def test_an_unknown_suite_is_refused_with_those_that_are_shipped(tmp_path):
    told = refusal(tmp_path, gate=GATE.replace("suite.yaml", "dem"))
    assert "no suite 'dem'" in told
    assert "did you mean demo?" in told


def test_a_missing_task_file_is_named(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("colors.yaml", "colours.yaml"))
    assert "suite.yaml:2: tasks.0.path: no task file" in told


def test_a_missing_data_file_is_named(tmp_path):
    path = write_gate(tmp_path, "base", "adapter")
    (tmp_path / "tasks" / "colors.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"colors\.yaml names a data file that is missing: "):
        load_config(path)


def test_an_empty_task_is_refused(tmp_path):
    path = write_gate(tmp_path, "base", "adapter")
    (tmp_path / "tasks" / "colors.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="task 'colors' has no documents"):
        load_config(path)


def test_a_task_under_another_name_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("name: colors", "name: colour"))
    assert "colors.yaml defines task 'colors', not 'colour'" in told


def test_a_check_of_an_unknown_variant_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("against: merged", "against: merge"))
    assert "suite.yaml:6: checks.2.against: no variant or kind 'merge'" in told
    assert "this gate has base, adapter, merged, rtn" in told


def test_a_check_with_an_unknown_comparison_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("compare: delta, at", "compare: detla, at"))
    assert "suite.yaml:4: checks.0.compare: no comparison named 'detla'" in told
    assert "did you mean delta?" in told


def test_a_check_on_an_unknown_task_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("at_least: 0", "at_least: 0, tasks: [colour]"))
    assert "suite.yaml:4: checks.0.tasks: no task 'colour'" in told
    assert "did you mean colors?" in told


@pytest.mark.parametrize("written", ["2", "0", "-0.02"])
def test_a_margin_that_is_no_share_is_refused(tmp_path, written):
    answer = refusal(tmp_path, suite=SUITE.replace("margin: 0.03", f"margin: {written}"))
    assert "suite.yaml:6: checks.2.margin: a margin is a share above 0 and below 1" in answer
    assert f"not {written}; 0.02 means 2 points" in answer


def test_a_confidence_outside_its_range_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("margin: 0.03", "margin: 0.03, confidence: 95"))
    assert "checks.2.confidence: a one-sided confidence is above 0.5 and below 1, not 95" in told


def test_a_check_without_a_bound_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace(", at_least: 0", ""))
    assert "suite.yaml:4: checks.0: needs a bound: margin, at_least or at_most" in told


def test_a_check_with_a_margin_and_a_bound_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.replace("margin: 0.03", "margin: 0.03, at_least: 0"))
    assert "checks.2: give a margin, or at_least and at_most, not both" in told


def test_a_suite_without_checks_is_refused(tmp_path):
    told = refusal(tmp_path, suite=SUITE.partition("checks:")[0] + "checks: []\n")
    assert "suite.yaml:3: checks:" in told


def test_a_task_limit_bounds_the_documents(tmp_path):
    suite = SUITE.replace("metric: acc,", "metric: acc, limit: 50,")
    config = load_config(write_gate(tmp_path, "base", "adapter", suite=suite))
    assert config.suite.files["colors"].documents == 50


AUTO = GATE.replace(
    "merged: {{merge: stream}}", "merged: {{merge: {{name: stream, base_precision: auto}}}}"
)


def test_comparing_precisions_needs_texts(tmp_path):
    told = refusal(tmp_path, gate=AUTO)
    assert (
        "gate.yaml:9: variants.merged.merge: base_precision: auto compares on the suite's" in told
    )
    assert "add 'texts: [{name: general, path: general.jsonl}]' to the suite" in told


def test_texts_are_found_beside_the_suite(tmp_path):
    (tmp_path / "words.jsonl").write_text('{"text": "one"}\n')
    suite = SUITE + "texts:\n  - {name: words, path: words.jsonl}\n"
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=AUTO, suite=suite))
    assert [(text.name, text.path) for text in config.suite.texts] == [
        ("words", str(tmp_path / "words.jsonl"))
    ]


def test_a_missing_text_file_is_named(tmp_path):
    told = refusal(tmp_path, suite=SUITE + "texts:\n  - {name: words, path: none.jsonl}\n")
    assert "suite.yaml" in told
    assert "no text file" in told


def test_an_engine_that_cannot_read_a_format_is_told_with_those_that_can(tmp_path):
    gate = GATE.replace("{{name: rtn, bits: 8}}", "{{name: gguf, type: Q8_0}}")
    told = refusal(tmp_path, gate=gate)
    assert "hf reads checkpoint, " in told
    assert "and this variant is gguf" in told
    assert "'backend: llamacpp'" in told
    assert "'backend: endpoint'" in told


def test_an_interpreter_for_what_no_variant_uses_is_refused(tmp_path):
    told = refusal(tmp_path, gate=GATE + "interpreters: {{vlm: /usr/bin/python3}}\n")
    assert "interpreters.vlm: no variant uses an extension of this name" in told


def test_interpreters_are_found_from_the_folder_of_gate_yaml(tmp_path):
    gate = GATE + "interpreters: {{hf: envs/hf/bin/python}}\n"
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=gate))
    assert config.interpreters == {"hf": str(tmp_path / "envs/hf/bin/python")}


def test_a_stage_has_a_longest_time(tmp_path):
    assert load_config(write_gate(tmp_path, "base", "adapter")).timeout_minutes == 240
    told = refusal(tmp_path, gate=GATE + "timeout_minutes: 0\n")
    assert "timeout_minutes" in told


def test_one_thing_is_done_at_a_time_unless_gate_yaml_says_otherwise(tmp_path):
    assert load_config(write_gate(tmp_path, "base", "adapter")).workers == 1
    given = {"4": 4, "auto": "auto"}
    for text, workers in given.items():
        gate = GATE + f"workers: {text}\n"
        assert load_config(write_gate(tmp_path, "base", "adapter", gate=gate)).workers == workers


@pytest.mark.parametrize("text", ["0", "many", "1.5"])
def test_workers_are_a_number_or_auto(tmp_path, text):
    assert "workers" in refusal(tmp_path, gate=GATE + f"workers: {text}\n")


def test_what_a_variant_takes_in_memory_can_be_declared(tmp_path):
    gate = GATE + "memory_gib: {{merged: 1.5}}\n"
    config = load_config(write_gate(tmp_path, "base", "adapter", gate=gate))
    assert config.memory_bytes == {"merged": 3 << 29}


def test_memory_of_an_unknown_variant_is_refused_with_the_nearest(tmp_path):
    told = refusal(tmp_path, gate=GATE + "memory_gib: {{mergd: 2}}\n")
    assert "memory_gib.mergd: no variant 'mergd'" in told
    assert "merged" in told


def test_a_check_of_speed_on_a_task_is_refused(tmp_path):
    check = "  - {of: rtn, against: adapter, compare: speed, at_least: 1, tasks: [colors]}\n"
    told = refusal(tmp_path, suite=SUITE.replace("noise_floor", f"{check}noise_floor"))
    assert "checks.3.tasks: speed is of no task" in told


def test_what_is_declared_of_serving_is_read(tmp_path):
    gate = GATE + "serving: {{variants: 12, requests_per_second: 3, still_iterating: true}}\n"
    declared = load_config(write_gate(tmp_path, "base", "adapter", gate=gate)).declared_serving
    assert (declared.variants, declared.requests_per_second) == (12, 3.0)
    assert (declared.still_iterating, declared.further_training) == (True, False)


def test_a_gate_need_not_declare_how_it_is_served(tmp_path):
    assert load_config(write_gate(tmp_path, "base", "adapter")).declared_serving is None


@pytest.mark.parametrize(
    ("serving", "told"),
    [
        ("{{}}", "serving: says nothing; leave it out, or give one of variants, "),
        ("{{variants: 0}}", "serving.variants: Input should be greater than or"),
        ("{{variants: many}}", "serving.variants: Input should be a valid integer"),
        ("{{requests_per_second: 0}}", "serving.requests_per_second: Input should be greater"),
        ("{{requests_per_second: .inf}}", "serving.requests_per_second: Input should be a finite"),
        (
            "{{further_training: maybe}}",
            "serving.further_training: Input should be a valid boolean",
        ),
        ("{{varants: 3}}", "did you mean variants?"),
        ("{{speed: 3}}", "known: further_training, requests_per_second, still_iterating, variants"),
    ],
)
def test_a_mistake_in_what_is_declared_names_its_line_and_key(tmp_path, serving, told):
    refused = refusal(tmp_path, gate=GATE + f"serving: {serving}\n")
    assert told in refused
    assert f"gate.yaml:{GATE.count(chr(10)) + 1}: serving" in refused
