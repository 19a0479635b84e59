"""What a base model and its adapters are, from their headers and configs; no weights are read."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gate.checkpoints import has_safetensors, has_tokenizer, measure, read_headers, read_json
from gate.errors import SourceError
from gate.merging.adapter_files import why_not_streamed
from gate.terms import Source

_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
_FOUR_BITS = re.compile(r"(bnb|nf4)[-_]?4?-?bit|[-_]4bit\b", re.IGNORECASE)
_CARD_OF_FOUR_BITS = re.compile(r"load_in_4bit`?:? *true", re.IGNORECASE)
_EXTRAS = ("modules_to_save", "trainable_token_indices", "use_dora", "use_rslora", "lora_bias")
_INEXACT = ("modules_to_save", "trainable_token_indices", "use_dora")


class BaseFacts(NamedTuple):
    """A base model.

    Attributes:
        name: of its folder or hub id.
        path: its folder.
        architecture: as its config.json names it.
        parameters: how many numbers it holds; None where its weights are pickled.
        size_bytes: of its weights; None likewise.
        dtype: safetensors' word for the type that holds most of its bytes; None likewise.
        context: the most tokens that it attends to; None where its config does not say.
        has_template: whether its tokenizer brings a chat template.
        is_packed: whether its weights are in 4 bits already (bitsandbytes).
    """

    name: str
    path: Path
    architecture: str
    parameters: int | None
    size_bytes: int | None
    dtype: str | None
    context: int | None
    has_template: bool
    is_packed: bool


class AdapterFacts(NamedTuple):
    """An adapter.

    Attributes:
        kind: in words, such as 'LoRA of rank 8 on q_proj, v_proj'.
        trained_on: the base model that its config names; None where it names none.
        has_template: whether it brings a chat template of its own.
        qlora: the sign that it was trained on a base in 4 bits; None where there is none.
        by_peft: why its merge goes through peft; None where it is streamed.
        is_delta: whether it can be weighted, and summed with others on a running base.
    """

    kind: str
    trained_on: str | None
    has_template: bool
    qlora: str | None
    by_peft: str | None
    is_delta: bool


def read_base(source: Source) -> BaseFacts:
    """The facts of a located base model.

    Raises:
        SourceError: it is quantized in a way that no adapter can be merged into.
    """
    path = Path(source.path)
    config = read_json(path / "config.json")
    quantization = config.get("quantization_config")
    is_packed = isinstance(quantization, dict) and bool(quantization.get("load_in_4bit"))
    if quantization is not None and not is_packed:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise SourceError(
            f"{source.given}: a quantized base model ({method}): no adapter can be merged into it",
            hint="give the 16-bit model it was quantized from",
        )
    headers = read_headers(path) if has_safetensors(path) else {}
    weights = measure(headers) if headers else None
    types: Counter[str] = Counter()
    for header in headers.values():
        types[header.dtype] += header.size_bytes
    return BaseFacts(
        name=name_of(source.given),
        path=path,
        architecture=str((config.get("architectures") or [config.get("model_type")])[0]),
        parameters=weights and weights.parameters,
        size_bytes=weights and weights.size_bytes,
        dtype=types.most_common(1)[0][0] if types else None,
        context=_context(config),
        has_template=_has_template(path),
        is_packed=is_packed,
    )


def read_adapter_facts(source: Source) -> AdapterFacts:
    """The facts of a located adapter."""
    path = Path(source.path)
    config = read_json(path / "adapter_config.json")
    given = config.get("base_model_name_or_path")
    extras = {key for key in _EXTRAS if config.get(key)}
    has_bias = config.get("bias", "none") != "none"
    return AdapterFacts(
        kind=_kind(config, sorted(extras)),
        trained_on=str(given) if given else None,
        has_template=_has_template(path),
        qlora=_sign_of_qlora(path, config),
        by_peft=why_not_streamed(path),
        is_delta=config.get("peft_type") == "LORA" and not extras & set(_INEXACT) and not has_bias,
    )


def name_of(given: str) -> str:
    """What a source is called: the last part of its path or hub id, without its revision."""
    return given.partition("@")[0].rstrip("/").rpartition("/")[2]


def _context(config: Mapping[str, Any]) -> int | None:
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key in _CONTEXT:
            if isinstance(part.get(key), int):
                return int(part[key])
    return None


def _has_template(path: Path) -> bool:
    if not has_tokenizer(path):
        return False
    if (path / "chat_template.jinja").is_file() or (path / "chat_template.json").is_file():
        return True
    config = path / "tokenizer_config.json"
    return config.is_file() and bool(read_json(config).get("chat_template"))


def _kind(config: Mapping[str, Any], extras: list[str]) -> str:
    peft_type = str(config.get("peft_type"))
    if peft_type != "LORA":
        return peft_type
    targets = config.get("target_modules") or config.get("target_parameters") or ()
    on = targets if isinstance(targets, str) else ", ".join(_modules(targets))
    told = f"LoRA of rank {config.get('r', 8)} on {on or 'what its file names'}"
    return f"{told}, with {', '.join(extras)}" if extras else told


def _modules(targets: Iterable[Any]) -> list[str]:
    """The kinds of module that are trained, each once, though their paths may name every layer."""
    return sorted({str(one).rpartition(".")[2] for one in targets})


def _sign_of_qlora(path: Path, config: Mapping[str, Any]) -> str | None:
    """What says that the base was in 4 bits while the adapter was trained; None where nothing does.

    peft does not write it into adapter_config.json: the base's name may tell it (Unsloth's do),
    and so does the model card that older versions of peft wrote.
    """
    base = str(config.get("base_model_name_or_path") or "")
    if _FOUR_BITS.search(base):
        return f"its config names {base} as its base"
    card = path / "README.md"
    if card.is_file() and _CARD_OF_FOUR_BITS.search(card.read_text("utf-8", errors="replace")):
        return "its README.md says load_in_4bit: True"
    return None
