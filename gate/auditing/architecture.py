"""The model's own names of a checkpoint's tensors, asked of transformers: it costs seconds."""

from collections.abc import Sequence
from pathlib import Path

from gate.errors import ConfigError


def model_names(
    base: Path, tensors: Sequence[str], *, trust_remote_code: bool
) -> dict[str, str | None]:
    """{tensor on disk: parameter it is read into}; None for a tensor the model has no use for.

    A tensor that becomes a part of a fused parameter goes by that parameter's name.

    Raises:
        ConfigError: transformers cannot build the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (ValueError, KeyError, ImportError, OSError, AttributeError) as error:
        raise ConfigError(
            f"{base}: transformers cannot build this model: {str(error).splitlines()[0]}",
            hint="the names of the adapter's tensors do not match the checkpoint's by themselves",
        ) from error
    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    known = model.state_dict()
    found: dict[str, str | None] = {}
    for name in tensors:
        renamed, _ = rename_source_key(name, renamings, converters, model.base_model_prefix, known)
        found[name] = renamed if renamed in known else None
    return found
