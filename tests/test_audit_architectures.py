"""Correct merges of many architectures are proven, by several tools."""

import pytest
import torch
from audit_builders import (
    SIZES,
    audited,
    edited,
    load_file,
    merged_by_peft,
    merged_by_stream,
    random_adapter,
    random_model,
    save_file,
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


def architecture(name):
    import transformers as t

    return {
        "gpt2": (t.GPT2Config(**GPT2), {"target_modules": ["c_attn", "c_proj", "c_fc"]}),
        "opt": (t.OPTConfig(**OPT), {"target_modules": ["q_proj", "fc1", "fc2"]}),
        "gpt_neox": (
            t.GPTNeoXConfig(**{k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
            {"target_modules": ["query_key_value", "dense"]},
        ),
        "phi3": (t.Phi3Config(**SIZES), {"target_modules": ["qkv_proj", "gate_up_proj"]}),
        "gemma3": (t.Gemma3TextConfig(**SIZES, head_dim=8), {"target_modules": ["q_proj"]}),
        "qwen3": (t.Qwen3Config(**SIZES, head_dim=8), {"target_modules": "all-linear"}),
        "mixtral": (
            t.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
            {"target_modules": ["q_proj"], "target_parameters": EXPERTS},
        ),
        "mixtral_down": (
            t.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2),
            {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.down_proj"]},
        ),
        "qwen3_moe": (
            t.Qwen3MoeConfig(
                **SIZES,
                num_experts=4,
                moe_intermediate_size=16,
                num_experts_per_tok=2,
                head_dim=8,
            ),
            {
                "target_modules": ["q_proj"],
                "target_parameters": EXPERTS,
                "rank_pattern": {r".*\.gate_up_proj": 6},
                "alpha_pattern": {r".*\.gate_up_proj": 3},
            },
        ),
        "gpt_oss": (
            t.GptOssConfig(**SIZES, num_local_experts=4, head_dim=8, num_experts_per_tok=2),
            {"target_modules": ["q_proj"], "target_parameters": EXPERTS},
        ),
    }[name]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "opt",
        "gpt_neox",
        "phi3",
        "gemma3",
        "qwen3",
        "mixtral",
        "mixtral_down",
        "qwen3_moe",
        "gpt_oss",
    ],
)
def test_every_architecture_is_proven(tmp_path, name, dtype):
    config, lora = architecture(name)
    base = random_model(tmp_path / "base", config, dtype=dtype)
    adapter = random_adapter(base, tmp_path / "intents", **lora)
    for merged in (
        merged_by_peft(base, adapter, tmp_path / "p"),
        merged_by_peft(base, adapter, tmp_path / "s", safe_merge=True),
        merged_by_stream(base, adapter, tmp_path / "m"),
    ):
        audit = audited(base, adapter, merged)
        assert audit.faults == ()
        assert {one.outcome for one in audit.tensors} == {"exact"}
        assert audit.schedule is not None
    assert "nothing of the adapters" in audited(base, adapter, base).faults[0]


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt_oss"])
def test_an_expert_that_got_anothers_change_is_found(tmp_path, name):
    config, lora = architecture(name)
    base = random_model(tmp_path / "base", config)
    adapter = random_adapter(base, tmp_path / "intents", **lora)
    merged = merged_by_stream(base, adapter, tmp_path / "m")
    weights = load_file(base / "model.safetensors")

    def change(tensors):
        if name == "gpt_oss":
            key = "model.layers.1.mlp.experts.down_proj"
            gain = tensors[key].float() - weights[key].float()
            tensors[key] = (weights[key].float() + gain.flip(0)).bfloat16()
            return
        keys = sorted(k for k in tensors if "layers.1" in k and ".experts." in k)
        ours, theirs = keys[0], keys[len(keys) // 4]
        for key, other in ((ours, theirs), (theirs, ours)):
            gain = merged_tensors[other].float() - weights[other].float()
            tensors[key] = (weights[key].float() + gain).bfloat16()

    merged_tensors = load_file(merged / "model.safetensors")
    found = audited(base, adapter, edited(merged, tmp_path / "w", change)).faults
    assert found
    assert all(".experts." in fault for fault in found)


def test_per_expert_adapters_of_older_peft_are_proven(tmp_path):
    config, _ = architecture("mixtral")
    base = random_model(tmp_path / "base", config)
    adapter = random_adapter(base, tmp_path / "intents", target_modules=["q_proj"])
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    torch.manual_seed(3)
    for layer in range(2):
        for expert in range(4):
            stem = f"base_model.model.model.layers.{layer}.block_sparse_moe.experts.{expert}"
            for role, ins, outs in (("w1", 32, 48), ("w3", 32, 48), ("w2", 48, 32)):
                tensors[f"{stem}.{role}.lora_A.weight"] = 0.1 * torch.randn(4, ins)
                tensors[f"{stem}.{role}.lora_B.weight"] = 0.1 * torch.randn(outs, 4)
    save_file(tensors, file)
    weights = load_file(base / "model.safetensors")

    def change(merged):
        for name in merged:
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            if f"{stem}.lora_A.weight" in tensors:
                down = tensors[f"{stem}.lora_A.weight"].double()
                up = tensors[f"{stem}.lora_B.weight"].double()
                merged[name] = (weights[name].double() + 2 * up @ down).bfloat16()

    merged = edited(base, tmp_path / "m", change)
    audit = audited(base, adapter, merged)
    assert audit.faults == ()
    assert sum(one.kept_share is not None for one in audit.tensors) == 26


def test_a_square_conv1d_is_turned_as_its_model_stores_it(tmp_path):
    config, _ = architecture("gpt2")
    base = random_model(tmp_path / "base", config)
    adapter = random_adapter(base, tmp_path / "intents", target_modules=["attn.c_proj"])
    merged = merged_by_peft(base, adapter, tmp_path / "m")
    assert audited(base, adapter, merged).faults == ()
    name = "transformer.h.0.attn.c_proj.weight"
    weights = load_file(base / "model.safetensors")[name].float()

    def change(tensors):
        tensors[name] = (weights + (tensors[name].float() - weights).T).bfloat16()

    assert audited(base, adapter, edited(merged, tmp_path / "w", change)).faults == (
        f"{name}: the product is transposed",
    )
