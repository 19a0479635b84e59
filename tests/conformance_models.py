"""Builders of the checkpoints that a case of the conformance test names."""

from pathlib import Path

from conformance import ARCHITECTURES, KINDS, Architecture, Case
from conformance_oracle import read_tensors

SHARD_SIZE = "7KB"


def build_base(case: Case, out: Path) -> Path:
    """A checkpoint of two layers with random weights, norms and biases included."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    architecture = ARCHITECTURES[case.architecture]
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture.type, **architecture.sizes)
    model = AutoModelForCausalLM.from_config(config)
    _shake(model.parameters(), 0.2)
    model = model.to(getattr(torch, case.dtype))
    saved = model.base_model if architecture.prefix else model
    saved.save_pretrained(out, max_shard_size=SHARD_SIZE if case.is_sharded else "1GB")
    _add_tensors(architecture, out)
    return out


def build_adapter(case: Case, base: Path, out: Path) -> Path:
    """An adapter of the case's kind, every number of it trained away from where it started."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    architecture, kind = ARCHITECTURES[case.architecture], KINDS[case.kind]
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if kind.new_tokens:
        model.resize_token_embeddings(model.config.vocab_size + kind.new_tokens)
    settings = {
        "r": 3,
        "lora_alpha": 4,
        "task_type": "CAUSAL_LM",
        "fan_in_fan_out": architecture.type == "gpt2",
        **kind.settings(architecture),
    }
    if kind.is_v4:
        return write_v4_adapter(LoraConfig(**settings), base, out)
    peft_model = get_peft_model(model, LoraConfig(**settings))
    _shake((p for p in peft_model.parameters() if p.requires_grad), 0.15)
    peft_model.save_pretrained(out)
    if case.adapter_dtype != "float32":
        _cast(out / "adapter_model.safetensors", getattr(torch, case.adapter_dtype))
    return out


def write_v4_adapter(config, base: Path, out: Path) -> Path:
    """A and B for every tensor of the base that is a target by its name on disk."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for name, weight in sorted(read_tensors(base).items()):
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and module.split(".")[-1] in config.target_modules:
            rows, columns = weight.shape
            stem = f"base_model.model.{module}"
            tensors[f"{stem}.lora_A.weight"] = 0.3 * torch.randn(config.r, columns)
            tensors[f"{stem}.lora_B.weight"] = 0.3 * torch.randn(rows, config.r)
    config.base_model_name_or_path = str(base)
    config.save_pretrained(out)
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
    return out


def _shake(parameters, strength: float) -> None:
    import torch

    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(strength * torch.randn_like(parameter))


def _cast(file: Path, dtype) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {
        # copies of the base's own embeddings, which peft stores beside the adapter
        name: tensor if ".base_layer.weight" in name else tensor.to(dtype)
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})


def _add_tensors(architecture: Architecture, out: Path) -> None:
    """What older checkpoints hold and transformers no longer writes: tied heads and buffers."""
    import torch
    from safetensors.torch import load_file, save_file

    file = out / "model.safetensors"
    if architecture.stores_head:
        tensors = load_file(file)
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, file, metadata={"format": "pt"})
    if architecture.buffer:
        mask = torch.tril(torch.ones(1, 1, 64, 64))
        buffers = {architecture.buffer.format(layer): mask.clone() for layer in range(2)}
        save_file(load_file(file) | buffers, file, metadata={"format": "pt"})
