"""Merges whose arithmetic is wrong, and what the audit says of each."""

import re

import pytest
import torch
from audit_builders import (
    audited,
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


def rebuilt(world, out, product, names=(Q0, Q1)):
    """The merge with another product than 2 * B @ A in some of its tensors."""
    base, adapter, merged = world
    weights = load_file(base / "model.safetensors")

    def change(tensors):
        for name in names:
            down, up = lora_of(adapter, name)
            weight = weights[f"{name}.weight"]
            tensors[f"{name}.weight"] = (weight.double() + product(down, up)).to(weight.dtype)

    return edited(merged, out, change)


def measured(found):
    return [float(re.search(r"strength (\S+)x", one)[1]) for one in found]


def faults(world, merged, **options):
    return audited(world[0], world[1], merged, **options).faults


def test_a_correct_merge_is_proven(world):
    audit = audited(*world)
    assert audit.faults == ()
    assert audit.is_proven
    assert audit.schedule == "one rounding"
    assert {one.outcome for one in audit.tensors} == {"exact"}


def test_the_base_itself_is_no_merge(world):
    base, adapter, _ = world
    found = audited(base, adapter, base).faults
    assert found[0] == "nothing of the adapters is in the merged weights: they are the base's"
    assert f"{Q0}.weight: not applied: it equals the base's" in found


def test_one_layer_that_was_not_applied_is_named(world, tmp_path):
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 0 * up @ down, names=[Q1])
    assert faults(world, merged) == (f"{Q1}.weight: not applied: it equals the base's",)


@pytest.mark.parametrize("strength", [8.0, 1.001, 0.999, -1.0, 0.5, 1.01])
def test_another_strength_is_measured(world, tmp_path, strength):
    merged = rebuilt(world, tmp_path / "m", lambda down, up: strength * 2 * up @ down)
    found = faults(world, merged)
    assert [one.partition(":")[0] for one in found] == [f"{Q0}.weight", f"{Q1}.weight"]
    if abs(strength - 1) > 0.005:
        assert measured(found) == pytest.approx([strength, strength], rel=0.005)


def test_a_thousandth_too_much_in_every_tensor_is_measured_in_float32(tmp_path):
    base = pico_base(tmp_path / "base")
    adapter = pico_adapter(base, tmp_path / "intents", target_modules=["q_proj"])
    world = base, adapter, merged_by_stream(base, adapter, tmp_path / "merged")
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 1.001 * 2 * up @ down)
    assert faults(world, merged) == tuple(
        f"{name}.weight: strength 1.001x: the adapter's change is in it 1.001 times"
        for name in (Q0, Q1)
    )


def test_rslora_merged_as_plain_lora_is_named(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents", use_rslora=True, target_modules=["q_proj"])
    world = base, adapter, merged_by_stream(base, adapter, tmp_path / "merged")
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 2 * up @ down)
    assert all("rsLoRA merged as plain LoRA" in one for one in faults(world, merged))
    assert len(faults(world, merged)) == 2


def test_plain_lora_merged_as_rslora_is_named(world, tmp_path):
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 4 * up @ down)
    assert all("plain LoRA merged as rsLoRA" in one for one in faults(world, merged))


def test_a_transposed_product_is_named(world, tmp_path):
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 2 * (up @ down).T)
    assert faults(world, merged) == tuple(
        f"{name}.weight: the product is transposed" for name in (Q0, Q1)
    )


def test_layers_that_are_swapped_are_named(world, tmp_path):
    base, adapter, merged = world
    weights = load_file(base / "model.safetensors")

    def change(tensors):
        for name, other in ((Q0, Q1), (Q1, Q0)):
            down, up = lora_of(adapter, other)
            weight = weights[f"{name}.weight"]
            tensors[f"{name}.weight"] = (weight.double() + 2 * up @ down).to(weight.dtype)

    found = faults(world, edited(merged, tmp_path / "m", change))
    assert found == (
        f"{Q0}.weight: it has the change of {Q1}.weight",
        f"{Q1}.weight: it has the change of {Q0}.weight",
    )


def test_dora_merged_as_plain_lora_is_named(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents", use_dora=True, target_modules=["q_proj"])
    world = base, adapter, merged_by_stream(base, adapter, tmp_path / "merged")
    assert audited(*world).is_proven
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 2 * up @ down)
    assert all("DoRA merged as plain LoRA" in one for one in faults(world, merged))
    assert len(faults(world, merged)) == 2


def test_another_adapters_weights_are_wrong(world, tmp_path):
    base, _, _ = world
    other = pico_adapter(base, tmp_path / "other", seed=9, strength=0.05)
    found = audited(base, other, world[2])
    wrong = [one for one in found.tensors if one.outcome == "wrong"]
    assert len(wrong) == 6
    assert all("explains" in one.note for one in wrong)


def test_another_base_revision_is_named(world, tmp_path):
    dtype = "bfloat16" if "bfloat16" in str(world[0]) else "float32"
    base = pico_base(tmp_path / "base", seed=5, dtype=dtype)
    found = audited(base, world[1], world[2]).faults
    assert found[0] == (
        "9 of 14 tensors that no adapter acts on differ from the base's: it was made from "
        "another base model or revision"
    )


def test_an_untouched_tensor_may_not_differ_by_one_bit(world, tmp_path):
    def change(tensors):
        bits = tensors[NORM].view(torch.int16)
        bits[0] ^= 1

    assert faults(world, edited(world[2], tmp_path / "m", change)) == (
        f"{NORM}: 1 of 64 elements differ from the base's, and no adapter acts on it",
    )


def test_one_element_that_is_off_by_more_than_a_unit_is_found(world, tmp_path):
    name = f"{Q1}.weight"
    is_wide = "float32" in str(world[0])

    def change(tensors):
        bits = tensors[name].view(torch.int32 if is_wide else torch.int16)
        # float32 sums of another order may differ in the last bits of the change
        bits[5, 7] ^= 1 << (8 if is_wide else 1)

    audit = audited(world[0], world[1], edited(world[2], tmp_path / "m", change))
    assert audit.faults == (f"{name}: 1 of 4096 elements in 1 rows differ",)


def test_one_last_bit_is_rounding(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents")
    merged = merged_by_stream(base, adapter, tmp_path / "merged")
    name = f"{Q1}.weight"

    def change(tensors):
        bits = tensors[name].view(torch.int16)
        bits[5, 7] ^= 1

    audit = audited(base, adapter, edited(merged, tmp_path / "m", change))
    assert audit.is_proven
    assert outcome(audit, name).outcome == "rounding"
    assert outcome(audit, name).differing == 1
    assert audit.schedule is None


def test_last_bits_that_all_fall_one_way_are_no_rounding(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "intents", strength=0.003, target_modules=["q_proj"])
    world = base, adapter, merged_by_stream(base, adapter, tmp_path / "merged")
    merged = rebuilt(world, tmp_path / "m", lambda down, up: 1.05 * 2 * up @ down)
    found = faults(world, merged)
    assert len(found) == 2
    assert measured(found) == pytest.approx([1.05, 1.05], rel=0.03)


def test_nan_in_the_merge_is_found(world, tmp_path):
    def change(tensors):
        tensors[f"{Q0}.weight"][1, 2:5] = float("nan")

    assert faults(world, edited(world[2], tmp_path / "m", change)) == (
        f"{Q0}.weight: 3 elements are NaN or infinite",
    )
