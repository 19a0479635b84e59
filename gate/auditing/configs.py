"""config.json of a merge against the base's: what may differ, and what changes the function."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gate.checkpoints import read_json

_HARMLESS = {
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_experts_implementation_internal",
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "unsloth_version",
    "use_cache",
}
_PEFT_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
_TIED = "tie_word_embeddings"
_VOCABULARY = "vocab_size"
_QUANTIZED = "quantization_config"
_ABSENT = "absent"


class Demands(NamedTuple):
    """What the adapters make of a base's config.

    Attributes:
        may_be_tied: whether the merged model's embeddings may be tied.
        may_be_untied: whether they may be two tensors, both of which are stored.
        vocab_size: rows of resized embeddings; None where they are not resized.
        dtype: the word of the type asked for; None for the base's own.
    """

    may_be_tied: bool = True
    may_be_untied: bool = False
    vocab_size: int | None = None
    dtype: str | None = None


def config_faults(base: Path, merged: Path, demands: Demands) -> list[str]:
    """A sentence for each key of config.json that makes the merge another function.

    Raises:
        SourceError: a config.json cannot be read.
    """
    was, now = read_json(base / "config.json"), read_json(merged / "config.json")
    faults = _dtype_faults(was, now, demands)
    differing = list(_differences(was, now, demands))
    if differing:
        whole = _with_defaults(was), _with_defaults(now)
        if whole[0] is not None and whole[1] is not None:
            real = {path for path, _, _ in _differences(whole[0], whole[1], demands)}
            differing = [one for one in differing if one[0] in real] + [
                one
                for one in _differences(whole[0], whole[1], demands)
                if one[0] not in {path for path, _, _ in differing} and _is_given(one[0], was, now)
            ]
    return faults + [
        f"config.json: {path} is {_text(found)}, and should be {_text(wanted)}"
        for path, wanted, found in differing
    ]


def peft_file_faults(merged: Path) -> list[str]:
    """A sentence for each file that makes loaders put an adapter on a merge again."""
    return [
        f"{name} lies beside the merged weights: loaders would put the adapter on again"
        for name in _PEFT_FILES
        if (merged / name).is_file()
    ]


def _differences(
    was: Mapping[str, Any], now: Mapping[str, Any], demands: Demands, path: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """(key, what it should be, what it is) of each difference that counts."""
    for key in sorted(was.keys() | now.keys()):
        if key in _HARMLESS:
            continue
        wanted, found = _wanted(key, was, now, demands), now.get(key, _ABSENT)
        if isinstance(wanted, dict) and isinstance(found, dict):
            yield from _differences(wanted, found, demands, f"{path}{key}.")
        elif wanted != found and not (_is_nothing(wanted) and _is_nothing(found)):
            yield f"{path}{key}", wanted, found


def _wanted(key: str, was: Mapping[str, Any], now: Mapping[str, Any], demands: Demands) -> Any:
    if key == _TIED and not demands.may_be_tied:
        return False
    if key == _TIED and demands.may_be_untied and now.get(key) is False:
        return False
    if key == _QUANTIZED:
        return _ABSENT  # a merge is not quantized, whatever its base was
    if key == _VOCABULARY and demands.vocab_size is not None:
        return demands.vocab_size
    return was.get(key, _ABSENT)


def _is_nothing(value: Any) -> bool:
    return value is None or value == _ABSENT


def _is_given(path: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether one of two configs says something of a key, however it is spelt today."""
    first = path.partition(".")[0]
    return first in was or first in now


def _dtype_faults(was: Mapping[str, Any], now: Mapping[str, Any], demands: Demands) -> list[str]:
    wanted = demands.dtype or _dtype(was)
    found = _dtype(now)
    if wanted is None or found is None or wanted == found:
        return []
    return [f"config.json: dtype is {found}, and should be {wanted}"]


def _dtype(config: Mapping[str, Any]) -> str | None:
    for key in ("dtype", "torch_dtype"):
        if isinstance(config.get(key), str):
            return str(config[key]).removeprefix("torch.")
    return None


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """A config as transformers reads it, every default filled in; None where it cannot."""
    from transformers import AutoConfig

    settings = dict(config)
    kind = settings.pop("model_type", None)
    if "auto_map" in settings or not isinstance(kind, str):
        return None
    try:
        read = AutoConfig.for_model(kind, **settings)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    plain: dict[str, Any] = json.loads(json.dumps(read.to_dict(), default=str))
    return plain


def _text(value: Any) -> str:
    return _ABSENT if value == _ABSENT else json.dumps(value)
