"""What lies beside the weights: tokenizer, template, special ids, config, generation config.

Each is compared as it is used, not as it is written: a template in another file, a vocabulary in
another order of keys or a default spelled out is the same.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from gate.audit_records import Audit
from gate.auditing.conversion import Conversion
from gate.auditing.gguf_files import GgufFile, has_gguf
from gate.checkpoints import check_code, has_tokenizer, read_headers, read_json
from gate.errors import SourceError
from gate.terms import LocalAdapter

_SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_SPECIAL_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_EMBEDDING = "model.embed_tokens.weight"
_NOT_COMPARED = {"dtype", "torch_dtype", "quantization_config", "transformers_version"}
_OF_THE_WEIGHTS = {"vocab_size", "tie_word_embeddings"}
_GENERATION_DEFAULTS = {
    "do_sample": False, "num_beams": 1, "num_return_sequences": 1, "max_length": 20,
    "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0,
    "length_penalty": 1.0, "use_cache": True, "output_attentions": False, "output_scores": False,
    "output_hidden_states": False, "return_dict_in_generate": False,
}  # fmt: skip
_BATCHING = {"version", "truncation", "padding"}
_PROBE = "Hello, world!  1234567 naïve 東京 🙂\n\tdef f(x): return x**2"
_LONGEST = 60
_MOST = 10


def audit_sidecars(
    reference: Path,
    variant: Path,
    *,
    adapters: Sequence[LocalAdapter] = (),
    trust_remote_code: bool = False,
) -> Audit:
    """The proof that a model is asked, and stops, as the one it was made from.

    Args:
        reference: the merged checkpoint; or, for a merged checkpoint, its base model.
        variant: a directory with one GGUF file or a checkpoint: what is audited.
        adapters: what was merged into the reference to give the variant. Its tokenizer must then
            be theirs where they have one; its vocabulary's size and the tie of its embeddings
            may have changed with its weights.
        trust_remote_code: accept tokenizers that run Python code of their own.

    Raises:
        SourceError: a file that cannot be read, or asks for code that is not allowed.
        StageError: a GGUF file, and the converter is missing or does not know the reference.
    """
    if has_gguf(variant):
        return Audit(faults=_first(_compare_gguf(reference, variant, trust_remote_code)))
    for directory in (reference, variant, *(adapter.path for adapter in adapters)):
        check_code(directory, trust_remote_code=trust_remote_code)
    sources = [adapter.path for adapter in adapters if has_tokenizer(adapter.path)]
    faults = [
        *_first(
            fault
            for source in sources or [reference]
            for fault in _compare_tokenizers(source, variant, trust_remote_code)
        ),
        *_first(_compare_configs(reference, variant, _OF_THE_WEIGHTS if adapters else set())),
        *_first(_compare_generation(reference, variant)),
        *_check_vocabulary(variant),
    ]
    return Audit(faults=tuple(faults))


def _compare_gguf(reference: Path, variant: Path, trust_remote_code: bool) -> Iterator[str]:
    """Every key of the architecture and the tokenizer, against what the converter writes."""
    file = GgufFile(variant)
    conversion = Conversion(reference, trust_remote_code=trust_remote_code, allow_pickle=False)
    expected = conversion.metadata()
    for key, wanted in expected.items():
        yield from _differences(key, _plain(wanted), _plain(file.value(key)))
    for key in file.keys():  # noqa: SIM118  a GGUF file is no mapping
        if key.startswith("tokenizer.") and key not in expected:
            yield from _differences(key, None, _plain(file.value(key)))


def _compare_tokenizers(source: Path, variant: Path, trust_remote_code: bool) -> Iterator[str]:
    if not has_tokenizer(source):
        return
    if not has_tokenizer(variant):
        yield f"{variant}: has no tokenizer, {source} has one"
        return
    wanted, found = (_describe(path, trust_remote_code) for path in (source, variant))
    for section, value in wanted.items():
        yield from islice(_differences(section, value, found[section]), 1)


def _describe(directory: Path, trust_remote_code: bool) -> dict[str, Any]:
    """All of a tokenizer that can change what a model is given, or when it stops."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SourceError(f"{directory}: its tokenizer cannot be loaded: {reason}") from error
    described = {name: getattr(tokenizer, name, None) for name in _SPECIAL_TOKENS}
    described |= {name: getattr(tokenizer, name, None) for name in _SPECIAL_IDS}
    described["chat_template"] = tokenizer.chat_template
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        parts = {"vocabulary": tokenizer.get_vocab()}
    else:
        whole = json.loads(backend.to_str())
        parts = {f"tokenizer.{key}": whole[key] for key in whole if key not in _BATCHING}
    return described | parts | {"token ids of a probe": tokenizer.encode(_PROBE)}


