"""A transformers model and its tokenizer, loaded whole from local directories or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.errors import StageError


def load_model(weights: Path, *, dtype: str, trust_remote_code: bool, allow_pickle: bool) -> Any:
    """The model of a checkpoint; transformers would make up tensors that are missing.

    Raises:
        StageError: the checkpoint cannot be read, or does not hold all its config.json asks for.
    """
    from transformers import AutoModelForCausalLM

    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            weights,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StageError(f"{weights}: transformers cannot load it: {error}") from error
    lacking = sorted(info["missing_keys"]) + [key for key, *_ in info["mismatched_keys"]]
    if lacking:
        raise StageError(
            f"{weights}: the checkpoint does not hold {lacking[0]} as its config.json has it",
            hint=f"{len(lacking)} tensors are missing or of another shape",
        )
    return model


def load_tokenizer(paths: Sequence[Path], model: Any, *, trust_remote_code: bool) -> Any:
    """The tokenizer of the last directory that has one.

    Raises:
        StageError: there is none, or it has tokens that the model has no embedding for.
    """
    from transformers import AutoTokenizer

    sources = [path for path in paths if (path / "tokenizer_config.json").is_file()]
    if not sources:
        raise StageError(f"{paths[0]}: no tokenizer_config.json")
    source = sources[-1]
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StageError(
            f"{source}: the tokenizer has {len(tokenizer)} tokens, the model's embedding {rows}",
            hint="the gate does not resize embeddings: train and merge with the resized base",
        )
    return tokenizer
