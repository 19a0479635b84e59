"""What cannot be audited is refused in a sentence."""

import shutil

import pytest
import torch
from audit_builders import (
    audited,
    edited,
    load_file,
    local,
    merged_by_stream,
    pico_base,
    random_adapter,
    save_file,
    with_config,
)

from gate.errors import ConfigError, SourceError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    place = tmp_path_factory.mktemp("world")
    base = pico_base(place / "base", dtype="bfloat16")
    adapter = random_adapter(base, place / "intents", target_modules=["q_proj", "v_proj"])
    return base, adapter, merged_by_stream(base, adapter, place / "m")


def test_pickled_weights_are_read_where_that_is_allowed(world, tmp_path):
    base, adapter, merged = world
    old = tmp_path / "intents"
    shutil.copytree(adapter, old)
    file = old / "adapter_model.safetensors"
    torch.save(load_file(file), old / "adapter_model.bin")
    file.unlink()
    with pytest.raises(SourceError, match="pickled"):
        audited(base, old, merged)
    assert audited(base, old, merged, allow_pickle=True).faults == ()


def test_a_pickle_that_holds_code_is_refused(world, tmp_path):
    base, adapter, merged = world
    old = tmp_path / "intents"
    shutil.copytree(adapter, old)
    (old / "adapter_model.safetensors").unlink()
    torch.save({"a": print}, old / "adapter_model.bin")
    with pytest.raises(
        SourceError, match=r"adapter_model\.bin: cannot be read as weights: Weights only load"
    ):
        audited(base, old, merged, allow_pickle=True)


def test_a_pickle_of_something_else_is_refused(world, tmp_path):
    base, adapter, merged = world
    old = tmp_path / "intents"
    shutil.copytree(adapter, old)
    (old / "adapter_model.safetensors").unlink()
    torch.save([1, 2], old / "adapter_model.bin")
    with pytest.raises(SourceError, match=r"holds a list, not tensors by name"):
        audited(base, old, merged, allow_pickle=True)


def test_half_a_pair_of_matrices_is_refused(world, tmp_path):
    base, adapter, merged = world
    half = tmp_path / "intents"
    shutil.copytree(adapter, half)
    file = half / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    save_file(tensors, file)
    with pytest.raises(SourceError, match=r"model.layers.0.self_attn.q_proj has no lora_A"):
        audited(base, half, merged)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING is nothing that can be merged"),
        ({"alora_invocation_tokens": [1]}, r"an activated LoRA \(aLoRA\) acts on some tokens only"),
        ({"arrow_config": {"top_k": 1}}, "Arrow routes each token to other adapters"),
    ],
    ids=str,
)
def test_what_cannot_be_merged_is_refused_by_name(world, tmp_path, changes, problem):
    base, adapter, merged = world
    odd = with_config(adapter, tmp_path / "intents", file="adapter_config.json", **changes)
    with pytest.raises(ConfigError, match=problem):
        audited(base, odd, merged)


def test_other_kinds_are_audited_alone(world, tmp_path):
    base, adapter, merged = world
    odd = with_config(adapter, tmp_path / "odd", file="adapter_config.json", peft_type="LOHA")
    with pytest.raises(ConfigError, match=r"LOHA is audited alone and at weight 1\.0"):
        audited(base, [local(adapter), local(odd)], merged)


def test_another_kinds_tensors_that_find_no_place_are_told(world, tmp_path):
    base, adapter, merged = world
    odd = with_config(adapter, tmp_path / "odd", file="adapter_config.json", peft_type="LOHA")
    with pytest.raises(ConfigError, match=r"lora_A\.weight has no place in the base model"):
        audited(base, odd, merged)


def test_a_merge_that_peft_cannot_make_is_told(world, tmp_path):
    base, adapter, merged = world
    odd = with_config(
        adapter,
        tmp_path / "odd",
        file="adapter_config.json",
        peft_type="LOHA",
        target_modules=["nowhere"],
    )
    with pytest.raises(ConfigError, match="peft cannot merge LOHA: "):
        audited(base, odd, merged)


def test_a_quantized_base_is_refused(world, tmp_path):
    base, adapter, merged = world
    packed = with_config(base, tmp_path / "base", quantization_config={"quant_method": "awq"})
    with pytest.raises(ConfigError, match="a quantized base model: its weights are not"):
        audited(packed, adapter, merged)


def test_a_type_that_torch_does_not_have_is_refused(world, tmp_path):
    base, adapter, merged = world
    odd = edited(merged, tmp_path / "m", lambda tensors: tensors)
    file = odd / "model.safetensors"
    text = file.read_bytes().replace(b'"BF16"', b'"BF17"', 1)
    file.write_bytes(text)
    with pytest.raises(SourceError, match="is of type BF17, not known here"):
        audited(base, adapter, odd)


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused(world, tmp_path):
    base, adapter, merged = world
    odd = edited(merged, tmp_path / "m", lambda tensors: tensors)
    file = odd / "model.safetensors"
    file.write_bytes(file.read_bytes().replace(b'"shape":[64]', b'"shape":[63]', 1))
    with pytest.raises(SourceError, match="has 128 bytes, not 126"):
        audited(base, adapter, odd)


def test_an_architecture_nobody_knows_leaves_its_tensors_unmatched(world, tmp_path):
    base, adapter, merged = world
    odd = with_config(base, tmp_path / "base", model_type="nobody", architectures=None)
    stem = "base_model.model.elsewhere.attention.query"
    extra = tmp_path / "intents"
    shutil.copytree(adapter, extra)
    file = extra / "adapter_model.safetensors"
    pair = {f"{stem}.lora_A.weight": torch.ones(4, 64), f"{stem}.lora_B.weight": torch.ones(64, 4)}
    save_file(load_file(file) | pair, file)
    found = audited(odd, extra, with_config(merged, tmp_path / "m", model_type="nobody"))
    assert len(found.faults) == 2
    assert "acts on no tensor of the base model" in found.faults[0]
    assert "transformers cannot build this model" in found.warnings[0]
