"""Checkpoints and adapters of a real model's shapes with random weights, written block by block."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gate.checkpoints import read_headers

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
_BLOCK_NUMBERS = 1 << 22
_BYTES = {"BF16": 2, "F32": 4}


class Shape(NamedTuple):
    """The sizes of a llama-like model with tied embeddings, and of the files it is kept in."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    shard_bytes: int = 10**9

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """{linear layer of a block: its (rows, columns)}."""
        kv_rows = self.hidden // self.heads * self.kv_heads
        rows = (self.hidden, kv_rows, kv_rows, self.hidden, self.intermediate, self.intermediate)
        columns = (self.hidden,) * 6 + (self.intermediate,)
        return dict(zip(MODULES, zip((*rows, self.hidden), columns, strict=True), strict=True))


SHAPES = {
    "3b": Shape(3072, 8192, 28, 24, 8, 128256),  # Llama-3.2-3B
    "1b": Shape(2048, 8192, 16, 32, 8, 128256),  # Llama-3.2-1B
    "pico": Shape(64, 128, 2, 4, 2, 320, shard_bytes=10**5),
}


class Weight(NamedTuple):
    """A tensor to write: its numbers are drawn from a normal distribution."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "BF16"
    mean: float = 0.0
    deviation: float = 0.02

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * _BYTES[self.dtype]


def size_bytes(shape: Shape) -> int:
    """The bytes of a base model's weights."""
    return sum(weight.size_bytes for weight in _base_weights(shape))


def make_base(shape: Shape, out: Path) -> Path:
    """The bfloat16 base model of a shape at `out`, which is made unless it is there whole."""
    return _make(out, lambda directory: _write_base(shape, directory))


def make_adapter(shape: Shape, out: Path, *, rank: int) -> Path:
    """A float32 LoRA adapter on every linear layer of a shape's blocks, made as `make_base`."""
    return _make(out, lambda directory: _write_adapter(shape, rank, directory))


def _make(out: Path, write: Callable[[Path], None]) -> Path:
    if not out.is_dir():
        part = out.with_name(f"{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(part)
        part.rename(out)
    read_headers(out)  # refuses files that were damaged since
    return out


def _write_base(shape: Shape, out: Path) -> None:
    shards = list(_shards(shape))
    names = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    for seed, (name, shard) in enumerate(zip(names, shards, strict=True)):
        _write_weights(out / name, shard, seed)
    weight_map = {w.name: name for name, shard in zip(names, shards, strict=True) for w in shard}
    metadata = {"total_size": size_bytes(shape)}
    index = {"metadata": metadata, "weight_map": weight_map}
    _write_json(out / "model.safetensors.index.json", index)
    _write_json(out / "config.json", _config(shape))
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    _write_json(out / "generation_config.json", tokens)
    _write_tokenizer(out)


def _write_adapter(shape: Shape, rank: int, out: Path) -> None:
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(MODULES),
        "inference_mode": True,
    }
    _write_json(out / "adapter_config.json", config)
    weights = list(_adapter_weights(shape, rank))
    _write_weights(out / "adapter_model.safetensors", weights, seed=1000)


def _base_weights(shape: Shape) -> Iterator[Weight]:
    yield Weight("model.embed_tokens.weight", (shape.vocabulary, shape.hidden))
    for layer in range(shape.layers):
        for module, size in shape.modules.items():
            yield Weight(f"{_module_name(layer, module)}.weight", size)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            name = f"model.layers.{layer}.{norm}.weight"
            yield Weight(name, (shape.hidden,), mean=1.0, deviation=0.1)
    yield Weight("model.norm.weight", (shape.hidden,), mean=1.0, deviation=0.1)


def _adapter_weights(shape: Shape, rank: int) -> Iterator[Weight]:
    """A as peft initializes it; B of a size that makes the delta some 4 % of a 3b's weights."""
    for layer in range(shape.layers):
        for module, (rows, columns) in shape.modules.items():
            name = f"base_model.model.{_module_name(layer, module)}"
            deviation = 1 / math.sqrt(3 * columns)
            yield Weight(f"{name}.lora_A.weight", (rank, columns), "F32", deviation=deviation)
            yield Weight(f"{name}.lora_B.weight", (rows, rank), "F32", deviation=0.005)


def _module_name(layer: int, module: str) -> str:
    block = "self_attn" if module in MODULES[:4] else "mlp"
    return f"model.layers.{layer}.{block}.{module}"


def _shards(shape: Shape) -> Iterator[list[Weight]]:
    shard: list[Weight] = []
    for weight in _base_weights(shape):
        if shard and sum(w.size_bytes for w in (*shard, weight)) > shape.shard_bytes:
            yield shard
            shard = []
        shard.append(weight)
    yield shard


def _write_weights(file: Path, weights: Sequence[Weight], seed: int) -> None:
    """A safetensors file, without ever holding more than a block of a tensor."""
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for weight in weights:
        offsets = [end, end := end + weight.size_bytes]
        header[weight.name] = {
            "dtype": weight.dtype,
            "shape": weight.shape,
            "data_offsets": offsets,
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(seed)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for weight in weights:
            _write_numbers(opened, weight, generator)


def _write_numbers(opened: BinaryIO, weight: Weight, generator: Any) -> None:
    import torch

    dtype = {"BF16": torch.bfloat16, "F32": torch.float32}[weight.dtype]
    left = math.prod(weight.shape)
    while left:
        block = torch.empty(min(left, _BLOCK_NUMBERS))
        block.normal_(weight.mean, weight.deviation, generator=generator)
        opened.write(block.to(dtype).view(torch.uint8).numpy().data)
        left -= block.numel()


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "dtype": "bfloat16",
    }


def _write_tokenizer(out: Path) -> None:
    """A byte-level tokenizer without merges: one token a byte, and three special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = [*_SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=_SPECIAL_TOKENS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL_TOKENS))
    tokenizer.save(str(out / "tokenizer.json"))
    words = dict(zip(("unk_token", "bos_token", "eos_token"), _SPECIAL_TOKENS, strict=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>"} | words
    _write_json(out / "tokenizer_config.json", config)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
