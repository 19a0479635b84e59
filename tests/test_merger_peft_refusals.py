import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.errors import ConfigError, SourceError, StageError
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


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([], "not none"),
        ([0.5], "not intents at weight 0.5"),
        ([1.0, 1.0], "not intents at weight 1.0, intents at weight 1.0"),
    ],
)
def test_other_than_one_adapter_at_full_weight_is_refused(base, adapter, tmp_path, weights, words):
    adapters = [local(adapter, weight=weight) for weight in weights]
    with pytest.raises(ConfigError, match="merges exactly one adapter at weight 1") as caught:
        merge(base, adapters, tmp_path / "out")
    assert words in caught.value.problem
    assert "not the sum of what they learned" in caught.value.hint


def refused(base, adapter, out, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        merge(base, [local(adapter)], out)
    assert not out.exists()
    return caught.value


def test_a_quantized_base_is_refused(model, adapter, tmp_path):
    config = json.loads((model / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (model / "config.json").write_text(json.dumps(config))
    error = refused(model, adapter, tmp_path / "out", ConfigError, "a quantized base model")
    assert error.hint == "give the 16-bit model it was quantized from"


def test_code_of_its_own_is_refused(model, adapter, tmp_path):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"A": "b.C"}}))
    refused(model, adapter, tmp_path / "out", SourceError, "wants to run code of its own")


def test_pickled_adapter_weights_are_refused_unless_allowed(base, lora, tmp_path):
    tensors = load_file(lora / "adapter_model.safetensors")
    (lora / "adapter_model.safetensors").unlink()
    torch.save(tensors, lora / "adapter_model.bin")
    refused(base, lora, tmp_path / "out", SourceError, "pickled (adapter_model.bin)")
    assert merge(base, [local(lora)], tmp_path / "out", allow_pickle=True).parameters


def test_a_tensor_missing_from_the_base_is_refused(model, adapter, tmp_path):
    change_tensors(
        model / "model.safetensors",
        lambda tensors: {n: t for n, t in tensors.items() if n != "model.norm.weight"},
    )
    words = "1 tensors of LlamaForCausalLM are not in the checkpoint; the first is model.norm"
    error = refused(model, adapter, tmp_path / "out", StageError, words)
    assert error.hint == "transformers would fill them with random numbers"


def test_a_tensor_missing_from_the_adapter_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n: t for n, t in tensors.items() if "layers.1.mlp" not in n},
    )
    error = refused(
        base, lora, tmp_path / "out", StageError, "it lacks 2 tensors; the first is base_model."
    )
    assert "layers.1.mlp.down_proj.lora_A" in error.problem
    assert error.hint == "was it trained on this base model, and saved whole?"


def test_a_dropped_module_to_save_is_refused(base, tmp_path):
    lora = pico_adapter(base, tmp_path / "lora", modules_to_save=["lm_head"])
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n: t for n, t in tensors.items() if "lm_head" not in n},
    )
    refused(base, lora, tmp_path / "out", StageError, "it lacks base_model.model.lm_head.weight")


def test_a_tensor_without_a_place_in_the_base_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n.replace("layers.1.", "layers.9."): t for n, t in tensors.items()},
    )
    words = "6 of its tensors have no place in the base model; the first is base_model."
    error = refused(base, lora, tmp_path / "out", StageError, words)
    assert "layers.9.mlp.down_proj.lora_A" in error.problem


def test_a_tensor_of_another_shape_is_refused(base, tmp_path):
    wider = pico_base(tmp_path / "wider", hidden_size=96)
    lora = pico_adapter(wider, tmp_path / "lora")
    error = refused(base, lora, tmp_path / "out", StageError, "cannot be merged: Error(s) in load")
    assert "size mismatch for base_model.model.model.layers.0" in error.problem


def test_a_merge_that_changes_nothing_is_refused(base, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)
    error = refused(base, idle, tmp_path / "out", StageError, "the merge changed nothing")
    assert "try dtype: float32" in error.hint


def test_a_merge_rounded_away_by_the_dtype_is_refused(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    faint = pico_adapter(base, tmp_path / "faint", strength=1e-9)
    change_tensors(
        base / "model.safetensors",
        lambda tensors: {n: torch.ones_like(t) for n, t in tensors.items()},
    )
    refused(base, faint, tmp_path / "out", StageError, "the merge changed nothing")


def test_a_weight_that_is_not_finite_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {
            n: t * torch.nan if "layers.1.mlp" in n else t for n, t in tensors.items()
        },
    )
    words = "model.layers.1.mlp.down_proj.weight is not finite after the merge"
    refused(base, lora, tmp_path / "out", StageError, words)
