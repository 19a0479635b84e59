import re
import shutil
from pathlib import Path

import pytest
import torch
from builders import pico_adapter, pico_base
from stream_refusals import change_config, change_tensors, local, pico_shards, refused

from gate.errors import ConfigError, GateError, SourceError, StageError
from gate.mergers.stream import merge

# peft says which of its layers saves embeddings, and that a tied model is adapted on one side
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def lora(adapter, tmp_path):
    """A copy of the pico adapter that a test may spoil."""
    return Path(shutil.copytree(adapter, tmp_path / "lora"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A pico base in several shards; read it only."""
    return pico_shards(tmp_path_factory.mktemp("sharded"))


def test_an_adapter_for_a_wider_base_is_refused(base, tmp_path):
    wider = pico_base(tmp_path / "wider", hidden_size=96)
    lora = pico_adapter(wider, tmp_path / "lora")
    error = refused(base, lora, tmp_path / "out", StageError, "adapter intents cannot be merged")
    assert re.search(r"model\.layers\.0\.\w+\.(q|v|down)_proj", error.problem)
    assert str(wider) in error.hint


def test_an_adapter_for_a_deeper_base_is_refused(base, lora, tmp_path):
    change_config(lora / "adapter_config.json", base_model_name_or_path="another/base")
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n.replace("layers.1.", "layers.9."): t for n, t in tensors.items()},
    )
    error = refused(base, lora, tmp_path / "out", StageError, "has no place in the base model")
    assert "model.layers.9." in error.problem
    assert "another/base" in error.hint


def test_an_index_that_names_a_missing_shard_is_refused(sharded, adapter, tmp_path):
    base = Path(shutil.copytree(sharded, tmp_path / "model"))
    missing = sorted(base.glob("*.safetensors"))[-1]
    missing.unlink()
    words = f"names {missing.name}, which is missing"
    refused(base, adapter, tmp_path / "out", SourceError, words)


def test_a_truncated_shard_is_refused(sharded, adapter, tmp_path):
    base = Path(shutil.copytree(sharded, tmp_path / "model"))
    cut = sorted(base.glob("*.safetensors"))[-1]
    cut.write_bytes(cut.read_bytes()[:-8])
    refused(base, adapter, tmp_path / "out", SourceError, f"{cut}: truncated")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_an_adapter_that_is_not_finite_is_refused(base, lora, tmp_path, value):
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"

    def spoil(tensors):
        tensors[name][1, 2] = value
        return tensors

    change_tensors(lora / "adapter_model.safetensors", spoil)
    refused(base, lora, tmp_path / "out", StageError, f"1 elements of {name} are NaN or infinite")


def test_a_tensor_that_belongs_to_no_lora_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: tensors | {"base_model.model.model.extra.weight": torch.ones(2)},
    )
    refused(base, lora, tmp_path / "out", StageError, "model.extra.weight has no place")


def test_half_a_pair_of_matrices_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {
            n: t for n, t in tensors.items() if "layers.1.mlp.down_proj.lora_B" not in n
        },
    )
    words = "model.layers.1.mlp.down_proj has no lora_B"
    refused(base, lora, tmp_path / "out", StageError, words)


def test_matrices_of_another_rank_than_the_config_says_are_refused(base, lora, tmp_path):
    change_config(lora / "adapter_config.json", r=8)
    refused(
        base, lora, tmp_path / "out", StageError, "lora_A has rank 4, lora_B 4, and its config 8"
    )


def test_a_dropped_module_to_save_is_refused(base, tmp_path):
    lora = pico_adapter(base, tmp_path / "lora", modules_to_save=["lm_head"])
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n: t for n, t in tensors.items() if "lm_head" not in n},
    )
    refused(base, lora, tmp_path / "out", StageError, "lm_head")


def test_a_layer_that_the_adapter_lacks_is_told(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {n: t for n, t in tensors.items() if "layers.1.mlp" not in n},
    )
    (warning,) = merge(base, [local(lora)], tmp_path / "out").warnings
    assert "its config targets 1 modules that its file has nothing for" in warning
    assert "model.layers.1.mlp.down_proj" in warning


def test_two_adapters_of_which_one_replaces_what_the_other_adapts_are_refused(tmp_path):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False)
    head = pico_adapter(base, tmp_path / "head", target_modules=["lm_head", "q_proj"])
    saved = pico_adapter(base, tmp_path / "saved", modules_to_save=["lm_head"])
    change_tensors(
        saved / "adapter_model.safetensors",
        lambda tensors: {n: t + 0.1 if "lm_head" in n else t for n, t in tensors.items()},
    )
    words = "adapter saved replaces lm_head.weight, which adapter head changes too"
    adapters = [local(head, "head"), local(saved, "saved")]
    refused(base, adapters, tmp_path / "out", ConfigError, words)


def test_a_replaced_module_cannot_be_weighted(tmp_path):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False)
    saved = pico_adapter(base, tmp_path / "saved", modules_to_save=["lm_head"])
    change_tensors(
        saved / "adapter_model.safetensors",
        lambda tensors: {n: t + 0.1 if "lm_head" in n else t for n, t in tensors.items()},
    )
    words = "adapter intents replaces lm_head.weight, which cannot be weighted by 0.5"
    refused(base, [local(saved, weight=0.5)], tmp_path / "out", ConfigError, words)


def test_no_adapter_is_refused(base, tmp_path):
    refused(base, [], tmp_path / "out", ConfigError, "there is no adapter to merge")


def test_a_quantized_base_is_refused(model, adapter, tmp_path):
    change_config(model / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    error = refused(model, adapter, tmp_path / "out", ConfigError, "a quantized base model")
    assert error.hint == "give the 16-bit model it was quantized from"


def test_code_of_its_own_is_refused(model, adapter, tmp_path):
    change_config(model / "config.json", auto_map={"A": "b.C"})
    refused(model, adapter, tmp_path / "out", SourceError, "wants to run code of its own")


def test_an_output_directory_that_is_not_empty_is_refused(base, adapter, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    words = f"{out}: exists and is not an empty directory"
    refused(base, adapter, out, GateError, words)
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("kind", ["touched", "untouched"])
def test_a_value_too_large_for_float16_is_refused(tmp_path, kind):
    name = {"touched": "model.layers.1.mlp.down_proj.weight", "untouched": "model.norm.weight"}[
        kind
    ]
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    lora = pico_adapter(base, tmp_path / "lora")
    change_tensors(
        base / "model.safetensors",
        lambda tensors: tensors | {name: torch.full_like(tensors[name], 70_000.0)},
    )
    words = f"{name} is not finite in F16 after the merge"
    error = refused(base, lora, tmp_path / "out", StageError, words, dtype="float16")
    assert "dtype: bfloat16" in error.hint


def test_an_adapter_that_was_never_trained_is_refused(base, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)
    words = "adapter intents changes nothing: every weight equals the base's"
    refused(base, idle, tmp_path / "out", StageError, words)


def test_a_change_that_rounding_erases_is_refused(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    faint = pico_adapter(base, tmp_path / "faint", strength=1e-9)
    change_tensors(
        base / "model.safetensors",
        lambda tensors: {name: torch.ones_like(tensor) for name, tensor in tensors.items()},
    )
    error = refused(base, faint, tmp_path / "out", StageError, "rounding erased its change")
    assert "try dtype: float32" in error.hint
