import pytest
import torch
from audit_builders import (
    SIZES,
    audited,
    edited,
    load_file,
    local,
    lora_of,
    merged_by_peft,
    merged_by_stream,
    outcome,
    pico_base,
    random_adapter,
    random_model,
    save_file,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]
LINEAR = ["q_proj", "v_proj", "down_proj"]


@pytest.fixture(scope="module", params=["bfloat16", "float16", "float32"])
def base(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    return pico_base(place / "base", dtype=request.param, tie_word_embeddings=False)


@pytest.fixture(params=["float32", "bfloat16"])
def adapter(request, base, tmp_path):
    return random_adapter(
        base, tmp_path / "intents", target_modules=LINEAR, dtype=getattr(torch, request.param)
    )


def is_wide(base):
    return "float32" in str(base)


@pytest.mark.parametrize("strength", [0.3, 0.02, 0.001])
@pytest.mark.parametrize("safe_merge", [False, True])
def test_a_merge_by_peft_is_proven_and_its_schedule_named(base, tmp_path, safe_merge, strength):
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR, strength=strength)
    merged = merged_by_peft(base, adapter, tmp_path / "m", safe_merge=safe_merge)
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert {one.outcome for one in audit.tensors} == {"exact"}
    expected = "peft safe_merge: delta rounded, then added"
    assert audit.schedule == (expected if safe_merge and not is_wide(base) else "one rounding")


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("safe_merge", [False, True])
def test_any_adapter_type_is_proven_bit_for_bit(base, adapter, tmp_path, safe_merge, autocast):
    merged = merged_by_peft(base, adapter, tmp_path / "m", safe_merge=safe_merge, autocast=autocast)
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert {one.outcome for one in audit.tensors} == {"exact"}
    assert audit.schedule is not None


def test_an_adapter_read_in_the_bases_type_is_named(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR)
    merged = merged_by_peft(base, adapter, tmp_path / "m", autocast=False)
    audit = audited(base, adapter, merged)
    assert audit.schedule == "adapter in the base's type, delta rounded"


def test_peft_in_place_rounds_the_delta_of_embeddings_first(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    adapter = random_adapter(base, tmp_path / "a", target_modules=["embed_tokens", "q_proj"])
    merged = merged_by_peft(base, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert audit.schedule == "peft in place"


def test_each_step_of_a_product_rounded_is_named(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(
        base, tmp_path / "a", target_modules=LINEAR, lora_alpha=12, dtype=torch.bfloat16
    )

    def change(tensors):
        for name in tensors:
            if any(target in name for target in LINEAR):
                down, up = (one.bfloat16() for one in lora_of(adapter, name[: -len(".weight")]))
                product = (up.float() @ down.float()).bfloat16()
                tensors[name] = tensors[name] + product * 3.0

    audit = audited(base, adapter, edited(base, tmp_path / "m", change))
    assert audit.faults == ()
    assert audit.schedule == "adapter in the base's type, each step rounded"


@pytest.mark.parametrize("safe_merge", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_dora_by_peft_is_proven(base, tmp_path, safe_merge, autocast):
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR, use_dora=True)
    merged = merged_by_peft(base, adapter, tmp_path / "m", safe_merge=safe_merge, autocast=autocast)
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert {one.outcome for one in audit.tensors} <= {"exact", "rounding"}


def test_a_base_read_in_a_narrower_type_is_named(tmp_path):
    base = pico_base(tmp_path / "base")
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR)
    merged = merged_by_peft(base, adapter, tmp_path / "m", dtype=torch.bfloat16)
    audit = audited(base, adapter, merged, dtype="bfloat16")
    assert audit.faults == ()
    assert audit.schedule == "base rounded first, one rounding"
    exact = merged_by_stream(base, adapter, tmp_path / "s", dtype="bfloat16")
    assert audited(base, adapter, exact, dtype="bfloat16").schedule == "one rounding"


def test_a_wider_type_is_proven(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR)
    merged = merged_by_peft(base, adapter, tmp_path / "m", dtype=torch.float32)
    assert audited(base, adapter, merged, dtype="float32").faults == ()


def test_adapters_merged_one_after_the_other_are_named(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    one = random_adapter(base, tmp_path / "one", target_modules=LINEAR, seed=1)
    two = random_adapter(base, tmp_path / "two", target_modules=LINEAR, seed=2)
    half = merged_by_peft(base, one, tmp_path / "half")
    merged = merged_by_peft(half, two, tmp_path / "m")
    audit = audited(base, [local(one), local(two)], merged)
    assert audit.faults == ()
    assert audit.schedule == "one rounding, after each adapter"


def test_a_schedule_that_nobody_knows_is_rounding(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "a", target_modules=LINEAR)
    merged = merged_by_stream(base, adapter, tmp_path / "m")
    weights = load_file(base / "model.safetensors")

    def change(tensors):
        for name in tensors:
            if any(target in name for target in LINEAR):
                down, up = lora_of(adapter, name[: -len(".weight")])
                delta = (2 * up.half().double() @ down.half().double()).half()
                tensors[name] = (weights[name].half() + delta).bfloat16()

    audit = audited(base, adapter, edited(merged, tmp_path / "o", change))
    assert audit.faults == ()
    assert audit.schedule is None
    assert outcome(audit, "model.layers.0.self_attn.q_proj.weight").outcome == "rounding"
    assert audit.is_proven


def test_what_rounding_keeps_of_a_small_change_is_measured(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "a", target_modules=["q_proj"], strength=0.002)
    merged = merged_by_stream(base, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    found = outcome(audit, "model.layers.0.self_attn.q_proj.weight")
    assert audit.is_proven
    assert 0 < found.kept_share < 0.5
    assert 0 < found.delta_share < 0.01
    assert len(audit.warnings) == 1
    assert "rounding loses most of the change of 2 tensors" in audit.warnings[0]


def test_a_change_that_rounding_loses_altogether_is_a_fault(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "a", target_modules=["q_proj"], strength=0.0)
    file = adapter / "adapter_model.safetensors"
    tiny = {
        name: one if "lora_A" in name else torch.full_like(one, 1e-9)
        for name, one in load_file(file).items()
    }
    save_file(tiny, file)
    assert audited(base, adapter, base).faults == (
        "nothing of the adapters is in the merged weights: they are the base's",
    )


def test_a_stacked_experts_delta_is_rounded_first_by_peft(tmp_path):
    from transformers import MixtralConfig

    base = random_model(
        tmp_path / "base", MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2)
    )
    adapter = random_adapter(
        base,
        tmp_path / "a",
        target_modules=["q_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    )
    audit = audited(base, adapter, merged_by_peft(base, adapter, tmp_path / "m"))
    assert audit.faults == ()
    assert audit.schedule == "peft in place"
