import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.digest import digest_tree
from gate.mergers.peft import merge
from gate.terms import LocalAdapter

# peft warns of a tied base model whose embeddings it adapts, and calls what transformers renamed
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


def local(path, **changes):
    return LocalAdapter(name="intents", path=path, **changes)


def merged(base, adapter, out, **options):
    merge(base, [local(adapter)], out, **options)
    return load_file(out / "model.safetensors")


def exact(base, adapter, name):
    """base + 2 * B @ A in float64: pico adapters have alpha = 2 r."""
    weights = load_file(base / "model.safetensors")[name].double()
    lora = load_file(adapter / "adapter_model.safetensors")
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    down, up = lora[f"{stem}.lora_A.weight"].double(), lora[f"{stem}.lora_B.weight"].double()
    return weights + 2 * up @ down


def adapted_names(base):
    names = load_file(base / "model.safetensors")
    return [n for n in names if any(word in n for word in ("q_proj", "v_proj", "down_proj"))]


def logits(checkpoint, adapter=None):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
    model = PeftModel.from_pretrained(model, adapter) if adapter else model
    with torch.no_grad():
        return model(torch.arange(6, 30)[None]).logits


def change_tensors(file, change):
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def lora(adapter, tmp_path):
    """A copy of the pico adapter that a test may spoil."""
    return Path(shutil.copytree(adapter, tmp_path / "lora"))


def test_a_float32_merge_is_exact_within_rounding(base, adapter, tmp_path):
    weights = merged(base, adapter, tmp_path / "out")
    for name in adapted_names(base):
        torch.testing.assert_close(
            weights[name].double(), exact(base, adapter, name), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.bfloat16])
def test_a_bfloat16_merge_is_one_rounding_of_the_exact_sum(tmp_path, adapter_dtype):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "adapter")
    change_tensors(
        adapter / "adapter_model.safetensors",
        lambda tensors: {name: tensor.to(adapter_dtype) for name, tensor in tensors.items()},
    )
    weights = merged(base, adapter, tmp_path / "out")
    equal = total = 0
    for name in adapted_names(base):
        wanted = exact(base, adapter, name).to(torch.bfloat16)
        equal += int((weights[name] == wanted).sum())
        total += wanted.numel()
    assert equal / total >= 0.9999


def test_what_the_adapter_does_not_touch_is_unchanged(base, adapter, tmp_path):
    weights, before = (
        merged(base, adapter, tmp_path / "out"),
        load_file(base / "model.safetensors"),
    )
    untouched = before.keys() - set(adapted_names(base))
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[name], before[name]) for name in untouched)


def test_merging_twice_gives_the_same_bytes(base, adapter, tmp_path):
    merged(base, adapter, tmp_path / "one")
    merged(base, adapter, tmp_path / "two")
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")


def test_everything_but_the_weights_is_the_bases_byte_for_byte(base, adapter, tmp_path):
    merged(base, adapter, tmp_path / "out")
    made, given = digest_tree(tmp_path / "out"), digest_tree(base)
    assert made.keys() == given.keys()
    assert {name for name in made if made[name] != given[name]} == {"model.safetensors"}


def test_an_inconsistent_generation_config_is_kept_as_it_is(model, adapter, tmp_path):
    text = '{"temperature": 0.5, "do_sample": false}\n'
    (model / "generation_config.json").write_text(text)
    merged(model, adapter, tmp_path / "out")
    assert (tmp_path / "out" / "generation_config.json").read_text() == text


def test_no_generation_config_is_made_up(model, adapter, tmp_path):
    (model / "generation_config.json").unlink()
    merged(model, adapter, tmp_path / "out")
    assert not (tmp_path / "out" / "generation_config.json").exists()


def test_the_tokenizer_comes_from_the_adapter_where_it_has_one(base, lora, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, lora / name)
    (lora / "chat_template.jinja").write_text("trained")
    merged(base, lora, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "trained"
    assert not (tmp_path / "out" / "adapter_config.json").exists()


def test_the_weights_can_be_read_by_whoever_can_read_the_config(base, adapter, tmp_path):
    merged(base, adapter, tmp_path / "out")
    modes = {file.stat().st_mode for file in (tmp_path / "out").iterdir()}
    assert len(modes) == 1


def test_the_report_counts_parameters_and_bytes(base, adapter, tmp_path):
    report = merge(base, [local(adapter)], tmp_path / "out")
    tensors = load_file(base / "model.safetensors").values()
    assert report.parameters == sum(tensor.numel() for tensor in tensors)
    assert report.bits_per_weight == 32
    assert report.warnings == ()


def test_another_dtype_is_written_into_the_config(base, adapter, tmp_path):
    weights = merged(base, adapter, tmp_path / "out", dtype="bfloat16")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert config == json.loads((base / "config.json").read_text()) | {"dtype": "bfloat16"}


def test_a_tensor_stored_in_another_type_than_before_is_reported(model, adapter, tmp_path):
    change_tensors(
        model / "model.safetensors",
        lambda tensors: tensors | {"model.norm.weight": tensors["model.norm.weight"].half()},
    )
    report = merge(model, [local(adapter)], tmp_path / "out")
    assert report.warnings == (
        "1 tensors are stored in another type than the base model's; the first is "
        "model.norm.weight: F16 before, F32 now",
    )


@pytest.mark.parametrize(
    "config",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
        {"trainable_token_indices": [3, 4]},
        {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 1}},
    ],
    ids=str,
)
def test_the_merged_model_answers_as_the_adapter_on_its_base(base, tmp_path, config):
    adapter = pico_adapter(base, tmp_path / "adapter", **config)
    torch.manual_seed(3)
    change_tensors(
        adapter / "adapter_model.safetensors",
        lambda tensors: {
            name: tensor + 0.1 * torch.randn_like(tensor)
            if re.search(r"lora_embedding|(embed_tokens|lm_head)\.weight|delta", name)
            else tensor
            for name, tensor in tensors.items()
        },
    )
    merged(base, adapter, tmp_path / "out")
    torch.testing.assert_close(
        logits(tmp_path / "out"), logits(base, adapter), rtol=1e-3, atol=1e-3
    )


def test_tied_embeddings_that_part_are_reported_and_untied(base, tmp_path):
    adapter = pico_adapter(base, tmp_path / "adapter", target_modules=["lm_head"])
    report = merge(base, [local(adapter)], tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert "lm_head.weight" in load_file(tmp_path / "out" / "model.safetensors")
    assert report.warnings == (
        "adapter intents changes one side of the tied embeddings: "
        "lm_head is now stored on its own (tie_word_embeddings: false)",
    )


def test_a_tensor_the_model_has_no_use_for_is_reported(model, adapter, tmp_path):
    change_tensors(
        model / "model.safetensors", lambda tensors: tensors | {"extra.weight": torch.ones(2)}
    )
    report = merge(model, [local(adapter)], tmp_path / "out")
    assert report.warnings == (
        "1 tensors of the base model are not part of LlamaForCausalLM and left out; "
        "the first is extra.weight",
    )
