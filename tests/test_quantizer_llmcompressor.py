"""What the quantizer refuses and chooses before llm-compressor is needed."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from builders import CHAT_TEMPLATE, pico_base, pico_tokenizer
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing

from gate.errors import ConfigError, SourceError, StageError
from gate.extensions import check_parameters, find
from gate.quantizers.llmcompressor import quantize
from gate.quantizing.calibration import CalibrationInput
from gate.quantizing.compression import Limits, tokenize
from gate.terms import Use

Q = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A pico base with rows of 96 and 192: whole groups of 32, not of 64 or 128."""
    return pico_base(tmp_path_factory.mktemp("odd") / "pico", hidden_size=96)


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def calibration(tmp_path):
    file = tmp_path / "calibration.jsonl"
    file.write_text('{"text": "the capital of red"}\n')
    return [str(file)]


def refusal(error, model, tmp_path, **params):
    """The problem and the hint of what a run is refused with; nothing may have been written."""
    with pytest.raises(error) as caught:
        quantize(model, tmp_path / "out", **params)
    assert not (tmp_path / "out").exists()
    return caught.value.problem, caught.value.hint


def change_config(model, **keys):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | keys))


@pytest.mark.parametrize(
    ("scheme", "method", "able"),
    [("FP8_DYNAMIC", "gptq", "rtn"), ("W8A8", "awq", "gptq, rtn")],
)
def test_a_method_that_does_not_make_the_scheme_is_refused(base, tmp_path, scheme, method, able):
    assert refusal(ConfigError, base, tmp_path, scheme=scheme, method=method) == (
        f"llmcompressor.method: {scheme} is not made with {method}",
        f"these make it: {able}",
    )


def test_a_scheme_that_is_none_is_refused_when_gate_yaml_is_read():
    use = Use(name="llmcompressor", params={"scheme": "W2A2"})
    with pytest.raises(ConfigError, match="'W2A2' is not one of FP8_DYNAMIC, W8A8, W4A16"):
        check_parameters(find("quantizers", "llmcompressor"), use, given_by_gate=("calibration",))


@pytest.mark.parametrize("scheme", ["FP8_DYNAMIC", "W8A8"])
def test_groups_are_refused_where_a_row_has_one_scale(base, tmp_path, scheme):
    found = refusal(ConfigError, base, tmp_path, scheme=scheme, method="rtn", group_size=64)
    assert found == (
        f"llmcompressor.group_size: {scheme} has a scale a row, and no groups",
        "leave group_size out, or choose scheme: W4A16",
    )


def test_groups_that_vllm_has_no_kernels_for_are_refused(base, tmp_path):
    found = refusal(ConfigError, base, tmp_path, scheme="W4A16", method="rtn", group_size=16)
    assert found == (
        "llmcompressor.group_size: vLLM has no kernels for groups of 16",
        "it has them for 128, 64, 32",
    )


def test_groups_that_do_not_divide_a_width_are_refused_with_those_that_do(odd, tmp_path):
    found = refusal(ConfigError, odd, tmp_path, scheme="W4A16", method="rtn", group_size=128)
    assert found == (
        f"llmcompressor.group_size: 128 does not divide the width 192 of {Q}",
        "these divide every width of this model: 32",
    )


