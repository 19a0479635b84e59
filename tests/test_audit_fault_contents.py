"""Adapters and merges that lack tensors, have too many, or have them in another form."""

import shutil

import pytest
import torch
from audit_builders import (
    audited,
    edit_adapter,
    edited,
    load_file,
    lora_of,
    merged_by_stream,
    outcome,
    pico_adapter,
    pico_base,
)

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


def test_nan_in_the_adapter_is_found_before_anything_is_compared(world, tmp_path):
    base, adapter, merged = world
    broken = tmp_path / "intents"
    shutil.copytree(adapter, broken)
    key = f"base_model.model.{Q0}.lora_B.weight"
    edit_adapter(broken, lambda tensors: tensors[key].view(-1)[:2].fill_(float("nan")))
    assert audited(base, broken, merged).faults == (
        f"adapter intents: 2 elements of {key} are NaN or infinite",
    )


def test_an_adapter_tensor_that_nothing_consumes_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    odd = tmp_path / "intents"
    shutil.copytree(adapter, odd)
    stem = "base_model.model.model.layers.7.self_attn.q_proj"
    edit_adapter(
        odd,
        lambda tensors: (
            tensors
            | {
                f"{stem}.lora_A.weight": torch.ones(4, 64),
                f"{stem}.lora_B.weight": torch.ones(64, 4),
            }
        ),
    )
    assert audited(base, odd, merged).faults == (
        f"adapter intents: {stem}.lora_A.weight acts on no tensor of the base model",
        f"adapter intents: {stem}.lora_B.weight acts on no tensor of the base model",
    )


def test_an_adapter_tensor_of_another_shape_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    odd = tmp_path / "intents"
    shutil.copytree(adapter, odd)
    stem = f"base_model.model.{Q0}"
    edit_adapter(odd, lambda tensors: tensors | {f"{stem}.lora_B.weight": torch.ones(32, 4)})
    assert audited(base, odd, merged).faults[0] == (
        f"adapter intents: {stem}.lora_A.weight of shape (32, 4) does not fit {Q0}.weight "
        "of shape (64, 64)"
    )


def test_an_adapter_that_was_never_trained_changes_nothing(world, tmp_path):
    idle = pico_adapter(world[0], tmp_path / "idle", strength=0.0)
    assert audited(world[0], idle, world[0]).faults == (
        "the adapters change nothing: every delta is zero",
    )


def test_an_extra_tensor_is_a_fault(world, tmp_path):
    merged = edited(world[2], tmp_path / "m", lambda t: t | {"model.extra.weight": torch.ones(2)})
    assert faults(world, merged) == (
        "model.extra.weight: extra: the base model has no such tensor",
    )


def test_a_missing_tensor_is_a_fault(world, tmp_path):
    def change(tensors):
        del tensors[f"{Q0}.weight"], tensors[NORM]

    assert faults(world, edited(world[2], tmp_path / "m", change)) == (
        f"{Q0}.weight: missing from the merged checkpoint",
        f"{NORM}: missing from the merged checkpoint",
    )


def test_a_tensor_of_another_shape_is_a_fault(world, tmp_path):
    def change(tensors):
        tensors[f"{Q0}.weight"] = tensors[f"{Q0}.weight"][:32]

    assert faults(world, edited(world[2], tmp_path / "m", change)) == (
        f"{Q0}.weight: its shape is (32, 64), and should be (64, 64)",
    )


def test_traces_of_peft_are_a_fault(world, tmp_path):
    def change(tensors):
        tensors[f"{Q0}.base_layer.weight"] = tensors.pop(f"{Q0}.weight")
        tensors[f"{Q0}.lora_A.weight"] = torch.ones(4, 64)

    assert faults(world, edited(world[2], tmp_path / "m", change)) == (
        f"2 tensors are peft's own, the first is {Q0}.base_layer.weight: the adapter was saved "
        "beside the weights, not merged",
        f"{Q0}.weight: missing from the merged checkpoint",
    )


def test_an_adapter_beside_the_merged_weights_is_a_fault(world, tmp_path):
    merged = edited(world[2], tmp_path / "m", lambda tensors: tensors)
    shutil.copyfile(world[1] / "adapter_config.json", merged / "adapter_config.json")
    assert faults(world, merged) == (
        "adapter_config.json lies beside the merged weights: loaders would put the adapter on "
        "again",
    )


def test_a_type_that_was_not_asked_for_is_a_fault(world, tmp_path):
    kind = torch.float16

    def change(tensors):
        return {name: tensor.to(kind) for name, tensor in tensors.items()}

    found = faults(world, edited(world[2], tmp_path / "m", change))
    word = "float32" if "float32" in str(world[0]) else "bfloat16"
    assert f"{NORM}: it is stored as float16, and should be {word}" in found
    assert len(found) == 20


def test_a_type_that_was_asked_for_is_proven(world, tmp_path):
    base, adapter, _ = world
    merged = merged_by_stream(base, adapter, tmp_path / "half", dtype="float16")
    assert audited(base, adapter, merged, dtype="float16").faults == ()
    assert audited(base, adapter, merged).faults != ()


def test_a_value_that_float16_cannot_hold_is_not_representable(tmp_path):
    base = pico_base(tmp_path / "base", dtype="float16")
    adapter = pico_adapter(base, tmp_path / "intents", strength=4e5, target_modules=["q_proj"])
    merged = edited(base, tmp_path / "merged", lambda tensors: tensors)

    def change(tensors):
        weights = load_file(base / "model.safetensors")
        for name in (Q0, Q1):
            down, up = lora_of(adapter, name)
            exact = weights[f"{name}.weight"].double() + 2 * up @ down
            tensors[f"{name}.weight"] = exact.to(torch.float16)

    found = audited(base, adapter, edited(merged, tmp_path / "m", change))
    assert outcome(found, f"{Q0}.weight").outcome == "not representable"
    assert "elements of base + adapter are beyond what float16 can hold" in found.faults[0]
