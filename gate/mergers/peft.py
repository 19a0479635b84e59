"""Merge one adapter with peft: all the kinds of adapter it can merge, at its own arithmetic."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import (
    check_code,
    check_weights,
    copy_sidecars,
    has_safetensors,
    has_tokenizer,
    measure,
    read_headers,
    read_json,
    weight_files,
)
from gate.errors import ConfigError, StageError
from gate.records import WeightReport
from gate.terms import LocalAdapter

PACKAGES = ("torch", "transformers", "peft", "safetensors")
WRITES = "checkpoint"
CODE = ("checkpoints.py",)

Dtype = Literal["auto", "bfloat16", "float16", "float32"]


def merge(
    base: Path,
    adapters: Sequence[LocalAdapter],
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    dtype: Dtype = "auto",
) -> WeightReport:
    """Write base + adapter as one checkpoint, with peft's merge_and_unload.

    Agrees with `peft.PeftModel.merge_and_unload(safe_merge=False)` of peft 0.21, which rounds
    once: safe_merge=True rounds twice and checks only for NaN, which is checked here.

    Args:
        base: the base model's directory.
        adapters: exactly one adapter, at weight 1.0.
        out: the directory to write; nothing is written unless the merge is whole.
        trust_remote_code: let the base model run Python code of its own.
        allow_pickle: read weights that run code when they are read.
        dtype: the type of the merged weights; auto for the base model's own.

    Raises:
        ConfigError: other than one adapter at weight 1.0, or a quantized base model.
        StageError: the adapter does not fit the base model tensor by tensor, changes nothing,
            or gives weights that are not finite.
    """
    adapter = _only(adapters)
    config = read_json(base / "config.json")
    _check_base(base, adapter, config, trust_remote_code, allow_pickle)
    changes: list[str] = []
    model = _load_base(base, dtype, trust_remote_code, allow_pickle, changes)
    before = {name: _fingerprint(tensor) for name, tensor in model.state_dict().items()}
    was_tied = _is_tied(model)
    model = _merge(model, adapter)
    _check_weights(adapter, model, before)
    if was_tied and not _is_tied(model):
        changes.append(
            f"adapter {adapter.name} changes one side of the tied embeddings: "
            "lm_head is now stored on its own (tie_word_embeddings: false)"
        )
    _save(model, out)
    _write_config(base, out, config, model, was_tied)
    copy_sidecars(base, out, tokenizer=adapter.path if has_tokenizer(adapter.path) else None)
    changed_types = _changed_types(base, out)
    if changed_types:
        changes.append(changed_types)
    weights = measure(read_headers(out))
    return WeightReport(
        parameters=weights.parameters, weight_bytes=weights.size_bytes, warnings=tuple(changes)
    )


def _only(adapters: Sequence[LocalAdapter]) -> LocalAdapter:
    if len(adapters) == 1 and adapters[0].weight == 1.0:
        return adapters[0]
    given = ", ".join(f"{adapter.name} at weight {adapter.weight}" for adapter in adapters)
    raise ConfigError(
        f"merger peft merges exactly one adapter at weight 1.0, not {given or 'none'}",
        hint="peft combines several adapters by their A and B matrices, "
        "which is not the sum of what they learned",
    )


def _check_base(
    base: Path,
    adapter: LocalAdapter,
    config: Mapping[str, Any],
    trust_remote_code: bool,
    allow_pickle: bool,
) -> None:
    if "quantization_config" in config:
        raise ConfigError(
            f"{base}: a quantized base model: merging into it would round every weight again",
            hint="give the 16-bit model it was quantized from",
        )
    check_code(base, trust_remote_code=trust_remote_code)
    for directory in (base, adapter.path):
        check_weights(directory, allow_pickle=allow_pickle)


def _load_base(
    base: Path, dtype: Dtype, trust_remote_code: bool, allow_pickle: bool, changes: list[str]
) -> Any:
    from transformers import AutoModelForCausalLM

    model, loaded = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        use_safetensors=None if allow_pickle else True,
        output_loading_info=True,
    )
    if loaded["missing_keys"]:
        raise StageError(
            f"{base}: {len(loaded['missing_keys'])} tensors of {type(model).__name__} are not in "
            f"the checkpoint; the first is {min(loaded['missing_keys'])}",
            hint="transformers would fill them with random numbers",
        )
    if loaded["unexpected_keys"]:
        changes.append(
            f"{len(loaded['unexpected_keys'])} tensors of the base model are not part of "
            f"{type(model).__name__} and left out; the first is {min(loaded['unexpected_keys'])}"
        )
    return model


def _merge(model: Any, adapter: LocalAdapter) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # peft warns where it should refuse; what it warns of is refused here
            warnings.simplefilter("ignore")
            peft_model = PeftModel.from_pretrained(model, str(adapter.path))
            loaded = peft_model.load_adapter(str(adapter.path), "default")
            _check_loaded(adapter, loaded.missing_keys, loaded.unexpected_keys)
            _untie_where_adapted(peft_model.get_base_model())
            return peft_model.merge_and_unload()
    except KeyError as error:
        raise _does_not_fit(adapter, f"it lacks {error.args[0]}") from error
    except (RuntimeError, ValueError, NotImplementedError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise _does_not_fit(adapter, " ".join(lines[:2])) from error


def _check_loaded(adapter: LocalAdapter, missing: list[str], unexpected: list[str]) -> None:
    if unexpected:
        raise _does_not_fit(
            adapter,
            f"{len(unexpected)} of its tensors have no place in the base model; "
            f"the first is {min(unexpected)}",
        )
    if missing:
        raise _does_not_fit(
            adapter, f"it lacks {len(missing)} tensors; the first is {min(missing)}"
        )


def _does_not_fit(adapter: LocalAdapter, reason: str) -> StageError:
    return StageError(
        f"adapter {adapter.name} cannot be merged: {reason}",
        hint="was it trained on this base model, and saved whole?",
    )


def _untie_where_adapted(model: Any) -> None:
    """Give lm_head weights of its own where an adapter changes it or the embeddings.

    peft merges in place, so that both sides of a tied weight would get the change of one, or
    of both: the merged model is then not the model that was trained.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    adapted = [side for side in (head, embeddings) if isinstance(side, BaseTunerLayer)]
    if adapted and _is_tied(model):
        inside = head.get_base_layer() if head in adapted else head
        inside.weight = torch.nn.Parameter(inside.weight.detach().clone(), requires_grad=False)