def test_widths_that_no_group_divides_are_refused_with_the_other_schemes(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    tensors[Q] = torch.ones(64, 48)
    save_file(tensors, model / "model.safetensors")
    assert refusal(ConfigError, model, tmp_path, scheme="W4A16", method="rtn") == (
        f"llmcompressor.group_size: 32 does not divide the width 48 of {Q}",
        "choose scheme: W8A8 or FP8_DYNAMIC, which have no groups",
    )


@pytest.mark.parametrize(("scheme", "method"), [("W8A8", None), ("W4A16", None), ("W4A16", "awq")])
def test_calibration_that_is_missing_is_asked_for(base, tmp_path, scheme, method):
    assert refusal(ConfigError, base, tmp_path, scheme=scheme, method=method) == (
        f"llmcompressor: {scheme} by {method or 'gptq'} needs calibration inputs, and there are "
        "none",
        "add calibration: [{path: calibration.jsonl}] to the suite, or choose method: rtn",
    )


def test_calibration_that_cannot_be_read_is_refused(base, tmp_path):
    gone = tmp_path / "gone.jsonl"
    problem, _ = refusal(ConfigError, base, tmp_path, scheme="W8A8", calibration=[str(gone)])
    assert problem.startswith(f"{gone}: cannot be read as text")


@pytest.mark.parametrize("name", ["samples", "sequence_length"])
def test_limits_below_one_are_refused(base, tmp_path, calibration, name):
    problem, _ = refusal(
        ConfigError, base, tmp_path, scheme="W8A8", calibration=calibration, **{name: 0}
    )
    assert problem == f"llmcompressor.{name}: 0 is not 1 or more"


def test_a_missing_engine_is_told_with_the_remedy(base, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert refusal(StageError, base, tmp_path, scheme="FP8_DYNAMIC") == (
        "quantizer llmcompressor needs llmcompressor, which is not installed",
        "gate env create llmcompressor",
    )


def test_transposed_weights_are_refused(model, tmp_path):
    change_config(model, model_type="gpt2")
    problem, hint = refusal(StageError, model, tmp_path, scheme="FP8_DYNAMIC")
    assert problem == (
        f"{model}: llmcompressor would scale columns for rows: gpt2 keeps its linear weights "
        "transposed"
    )
    assert hint == "quantize it with gguf"


def test_experts_in_one_tensor_are_refused(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.0.mlp.experts.down_proj"] = torch.ones(2, 64, 64)
    save_file(tensors, model / "model.safetensors")
    problem, hint = refusal(StageError, model, tmp_path, scheme="FP8_DYNAMIC")
    assert problem == (
        f"{model}: llmcompressor would rename model.layers.0.mlp.experts.down_proj: it holds all "
        "experts at once"
    )
    assert hint == "quantize it with gguf"


def test_awq_of_a_model_that_could_not_be_proven_is_refused(model, tmp_path):
    change_config(model, model_type="gemma2")
    assert refusal(StageError, model, tmp_path, scheme="W4A16", method="awq") == (
        f"{model}: awq moves weights between layers, and of gemma2 it cannot be proven how",
        "choose method: gptq; awq is for granite, llama, mistral, qwen2, qwen3",
    )


def test_a_model_without_linear_weights_is_refused(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "proj" not in name}
    save_file(kept, model / "model.safetensors")
    problem, _ = refusal(StageError, model, tmp_path, scheme="FP8_DYNAMIC")
    assert problem == f"{model}: llmcompressor finds no linear weight to quantize"


def test_code_of_its_own_is_refused(model, tmp_path):
    change_config(model, auto_map={"AutoModelForCausalLM": "odd.Odd"})
    problem, _ = refusal(SourceError, model, tmp_path, scheme="FP8_DYNAMIC")
    assert "wants to run code of its own" in problem


def test_truncated_weights_are_refused(model, tmp_path):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    problem, _ = refusal(SourceError, model, tmp_path, scheme="FP8_DYNAMIC")
    assert re.search("truncated", problem)


@pytest.fixture
def tokenizer():
    """The pico tokenizer, beginning each text with <s>, and so does its template."""
    tokenizer = pico_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = "<s>" + CHAT_TEMPLATE
    return tokenizer


def inputs(count):
    return [CalibrationInput((("", f"number {place} red"),), "c:1") for place in range(count)]


def test_texts_and_conversations_begin_once(tokenizer):
    talk = CalibrationInput((("user", "my order"), ("assistant", "yes")), "c:2")
    rows = tokenize([*inputs(1), talk], tokenizer, Limits(9, 99))
    assert [row.count(tokenizer.bos_token_id) for row in rows] == [1, 1]
    assert [row[0] for row in rows] == [tokenizer.bos_token_id] * 2
    assert tokenizer.decode(rows[1]) == "<s><|user|>my order</s><|assistant|>yes</s>"


def test_more_inputs_than_asked_for_are_drawn_the_same_each_time_in_their_order(tokenizer):
    everything = tokenize(inputs(40), tokenizer, Limits(40, 99))
    drawn, again = (tokenize(inputs(40), tokenizer, Limits(8, 99)) for _ in range(2))
    places = [everything.index(row) for row in drawn]
    assert drawn == again
    assert len(drawn) == 8
    assert places == sorted(places)
    assert places != list(range(8))


def test_inputs_are_cut_to_the_sequence_length(tokenizer):
    (row,) = tokenize(inputs(1), tokenizer, Limits(1, 3))
    assert row == tokenize(inputs(1), tokenizer, Limits(1, 99))[0][:3]


def test_a_conversation_without_a_chat_template_is_refused(tokenizer):
    tokenizer.chat_template = None
    talk = CalibrationInput((("user", "my order"),), "c:2")
    with pytest.raises(StageError, match="c:2: is a conversation, and the tokenizer has no chat"):
        tokenize([talk], tokenizer, Limits(1, 9))
