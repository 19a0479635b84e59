"""Layers and modules from the names of tensors."""

import pytest

from gate.reporting.tensor_places import TensorPlace, module_order, place_of, short_names


@pytest.mark.parametrize(
    ("tensor", "place"),
    [
        ("model.layers.12.self_attn.q_proj.weight", ("model.layers", 12, "self_attn.q_proj")),
        (
            "model.layers.3.mlp.experts.17.up_proj.weight",
            ("model.layers", 3, "mlp.experts.up_proj"),
        ),
        ("model.layers.0.self_attn.q_proj.bias", ("model.layers", 0, "self_attn.q_proj.bias")),
        ("transformer.h.5.attn.c_attn.weight", ("transformer.h", 5, "attn.c_attn")),
        ("model.visual.blocks.2.attn.qkv.weight", ("model.visual.blocks", 2, "attn.qkv")),
        ("decoder.block.1.layer.2.wi.weight", ("decoder.block", 1, "layer.wi")),
        ("blk.7.ffn_down_exps.weight", ("blk", 7, "ffn_down_exps")),
        ("token_embd.weight", ("", None, "token_embd")),
        ("model.embed_tokens.weight", ("", None, "model.embed_tokens")),
        ("lm_head.weight", ("", None, "lm_head")),
        ("projector.0.weight", ("", None, "projector.0")),
        ("x", ("", None, "x")),
    ],
)
def test_a_name_has_its_place(tensor, place):
    assert place_of(tensor) == TensorPlace(*place)


def test_modules_go_from_attention_to_the_feed_forward_ones():
    modules = ["mlp.down_proj", "ffn_gate", "self_attn.o_proj", "norm", "attn_v", "attn_q"]
    assert sorted(modules, key=module_order) == [
        "attn_q",
        "attn_v",
        "self_attn.o_proj",
        "ffn_gate",
        "mlp.down_proj",
        "norm",
    ]


def test_a_short_name_is_as_long_as_it_takes_to_tell_it_from_the_others():
    found = short_names(("self_attn.q_proj", "mlp.up_proj", "mlp.experts.up_proj", "norm"))
    assert found == {
        "self_attn.q_proj": "q_proj",
        "mlp.up_proj": "mlp.up_proj",
        "mlp.experts.up_proj": "experts.up_proj",
        "norm": "norm",
    }
