"""Pico checkpoints of many architectures with the pico tokenizer, and questions to ask them."""

import shutil

from builders import pico_tokenizer
from conformance import ARCHITECTURES
from lm_eval.api.instance import Instance

OPENING = "question answer the order is late my parcel lost and broken. "
CONTEXTS = [
    "where is my refund",
    "please cancel",
    "the order is urgent and red",
    "the order is urgent and blue yes",
    "capital of Paris question answer red blue green yes no name urgent status shipped lost",
    "name",
    "no",
]
CHOICES = [
    [" Rome", " Berlin number", " red blue color", " urgent my parcel is lost"],
    [" yes", " no"],
    [" a", " b", " lost and broken"],
    [" status", " status shipped", " status red"],
]
_SIZES = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "bos_token_id": 1, "eos_token_id": 2},
    "pad_token_id": 2,
}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}
_MADE = {
    "mistral-window-6": ("mistral", _SIZES | _HEADS | {"head_dim": 4, "sliding_window": 6}),
    "gemma3-window-6": (
        "gemma3_text",
        _SIZES
        | _HEADS
        | {"head_dim": 4, "sliding_window": 6}
        | {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 4}),
    "mpt": ("mpt", {"d_model": 16, "n_layers": 2, "n_heads": 4}),
    "gpt-neo": (
        "gpt_neo",
        {"hidden_size": 16, "num_layers": 2, "num_heads": 4, "window_size": 6}
        | {"bos_token_id": 1, "eos_token_id": 2}
        | {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 128},
    ),
    "phi3-longrope": (
        "phi3",
        _SIZES
        | _HEADS
        | {
            "original_max_position_embeddings": 24,
            "max_position_embeddings": 128,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.0],
                "long_factor": [2.0, 5.0],
            },
        },
    ),
    "mamba": ("mamba", _SIZES | {"state_size": 4}),
}
ATTENTIVE = (
    *("llama", "qwen2", "qwen3", "mistral", "gemma3", "phi3", "gpt2", "gpt-neox", "opt", "olmo2"),
    *("mistral-window-6", "gemma3-window-6", "bloom", "mpt", "gpt-neo", "phi3-longrope"),
)
NAMES = (*ATTENTIVE, "mamba")


def build(name, out):
    """A checkpoint in float32 whose every weight was shaken."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = pico_tokenizer()
    if name in _MADE:
        type, sizes = _MADE[name]
    else:
        type, sizes = ARCHITECTURES[name].type, dict(ARCHITECTURES[name].sizes)
        sizes["n_positions" if type == "gpt2" else "max_position_embeddings"] = 128
    torch.manual_seed(0)
    config = AutoConfig.for_model(type, **sizes | {"vocab_size": len(tokenizer)})
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.float().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def put_adapter(name, base, out):
    """An adapter on the linear layers of an architecture that names them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    settings = LoraConfig(
        r=3,
        target_modules=list(ARCHITECTURES[name].linears),
        task_type="CAUSAL_LM",
        fan_in_fan_out=name == "gpt2",
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    with torch.no_grad():
        for parameter in (one for one in model.parameters() if one.requires_grad):
            parameter.add_(0.15 * torch.randn_like(parameter))
    model.save_pretrained(out)
    shutil.copy(base / "tokenizer.json", out)
    shutil.copy(base / "tokenizer_config.json", out)
    return out


def questions(opening=OPENING):
    """Requests of several choices after contexts of many lengths."""
    asked = [
        (document, (opening + context, choice))
        for document, context in enumerate(CONTEXTS)
        for choice in CHOICES[document % len(CHOICES)]
    ]
    return [
        Instance("loglikelihood", {}, pair, place, ("task", document, 1))
        for place, (document, pair) in enumerate(asked)
    ]


def prompts(opening=OPENING):
    """Requests of texts after the same contexts."""
    settings = {"until": ["\n", "zz"], "max_gen_toks": 10}
    return [
        Instance("generate_until", {}, (opening + context, dict(settings)), 0, ("task", place, 1))
        for place, context in enumerate(CONTEXTS)
    ]