def _compare_configs(reference: Path, variant: Path, changed: set[str]) -> Iterator[str]:
    wanted, found = (_read_config(path) for path in (reference, variant))
    for key in sorted((wanted.keys() | found.keys()) - changed):
        yield from _differences(f"config.json: {key}", wanted.get(key), found.get(key))


def _read_config(directory: Path) -> dict[str, Any]:
    """The config with its defaults, where transformers knows the architecture."""
    from transformers import AutoConfig

    raw = read_json(directory / "config.json")
    with suppress(OSError, ValueError, KeyError):  # an architecture of its own has no defaults
        raw = AutoConfig.from_pretrained(directory, trust_remote_code=False).to_dict()
    return _without_notes(raw)


def _without_notes(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what says how it is stored, by what, from where."""
    return {
        key: _without_notes(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _NOT_COMPARED and not str(key).startswith("_")
    }


def _compare_generation(reference: Path, variant: Path) -> Iterator[str]:
    wanted, found = (_read_generation(path) for path in (reference, variant))
    for key in sorted(wanted.keys() | found.keys()):
        yield from _differences(f"generation_config.json: {key}", wanted.get(key), found.get(key))


def _read_generation(directory: Path) -> dict[str, Any]:
    """How a model generates; what the file leaves out is config.json's, or transformers' own."""
    config = read_json(directory / "config.json")
    file = directory / "generation_config.json"
    own = _without_notes(read_json(file)) if file.is_file() else {}
    return _GENERATION_DEFAULTS | {key: config.get(key) for key in _SPECIAL_IDS} | own


def _check_vocabulary(variant: Path) -> Iterator[str]:
    """Whether config.json counts the tokens that the embeddings have rows for."""
    size = read_json(variant / "config.json").get("vocab_size")
    header = read_headers(variant).get(_EMBEDDING)
    if size is not None and header is not None and header.shape[0] != size:
        yield f"config.json: vocab_size: {size}, but {_EMBEDDING} has {header.shape[0]} rows"


def _differences(path: str, wanted: Any, found: Any) -> Iterator[str]:
    """Where two values differ, with both of them, shortened."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys(), key=str):
            yield from _differences(f"{path}.{key}", wanted.get(key), found.get(key))
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{path}: {len(found)} entries, expected {len(wanted)}"
        for place, (one, other) in enumerate(zip(wanted, found, strict=False)):
            if one != other:
                yield f"{path}[{place}]: {_shorten(other)}, expected {_shorten(one)}"
                return
    elif wanted != found:
        yield f"{path}: {_shorten(found)}, expected {_shorten(wanted)}"


def _shorten(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _plain(value: Any) -> Any:
    """A value of GGUF metadata as the file gives it back: text for bytes, 32 bits for floats."""
    import numpy as np

    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    return float(np.float32(value)) if isinstance(value, float) else value


def _first(faults: Iterator[str]) -> tuple[str, ...]:
    listed = list(faults)
    if len(listed) <= _MOST:
        return tuple(listed)
    return (*listed[:_MOST], f"and {len(listed) - _MOST} more of its kind")
