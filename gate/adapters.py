"""Adapters on a loaded base model: every tensor of the file in its place, and proof that they act.

peft only warns where a tensor of the adapter finds no place, or a place finds no tensor, and serves
the base model in silence where no module matches.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

_WRONG_BASE = "is the adapter made for another base model?"


def attach_adapters(
    model: Any, adapters: Sequence[LocalAdapter], *, probe: Sequence[int], allow_pickle: bool
) -> None:
    """Put adapters on a transformers model, in place; several act as the sum of their deltas.

    Args:
        model: the base model, on its device.
        adapters: what to put on it; a weight scales the adapter's delta.
        probe: token ids on which each adapter must change the model's logits.
        allow_pickle: read an adapter from adapter_model.bin.

    Raises:
        ConfigError: adapters that cannot be weighted or combined exactly.
        StageError: an adapter does not fit the base model, or changes nothing.
    """
    peft_model: Any = None
    for number, adapter in enumerate(adapters):
        name = f"gate{number}"
        peft_model = _load(model, peft_model, adapter, name, allow_pickle=allow_pickle)
        if adapter.weight != 1.0 or len(adapters) > 1:
            _refuse_inexact(adapter, peft_model.peft_config[name])
            _scale(model, name, adapter.weight)
        _refuse_idle(peft_model, adapter, name, probe)
    if peft_model is not None:
        names = [f"gate{number}" for number in range(len(adapters))]
        peft_model.base_model.set_adapter(names, inference_mode=True)


def _load(
    model: Any, peft_model: Any, adapter: LocalAdapter, name: str, *, allow_pickle: bool
) -> Any:
    """The peft model with the adapter loaded; fails unless file and model agree on every tensor."""
    from peft import PeftConfig, PeftModel

    _check_files(adapter.path, allow_pickle=allow_pickle)
    if PeftConfig.from_pretrained(str(adapter.path)).is_prompt_learning:
        raise StageError(f"adapter {adapter.name}: prompt learning is not an adapter on weights")
    options = {
        "key_mapping": getattr(model, "_checkpoint_conversion_mapping", None),
        "torch_device": str(model.device),
    }
    try:
        with warnings.catch_warnings():
            # what peft warns of here is refused below
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            if peft_model is None:
                peft_model = PeftModel.from_pretrained(
                    model, str(adapter.path), adapter_name=name, **options
                )
            # from_pretrained does not say what was left over: loading again does
            result = peft_model.load_adapter(str(adapter.path), name, **options)
    except (RuntimeError, ValueError) as error:
        raise StageError(
            f"adapter {adapter.name}: {_first_problem(error, name)}", hint=_WRONG_BASE
        ) from error
    _check_coverage(adapter, name, result)
    return peft_model


def _check_files(path: Path, *, allow_pickle: bool) -> None:
    if not allow_pickle and not (path / "adapter_model.safetensors").is_file():
        raise StageError(
            f"{path}: no adapter_model.safetensors",
            hint="a .bin file runs code when it is read; convert it, or set allow_pickle",
        )


def _check_coverage(adapter: LocalAdapter, name: str, result: Any) -> None:
    for keys, problem in (
        (result.unexpected_keys, "has no place in the base model"),
        (result.missing_keys, "is missing from the adapter's file"),
    ):
        if keys:
            raise StageError(
                f"adapter {adapter.name}: tensor {keys[0].replace(f'.{name}', '')} {problem}",
                hint=_WRONG_BASE,
            )


def _first_problem(error: Exception, name: str) -> str:
    """The message of peft, cut to the first tensor or module that it names."""
    mismatch = re.search(
        r"size mismatch for (\S+): copying a param with shape (.+?\]\))", str(error)
    )
    if mismatch:
        tensor, shape = mismatch.groups()
        return f"tensor {tensor.replace(f'.{name}', '')} of shape {shape} does not fit"
    return str(error).splitlines()[0]


def _refuse_inexact(adapter: LocalAdapter, config: Any) -> None:
    """Refuse what is not a delta that can be scaled and summed."""
    extras = ("use_dora", "modules_to_save", "trainable_token_indices")
    inexact = [key for key in extras if getattr(config, key, None)]
    if getattr(config, "bias", "none") != "none":
        inexact.append("bias")
    if config.peft_type != "LORA" or inexact:
        what = ", ".join(inexact) or str(config.peft_type.value)
        raise ConfigError(
            f"adapter {adapter.name}: {what} cannot be weighted or combined with other adapters",
            hint="give it alone, with weight 1.0",
        )


def _scale(model: Any, name: str, weight: float) -> None:
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer) and name in module.scaling:
            module.scaling[name] *= weight


def _refuse_idle(peft_model: Any, adapter: LocalAdapter, name: str, probe: Sequence[int]) -> None:
    import torch

    peft_model.base_model.set_adapter([name], inference_mode=True)
    ids = torch.tensor([list(probe)], device=peft_model.device)
    with torch.inference_mode():
        with_adapter = peft_model(input_ids=ids).logits
        with peft_model.disable_adapter():
            without = peft_model(input_ids=ids).logits
    if torch.equal(with_adapter, without):
        raise StageError(
            f"adapter {adapter.name} changes nothing: its outputs equal the base model's",
            hint="it was never trained, its B matrices are zero, or its modules match nothing",
        )