def _is_tied(model: Any) -> bool:
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embeddings is None:
        return False
    return bool(head.weight.data_ptr() == embeddings.weight.data_ptr())


def _check_weights(adapter: LocalAdapter, model: Any, before: Mapping[str, bytes]) -> None:
    import torch

    has_changed = False
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise StageError(
                f"adapter {adapter.name}: {name} is not finite after the merge",
                hint="look for NaN in the adapter, or merge with dtype: bfloat16 or float32",
            )
        has_changed = has_changed or _fingerprint(tensor) != before.get(name)
    if not has_changed:
        raise StageError(
            f"adapter {adapter.name}: the merge changed nothing: every weight equals the base's",
            hint="the adapter is empty, or too small for this dtype: try dtype: float32",
        )


def _fingerprint(tensor: Any) -> bytes:
    import torch

    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(raw).digest()


def _save(model: Any, out: Path) -> None:
    from transformers import GenerationConfig

    # The base's generation config is copied as it is: transformers would refuse or edit it.
    model.generation_config = GenerationConfig()
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    for file in weight_files(out):
        shutil.copymode(out / "config.json", file)  # safetensors lets only the owner read it


def _write_config(
    base: Path, out: Path, config: dict[str, Any], model: Any, was_tied: bool
) -> None:
    """The base's config.json byte for byte, unless the merge made it untrue."""
    truth = {"torch_dtype" if "torch_dtype" in config else "dtype": _dtype_word(model)}
    if was_tied != _is_tied(model):
        truth["tie_word_embeddings"] = _is_tied(model)
    if truth.items() <= config.items():
        shutil.copyfile(base / "config.json", out / "config.json")
    else:
        text = json.dumps(config | truth, indent=2, ensure_ascii=False)
        (out / "config.json").write_text(text + "\n", encoding="utf-8")


def _dtype_word(model: Any) -> Any:
    return str(model.dtype).removeprefix("torch.")


def _changed_types(base: Path, out: Path) -> str | None:
    if not has_safetensors(base):
        return None
    was, now = read_headers(base), read_headers(out)
    changed = sorted(name for name in was.keys() & now.keys() if was[name].dtype != now[name].dtype)
    if not changed:
        return None
    first = changed[0]
    return (
        f"{len(changed)} tensors are stored in another type than the base model's; "
        f"the first is {first}: {was[first].dtype} before, {now[first].dtype} now"
    )
