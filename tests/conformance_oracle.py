"""What a merge must give: peft's merge in float64, in the layout of the base checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance import ARCHITECTURES, KINDS, Case


@dataclass(frozen=True)
class Expected:
    """The merged model in float64.

    Attributes:
        tensors: every tensor of the checkpoint by its name on disk, before the one rounding.
        config: what config.json says that the base's does not.
        adapted: logits of the adapter on its base.
        merged: logits of the merged model.
    """

    tensors: dict[str, Any]
    config: dict[str, Any]
    adapted: Any
    merged: Any


def expect(case: Case, base: Path, adapter: Path, scratch: Path) -> Expected:
    """Merge in float64 and read back what transformers would store."""
    from peft import PeftModel

    kind = KINDS[case.kind]
    model = load(base)
    before = model.config.to_dict()
    if kind.new_tokens:
        model.resize_token_embeddings(model.config.vocab_size + kind.new_tokens)
    peft_model = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False)
    # only loading again says what was left over
    loaded = peft_model.load_adapter(adapter, "default", autocast_adapter_dtype=False)
    assert not [name for name in loaded.unexpected_keys if ".lora_" in name]
    adapted = logits(peft_model)
    _untie(peft_model.get_base_model())
    merged = peft_model.merge_and_unload()
    _tie_if_equal(merged, was_tied=before["tie_word_embeddings"])
    after = merged.config.to_dict()
    merged.save_pretrained(scratch)
    return Expected(
        tensors=_on_disk(case, base, scratch),
        config={
            key: after[key]
            for key in ("vocab_size", "tie_word_embeddings")
            if after[key] != before[key]
        },
        adapted=adapted,
        merged=logits(merged),
    )


def load(checkpoint: Path, **options: Any) -> Any:
    """A checkpoint in float64, for which the fused experts have no kernel."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float64, experts_implementation="eager", **options
    )


def logits(model):
    """The model's logits on every token of the vocabulary but the padding, one sequence."""
    import torch

    ids = torch.arange(3, model.config.vocab_size)[None, :60]
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits.double()


def read_tensors(checkpoint: Path) -> dict[str, Any]:
    """Every tensor of a checkpoint, by name."""
    from safetensors.torch import load_file

    files = sorted(checkpoint.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def _untie(model) -> None:
    """Give lm_head weights of its own where LoRA adapts it or the embeddings.

    peft merges in place, so that both sides of a tied weight would get the change of either.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if not model.config.tie_word_embeddings or not any(
        isinstance(side, BaseTunerLayer) for side in (head, embeddings)
    ):
        return
    inside = head.get_base_layer() if isinstance(head, BaseTunerLayer) else head
    inside.weight = torch.nn.Parameter(inside.weight.detach().clone(), requires_grad=False)


def _tie_if_equal(model, *, was_tied: bool) -> None:
    """Tie again what got the same change on both sides, and say in the config what is true."""
    import torch

    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    model.config.tie_word_embeddings = was_tied and torch.equal(head.weight, embeddings.weight)
    if model.config.tie_word_embeddings:
        head.weight = embeddings.weight


def _on_disk(case: Case, base: Path, saved: Path) -> dict[str, Any]:
    """The saved tensors under the names of the base checkpoint, with what only the base has."""
    architecture = ARCHITECTURES[case.architecture]
    tensors = {
        name.removeprefix(architecture.prefix): tensor
        for name, tensor in read_tensors(saved).items()
    }
    if architecture.stores_head:
        tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    if architecture.buffer:
        buffers = {architecture.buffer.format(layer) for layer in range(2)}
        tensors |= {name: t for name, t in read_tensors(base).items() if name in buffers}
    return tensors
