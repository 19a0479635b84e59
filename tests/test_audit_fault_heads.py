"""Embeddings, heads and saved modules that did not get what an adapter has for them."""

import pytest
import torch
from audit_builders import (
    audited,
    edit_adapter,
    edited,
    load_file,
    merged_by_stream,
    pico_adapter,
    pico_base,
    with_config,
)

from gate.errors import SourceError

# peft warns of a tied base model whose embeddings it adapts
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]

Q0 = "model.layers.0.self_attn.q_proj"
Q1 = "model.layers.1.self_attn.q_proj"
NORM = "model.norm.weight"


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def world(request, tmp_path_factory):
    """Base, adapter and a correct merge."""
    place = tmp_path_factory.mktemp(request.param)
    base = pico_base(place / "base", dtype=request.param)
    adapter = pico_adapter(base, place / "intents", strength=0.05)
    return base, adapter, merged_by_stream(base, adapter, place / "merged")


def faults(world, merged, **options):
    return audited(world[0], world[1], merged, **options).faults


def test_a_dropped_saved_module_is_a_fault(tmp_path):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False)
    adapter = pico_adapter(base, tmp_path / "intents", modules_to_save=["lm_head"])
    file = adapter / "adapter_model.safetensors"
    edit_adapter(adapter, lambda t: t["base_model.model.lm_head.weight"].add_(0.1))
    assert file.is_file()
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(base, adapter, merged).is_proven
    head = load_file(base / "model.safetensors")["lm_head.weight"]
    dropped = edited(merged, tmp_path / "m", lambda t: t | {"lm_head.weight": head})
    assert audited(base, adapter, dropped).faults == (
        "lm_head.weight: not applied: it equals the base's",
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_one_bit_of_a_saved_module_is_found(tmp_path, dtype):
    base = pico_base(tmp_path / "base", dtype=dtype, tie_word_embeddings=False)
    adapter = pico_adapter(base, tmp_path / "intents", modules_to_save=["lm_head"])
    edit_adapter(adapter, lambda t: t["base_model.model.lm_head.weight"].add_(0.1))
    merged = merged_by_stream(base, adapter, tmp_path / "merged")

    def change(tensors):
        tensors["lm_head.weight"].view(torch.int16)[7, 8] ^= 1

    assert audited(base, adapter, edited(merged, tmp_path / "m", change)).faults == (
        "lm_head.weight: 1 of 24192 elements in 1 rows differ",
    )


def test_one_row_of_the_embeddings_that_was_not_updated_is_found(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    adapter = pico_adapter(
        base, tmp_path / "intents", target_modules=["embed_tokens"], strength=0.0
    )
    key = "base_model.model.model.embed_tokens.lora_embedding_"
    edit_adapter(adapter, lambda t: [t[f"{key}{side}"].normal_(0, 0.1) for side in "AB"])
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(base, adapter, merged).is_proven
    name = "model.embed_tokens.weight"
    row = load_file(base / "model.safetensors")[name][17]

    def change(tensors):
        tensors[name][17] = row

    found = audited(base, adapter, edited(merged, tmp_path / "m", change)).faults
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")
    assert found[0].endswith("elements in 1 rows differ")


def test_a_trained_token_that_was_not_replaced_is_found(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    adapter = pico_adapter(base, tmp_path / "intents", trainable_token_indices=[9, 3])
    key = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    edit_adapter(adapter, lambda t: t[key].add_(0.5))
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(base, adapter, merged).is_proven
    name = "model.embed_tokens.weight"
    row = load_file(base / "model.safetensors")[name][9]

    def change(tensors):
        tensors[name][9] = row

    assert audited(base, adapter, edited(merged, tmp_path / "m", change)).faults == (
        f"{name}: 64 of 24192 elements in 1 rows differ",
    )


def test_a_tied_head_that_an_adapter_parts_must_be_stored(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents", target_modules=["lm_head", "q_proj"])
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(base, adapter, merged).is_proven

    def drop(tensors):
        del tensors["lm_head.weight"]

    assert audited(base, adapter, edited(merged, tmp_path / "m", drop)).faults == (
        "lm_head.weight: missing from the merged checkpoint",
    )
    tied = with_config(merged, tmp_path / "t", tie_word_embeddings=True)
    assert audited(base, adapter, tied).faults == (
        "config.json: tie_word_embeddings is true, and should be false",
    )


def test_a_change_of_the_embeddings_that_reached_the_tied_head_is_a_fault(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents", target_modules=["embed_tokens"])
    key = "base_model.model.model.embed_tokens.lora_embedding_"
    edit_adapter(adapter, lambda t: [t[f"{key}{side}"].normal_(0, 0.1) for side in "AB"])
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(base, adapter, merged).is_proven

    def change(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    found = audited(base, adapter, edited(merged, tmp_path / "m", change)).faults
    assert len(found) == 1
    assert found[0].startswith("lm_head.weight: ")


def test_a_shard_that_is_cut_short_is_refused(world, tmp_path):
    merged = edited(world[2], tmp_path / "m", lambda tensors: tensors)
    file = merged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(SourceError, match="truncated"):
        audited(world[0], world[1], merged)


def test_an_index_that_names_a_missing_shard_is_refused(world, tmp_path):
    merged = edited(world[2], tmp_path / "m", lambda tensors: tensors)
    (merged / "model.safetensors").unlink()
    text = f'{{"weight_map": {{"{NORM}": "model-00001-of-00001.safetensors"}}}}'
    (merged / "model.safetensors.index.json").write_text(text)
    with pytest.raises(SourceError, match="which is missing"):
        audited(world[0], world[1], merged)
