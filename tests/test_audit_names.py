"""The same model under other names, in other shards, or with more beside it."""

import json
import shutil

import pytest
import torch
from audit_builders import (
    audited,
    edited,
    load_file,
    merged_by_stream,
    pico_base,
    random_adapter,
    random_model,
    save_file,
    with_config,
)
from test_audit_architectures import architecture

from gate.auditing.names import align

pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


def test_a_name_is_itself_where_it_is_known():
    assert align(["a.b.c"], ["a.b.c", "x.a.b.c"]) == {"a.b.c": "a.b.c"}


def test_one_prefix_is_taken_off_or_put_on():
    long, short = ["transformer.h.0.w", "transformer.wte.w"], ["h.0.w", "wte.w"]
    assert align(long, short) == dict(zip(long, short, strict=True))
    assert align(short, long) == dict(zip(short, long, strict=True))


def test_parts_of_a_prefix_may_be_swapped():
    wanted, known = (
        "model.language_model.layers.0.q.weight",
        "language_model.model.layers.0.q.weight",
    )
    assert align([wanted], [known]) == {wanted: known}


def test_names_that_only_look_alike_are_not_matched():
    assert align(["encoder.layers.0.q.weight"], ["decoder.layers.0.q.weight"]) == {}
    assert align(["a.b.weight"], ["a.c.weight"]) == {}


@pytest.fixture(scope="module", params=["gpt2", "opt"])
def short(request, tmp_path_factory):
    """A base whose names on disk lack a prefix that the model has, and a merge that has it."""
    place = tmp_path_factory.mktemp(request.param)
    config, lora = architecture(request.param)
    whole = random_model(place / "whole", config)
    adapter = random_adapter(whole, place / "intents", **lora)
    prefix = {"gpt2": "transformer.", "opt": "model."}[request.param]

    def cut(tensors):
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}

    base = edited(whole, place / "base", cut)
    return base, adapter, merged_by_stream(base, adapter, place / "m"), whole, prefix


def test_a_base_without_its_models_prefix_is_matched(short):
    base, adapter, merged, _, _ = short
    assert audited(base, adapter, merged).faults == ()
    assert "nothing of the adapters" in audited(base, adapter, base).faults[0]


def test_a_merge_that_puts_a_prefix_on_is_matched(short, tmp_path):
    base, adapter, merged, _, prefix = short

    def add(tensors):
        return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}

    assert audited(base, adapter, edited(merged, tmp_path / "m", add)).faults == ()


def test_a_merge_that_takes_a_prefix_off_is_matched(short, tmp_path):
    _, adapter, merged, whole, _ = short
    assert audited(whole, adapter, merged).faults == ()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    place = tmp_path_factory.mktemp("world")
    base = pico_base(place / "base", dtype="bfloat16")
    adapter = random_adapter(base, place / "intents", target_modules=["q_proj", "v_proj"])
    return base, adapter, merged_by_stream(base, adapter, place / "m")


def test_other_shards_are_matched(world, tmp_path):
    base, adapter, merged = world
    out = tmp_path / "m"
    shutil.copytree(merged, out)
    tensors = load_file(out / "model.safetensors")
    (out / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in names}, out / file)
        weight_map |= dict.fromkeys(names, file)
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert audited(base, adapter, out).faults == ()


def test_a_tied_head_that_is_stored_is_no_extra_tensor(world, tmp_path):
    base, adapter, merged = world

    def store(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    stored = edited(merged, tmp_path / "m", store)
    assert audited(base, adapter, stored).faults == ()
    untied = with_config(stored, tmp_path / "u", tie_word_embeddings=False)
    assert audited(base, adapter, untied).faults == ()


def test_a_tied_head_that_is_stored_wrongly_is_found(world, tmp_path):
    base, adapter, merged = world

    def store(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0)

    found = audited(base, adapter, edited(merged, tmp_path / "m", store)).faults
    assert len(found) == 1
    assert found[0].startswith("lm_head.weight: 24")


def test_a_head_that_was_untied_and_not_stored_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    untied = with_config(merged, tmp_path / "m", tie_word_embeddings=False)
    assert audited(base, adapter, untied).faults == (
        "config.json: tie_word_embeddings is false, and should be true",
    )


def test_fused_experts_are_matched_with_single_ones(tmp_path):
    config, lora = architecture("qwen3_moe")
    base = random_model(tmp_path / "base", config)
    adapter = random_adapter(base, tmp_path / "intents", **lora)
    merged = merged_by_stream(base, adapter, tmp_path / "m")

    def fuse(tensors):
        fused = {name: one for name, one in tensors.items() if ".experts." not in name}
        for layer in range(2):
            stem = f"model.layers.{layer}.mlp.experts"
            experts = [
                {role: tensors[f"{stem}.{e}.{role}_proj.weight"] for role in ("gate", "up", "down")}
                for e in range(4)
            ]
            fused[f"{stem}.gate_up_proj"] = torch.stack(
                [torch.cat([one["gate"], one["up"]]) for one in experts]
            )
            fused[f"{stem}.down_proj"] = torch.stack([one["down"] for one in experts])
        return fused

    audit = audited(base, adapter, edited(merged, tmp_path / "f", fuse))
    assert audit.faults == ()
    assert sum(".experts." in one.tensor for one in audit.tensors) == 24


def test_a_buffer_that_the_model_has_no_use_for_may_be_left_out(tmp_path):
    config, lora = architecture("gpt2")
    whole = random_model(tmp_path / "whole", config)
    adapter = random_adapter(whole, tmp_path / "intents", **lora)
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bfloat16)
    base = edited(whole, tmp_path / "base", lambda t: t | {"transformer.h.0.attn.bias": mask})
    merged = merged_by_stream(whole, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert audit.warnings == (
        "1 tensors of the base that its model has no use for are left out; the first is "
        "transformer.h.0.attn.bias",
    )
