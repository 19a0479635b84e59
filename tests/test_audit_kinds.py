"""Correct merges of every kind of adapter are proven, by several tools."""

import pytest
import torch
from audit_builders import (
    audited,
    edited,
    load_file,
    local,
    merged_by_peft,
    merged_by_stream,
    outcome,
    pico_base,
    random_adapter,
    save_file,
    shake,
    with_config,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]
GPT2 = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OPT = {
    "vocab_size": 96,
    "hidden_size": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "word_embed_proj_dim": 32,
    "max_position_embeddings": 64,
}
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    "config",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"use_dora": True, "target_modules": ["embed_tokens", "q_proj"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens", "norm"]},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {"target_modules": ["embed_tokens", "q_proj"], "ensure_weight_tying": True},
        {"trainable_token_indices": [30, 4]},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
        {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.v_proj": 1}},
        {"layers_to_transform": [1], "target_modules": ["q_proj"]},
    ],
    ids=str,
)
# without a tied base there is nothing to tie
@pytest.mark.filterwarnings("ignore:You have requested `ensure_weight_tying`:UserWarning")
def test_every_kind_of_lora_is_proven(tmp_path, config, tied):
    from gate.mergers import peft

    base = pico_base(
        tmp_path / "base", dtype="bfloat16", attention_bias=True, tie_word_embeddings=tied
    )
    settings = {"target_modules": ["q_proj", "v_proj", "down_proj"]} | config
    adapter = random_adapter(base, tmp_path / "intents", **settings)
    if config.get("ensure_weight_tying") and tied:
        tie(adapter)
    merges = [merged_by_stream(base, adapter, tmp_path / "m")]
    peft.merge(base, [local(adapter)], tmp_path / "p")
    merges.append(tmp_path / "p")
    for merged in merges:
        audit = audited(base, adapter, merged)
        assert audit.faults == ()
        assert {one.outcome for one in audit.tensors} == {"exact"}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("targets", [["q_proj"], ["q_proj", "embed_tokens", "lm_head"]], ids=str)
def test_a_resized_vocabulary_is_proven(tmp_path, tied, targets):
    import warnings

    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=tied)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(400, mean_resizing=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM")
        get_peft_model(model, settings).save_pretrained(tmp_path / "intents")
    adapter = shake(tmp_path / "intents")
    if tied and targets == ["q_proj"]:
        tie(adapter)
    merged = merged_by_stream(base, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    smaller = with_config(merged, tmp_path / "w", vocab_size=378)
    assert audited(base, adapter, smaller).faults == (
        "config.json: vocab_size is 378, and should be 400",
    )


def tie(adapter):
    """What is saved of tied embeddings is the same under two names."""
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    inner, outer = "base_model.model.model.embed_tokens", "base_model.model.lm_head"
    if f"{inner}.weight" in tensors:
        tensors[f"{outer}.weight"] = tensors[f"{inner}.weight"].clone()
    else:
        up, down = (tensors[f"{inner}.lora_embedding_{side}"] for side in "BA")
        tensors[f"{outer}.lora_A.weight"] = up.T.contiguous()
        tensors[f"{outer}.lora_B.weight"] = down.T.contiguous()
    save_file(tensors, file)


def test_a_convolution_is_proven(tmp_path):
    base = pico_base(tmp_path / "base", dtype="float32")
    name = "model.vision.patches"
    torch.manual_seed(0)
    edited(base, tmp_path / "b", lambda t: t | {f"{name}.weight": torch.randn(16, 3, 4, 4)})
    adapter = random_adapter(base, tmp_path / "intents", target_modules=["q_proj"])
    file = adapter / "adapter_model.safetensors"
    down, up = torch.randn(4, 3, 4, 4), torch.randn(16, 4, 1, 1)
    stem = f"base_model.model.{name}"
    pair = {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    save_file(load_file(file) | pair, file)
    merged = merged_by_stream(
        base, random_adapter(base, tmp_path / "q", target_modules=["q_proj"]), tmp_path / "m"
    )
    weight = load_file(tmp_path / "b" / "model.safetensors")[f"{name}.weight"]
    change = torch.einsum("or,rikl->oikl", up[:, :, 0, 0].double(), down.double())
    whole = (weight.double() + 2 * change).float()
    right = edited(merged, tmp_path / "r", lambda t: t | {f"{name}.weight": whole})
    assert audited(tmp_path / "b", adapter, right).faults == ()
    wrong = edited(merged, tmp_path / "w", lambda t: t | {f"{name}.weight": weight})
    assert audited(tmp_path / "b", adapter, wrong).faults == (
        f"{name}.weight: not applied: it equals the base's",
    )


@pytest.mark.parametrize("kind", ["loha", "lokr", "ia3", "oft", "vera"])
def test_other_kinds_of_adapter_are_compared_with_pefts_merge(tmp_path, kind):
    import peft
    from transformers import AutoModelForCausalLM

    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    targets = {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    config = {
        "loha": lambda: peft.LoHaConfig(r=4, alpha=8, **targets),
        "lokr": lambda: peft.LoKrConfig(r=4, alpha=8, **targets),
        "ia3": lambda: peft.IA3Config(feedforward_modules=[], **targets),
        "oft": lambda: peft.OFTConfig(oft_block_size=8, r=0, **targets),
        "vera": lambda: peft.VeraConfig(r=4, **targets),
    }[kind]()
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.save_pretrained(tmp_path / "intents")
    adapter = shake(tmp_path / "intents", strength=0.1)
    merged = merged_by_peft(base, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert len(audit.warnings) == 1
    assert "it was compared with what peft makes of it in float32" in audit.warnings[0]
    assert "nothing of the adapters" in audited(base, adapter, base).faults[0]


def test_pissa_changes_the_base_and_is_compared_with_pefts_merge(tmp_path):
    base = pico_base(tmp_path / "base", dtype="float32", tie_word_embeddings=False)
    adapter = random_adapter(
        base, tmp_path / "intents", init_lora_weights="pissa", target_modules=["q_proj"]
    )
    merged = merged_by_peft(base, adapter, tmp_path / "m")
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert "init_lora_weights: pissa" in audit.warnings[0]


def test_what_rounding_leaves_is_told_of_every_changed_tensor(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = random_adapter(base, tmp_path / "intents", target_modules=["q_proj"])
    audit = audited(base, adapter, merged_by_stream(base, adapter, tmp_path / "m"))
    changed = [one for one in audit.tensors if one.kept_share is not None]
    assert [one.tensor for one in changed] == [
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.1.self_attn.q_proj.weight",
    ]
    assert outcome(audit, "model.norm.weight").delta_share is None
