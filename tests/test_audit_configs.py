"""Keys of config.json that change what a merge computes, and those that do not."""

import json

import pytest
from audit_builders import (
    audited,
    merged_by_peft,
    merged_by_stream,
    pico_base,
    random_adapter,
    with_config,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    place = tmp_path_factory.mktemp("world")
    base = pico_base(place / "base", dtype="bfloat16")
    adapter = random_adapter(base, place / "intents", target_modules=["q_proj"])
    return base, adapter, merged_by_stream(base, adapter, place / "m")


@pytest.mark.parametrize(
    ("key", "value", "was"),
    [
        ("rms_norm_eps", 1e-5, "1e-06"),
        ("vocab_size", 384, "378"),
        ("num_attention_heads", 8, "4"),
        ("hidden_act", "gelu", '"silu"'),
        ("max_position_embeddings", 1024, "512"),
        ("eos_token_id", 1, "2"),
        ("tie_word_embeddings", False, "true"),
        ("attention_bias", True, "false"),
        ("sliding_window", 16, "absent"),
        ("quantization_config", {"quant_method": "awq"}, "absent"),
    ],
)
def test_a_key_that_changes_the_function_is_a_fault(world, tmp_path, key, value, was):
    base, adapter, merged = world
    changed = with_config(merged, tmp_path / "m", **{key: value})
    assert audited(base, adapter, changed).faults == (
        f"config.json: {key} is {json.dumps(value)}, and should be {was}",
    )


def test_another_rope_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    rope = {"rope_theta": 500000.0, "rope_type": "default"}
    changed = with_config(merged, tmp_path / "m", rope_parameters=rope)
    assert audited(base, adapter, changed).faults == (
        "config.json: rope_parameters.rope_theta is 500000.0, and should be 10000.0",
    )


def test_another_rope_in_the_older_spelling_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    changed = with_config(merged, tmp_path / "m", rope_parameters=None, rope_theta=500000.0)
    found = audited(base, adapter, changed).faults
    assert len(found) == 1
    assert "rope_theta is 500000.0" in found[0]


def test_the_same_rope_in_the_older_spelling_is_the_same(world, tmp_path):
    base, adapter, merged = world
    changed = with_config(merged, tmp_path / "m", rope_parameters=None, rope_theta=10000.0)
    assert audited(base, adapter, changed).faults == ()


def test_a_key_that_is_left_out_is_a_fault_where_its_default_differs(world, tmp_path):
    base, adapter, merged = world
    assert audited(base, adapter, with_config(merged, tmp_path / "a", head_dim=None)).faults == ()
    left_out = with_config(merged, tmp_path / "b", num_key_value_heads=None)
    assert audited(base, adapter, left_out).faults == (
        "config.json: num_key_value_heads is absent, and should be 2",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"transformers_version": "4.30.0"},
        {"_name_or_path": "somewhere"},
        {"use_cache": False},
        {"architectures": None},
        {"dtype": None, "torch_dtype": "bfloat16"},
        {"dtype": None},
    ],
    ids=str,
)
def test_a_key_that_changes_nothing_is_no_fault(world, tmp_path, changes):
    base, adapter, merged = world
    assert audited(base, adapter, with_config(merged, tmp_path / "m", **changes)).faults == ()


def test_a_type_in_the_config_that_was_not_asked_for_is_a_fault(world, tmp_path):
    base, adapter, merged = world
    changed = with_config(merged, tmp_path / "m", dtype="float32")
    assert audited(base, adapter, changed).faults == (
        "config.json: dtype is float32, and should be bfloat16",
    )


def test_a_config_that_transformers_wrote_again_is_the_same(world, tmp_path):
    base, adapter, _ = world
    merged = merged_by_peft(base, adapter, tmp_path / "m")
    old = json.loads((base / "config.json").read_text())
    for key in ("rope_parameters", "mlp_bias", "pretraining_tp", "head_dim", "attention_dropout"):
        old.pop(key, None)
    early = with_config(
        base,
        tmp_path / "base",
        **{k: None for k in json.loads((base / "config.json").read_text()) if k not in old},
    )
    assert audited(early, adapter, merged).faults == ()


def test_an_unknown_architecture_is_compared_as_it_is_written(world, tmp_path):
    base, adapter, merged = world
    odd = with_config(base, tmp_path / "base", model_type="nobody")
    same = with_config(merged, tmp_path / "a", model_type="nobody")
    assert audited(odd, adapter, same).faults == ()
    other = with_config(merged, tmp_path / "b", model_type="nobody", rms_norm_eps=0.1)
    assert audited(odd, adapter, other).faults == (
        "config.json: rms_norm_eps is 0.1, and should be 1e-06",
    )
