"""Bases, adapters and merges for the tests of the audit: pico models of many architectures."""

import json
import shutil
import warnings
from pathlib import Path

import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.auditing.merges import audit_merge
from gate.terms import LocalAdapter

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def local(path, **changes):
    return LocalAdapter(name=path.name, path=path, **changes)


def audited(base, adapter, merged, **options):
    adapters = adapter if isinstance(adapter, list) else [local(adapter)]
    return audit_merge(base, adapters, merged, **options)


def outcome(audit, tensor):
    return next(one for one in audit.tensors if one.tensor == tensor)


def random_model(out, config, *, dtype=torch.bfloat16):
    """A checkpoint of random weights for a transformers config."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.1)
    model.to(dtype).save_pretrained(out)
    return out


def random_adapter(base, out, *, seed=1, strength=0.02, dtype=None, **config):
    """An adapter made by peft on a checkpoint, every tensor of it away from its start."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        settings = {"r": 4, "lora_alpha": 8} | config
        get_peft_model(model, LoraConfig(**settings)).save_pretrained(out)
    shake(out, strength=strength, dtype=dtype)
    return out


def shake(adapter, *, strength=0.02, dtype=None):
    """Move every tensor of an adapter, but saved base layers, by some noise."""
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        if "base_layer.weight" not in name:
            noise = strength * torch.randn_like(tensor)
            tensors[name] = (tensor + noise).to(dtype or tensor.dtype)
    save_file({name: one.contiguous() for name, one in tensors.items()}, file)
    return adapter


def merged_by_peft(base, adapter, out, *, safe_merge=False, dtype="auto", autocast=True):
    """A merge by a plain peft script, as people write it."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
        model = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=autocast)
        model.merge_and_unload(safe_merge=safe_merge).save_pretrained(out)
    return out


def merged_by_stream(base, adapters, out, **options):
    from gate.mergers.stream import merge

    given = adapters if isinstance(adapters, list) else [local(adapters)]
    merge(base, given, out, **options)
    return out


def edited(merged, out, change):
    """A copy of a checkpoint with its tensors changed by a function, in place or anew."""
    shutil.copytree(merged, out)
    file = out / "model.safetensors"
    tensors = load_file(file)
    tensors = change(tensors) or tensors
    save_file({name: one.contiguous() for name, one in tensors.items()}, file, {"format": "pt"})
    return out


def with_config(merged, out, file="config.json", **changes):
    """A copy of a checkpoint with keys of a JSON file changed; None removes a key."""
    shutil.copytree(merged, out)
    text = json.loads((out / file).read_text()) | changes
    text = {key: value for key, value in text.items() if value is not None}
    (out / file).write_text(json.dumps(text))
    return out


def lora_of(adapter, module):
    tensors = load_file(adapter / "adapter_model.safetensors")
    stem = f"base_model.model.{module}"
    return tensors[f"{stem}.lora_A.weight"].double(), tensors[f"{stem}.lora_B.weight"].double()


def edit_adapter(adapter, change):
    """Change the tensors of an adapter by a function, in place or anew."""
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    made = change(tensors)
    save_file(made if isinstance(made, dict) else tensors, file)


__all__ = ["Path", "load_file", "pico_adapter", "pico_base", "save_file"]
