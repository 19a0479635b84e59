"""A transformers model and its tokenizer, loaded whole from local directories or not at all."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gate.adapters import attach_adapters
from gate.checkpoints import read_json
from gate.engines.tokenized import open_tokenizer
from gate.errors import StageError
from gate.nf4 import Nf4Settings, find_packed, quantized_modules, round_trip, unpack
from gate.tensors import open_tensors
from gate.terms import LocalAdapter

_PROBE = "The quick brown fox jumps over the lazy dog. 1 + 1 = 2"
_PACKAGES = {
    "bitsandbytes": ("bitsandbytes", "pip install 'mergegate[bitsandbytes]'"),
    "torchao": ("torchao", "pip install 'mergegate[torchao]'"),
    "compressed-tensors": ("compressed_tensors", "pip install 'mergegate[compressed-tensors]'"),
}
_UNPACK = "; or base_precision: nf4, to compute with its values without it"
_BLOCK_ROWS = 32

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "bfloat16", "float16", "float32"]


class LoadedModel(NamedTuple):
    """A transformers model, ready to run, and the tokenizer that it was trained with."""

    model: Any
    tokenizer: Any


def load_adapted(
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool,
    allow_pickle: bool,
    dtype: Dtype,
    device: Device,
    base_precision: Literal["nf4"] | None = None,
    double_quant: bool = True,
) -> LoadedModel:
    """A checkpoint with adapters on it; the tokenizer is the last adapter's that has one.

    Args:
        weights: a checkpoint directory.
        adapters: adapters to put on it; several act as the sum of their deltas.
        trust_remote_code: run Python files that the checkpoint brings.
        allow_pickle: read weights from .bin files.
        dtype: the type to compute in; auto is the one the checkpoint is stored in.
        device: where to compute; auto is cuda where there is one.
        base_precision: nf4 for the checkpoint as QLoRA trains on it; None for it as it is.
        double_quant: whether the 4-bit scales are put into 8 bits.

    Raises:
        ConfigError: adapters that cannot be weighted or combined exactly.
        StageError: the model or an adapter cannot be loaded whole, or an adapter does nothing; or
            a package that runs its quantized weights is missing.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    options: dict[str, Any] = {
        "dtype": dtype, "trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle
    }  # fmt: skip
    is_unpacked = is_packed(weights) and bool(adapters or base_precision)
    if quantization(weights) and not is_unpacked:
        model = load_quantized(weights, device=device, **options).eval()
    else:
        model = load_model(weights, **options).to(device).eval()
        if base_precision == "nf4" and not is_packed(weights):
            put_in_four_bits(model, double_quant=double_quant)
    return adapt(
        model, weights, adapters, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle
    )


def adapt(
    model: Any,
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool,
    allow_pickle: bool,
) -> LoadedModel:
    """Put adapters on the model of a checkpoint, in place, with the tokenizer of the last of them.

    Raises:
        ConfigError: adapters that cannot be weighted or combined exactly.
        StageError: an adapter does not fit the model, or does nothing.
    """
    paths = [weights, *(adapter.path for adapter in adapters)]
    tokenizer = load_tokenizer(paths, model, trust_remote_code=trust_remote_code)
    probe = [*tokenizer.encode(_PROBE), *tokenizer.get_added_vocab().values()]
    attach_adapters(model, adapters, probe=probe, allow_pickle=allow_pickle)
    return LoadedModel(model, tokenizer)


def load_model(weights: Path, *, dtype: str, trust_remote_code: bool, allow_pickle: bool) -> Any:
    """The model of a checkpoint; transformers would make up tensors that are missing.

    The 4-bit weights of a bitsandbytes checkpoint are dequantized; bitsandbytes is not needed.

    Raises:
        SourceError: 4-bit weights that are not whole.
        StageError: the checkpoint cannot be read, or does not hold all its config.json asks for.
    """
    if is_packed(weights):
        return _whole(weights, lambda: _load_packed(weights, dtype, trust_remote_code))
    return _load(weights, dtype, trust_remote_code, allow_pickle)


def load_quantized(
    weights: Path,
    *,
    dtype: str,
    device: str,
    trust_remote_code: bool,
    allow_pickle: bool,
    settings: Any = None,
) -> Any:
    """The model of a quantized checkpoint, run by the package that quantized it.

    Args:
        weights: a checkpoint directory.
        dtype: the type of what is not quantized; auto is the one the checkpoint is stored in.
        device: where the model is.
        trust_remote_code: run Python files that the checkpoint brings.
        allow_pickle: read weights from .bin files.
        settings: a quantization config of transformers, to quantize a checkpoint that is not;
            None to do as config.json says.

    Raises:
        SourceError: 4-bit weights that are not whole.
        StageError: the package is missing, its kernels cannot run this model on this device, or
            the checkpoint does not hold all its config.json asks for.
    """
    if is_packed(weights):
        find_packed(open_tensors(weights, allow_pickle=False))  # or it is refused, part by part
    method = "" if settings else str(quantization(weights).get("quant_method"))
    package, remedy = _PACKAGES.get(method, (method, None))
    if method in _PACKAGES and find_spec(package) is None:
        raise StageError(
            f"{weights}: its weights are in the format of {method}, and {package} is not installed",
            hint=f"{remedy}{_UNPACK if is_packed(weights) else ''}",
        )
    # it warns at each product that it computes in float16
    logging.getLogger("bitsandbytes.autograd").setLevel(logging.ERROR)
    how = {"quantization_config": settings} if settings else {}
    model = _load(weights, dtype, trust_remote_code, allow_pickle, device_map={"": device}, **how)
    if device == "cpu":
        _avoid_wrong_kernels(weights, model)
    return model


def quantization(weights: Path) -> Mapping[str, Any]:
    """The quantization_config of a checkpoint's config.json; empty where it has none."""
    config = weights / "config.json"
    how = read_json(config).get("quantization_config") if config.is_file() else None
    return how if isinstance(how, dict) else {}


def _load(
    weights: Path, dtype: str, trust_remote_code: bool, allow_pickle: bool, **options: Any
) -> Any:
    from transformers import AutoModelForCausalLM

    return _whole(
        weights,
        lambda: AutoModelForCausalLM.from_pretrained(
            weights,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            use_safetensors=None if allow_pickle else True,
            output_loading_info=True,
            **options,
        ),
    )


def _whole(weights: Path, load: Callable[[], tuple[Any, Mapping[str, Any]]]) -> Any:
    """What is loaded, if nothing of it had to be made up."""
    try:
        model, info = load()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise StageError(f"{weights}: transformers cannot load it: {error}") from error
    lacking = sorted(info["missing_keys"]) + [key for key, *_ in info["mismatched_keys"]]
    if lacking:
        raise StageError(
            f"{weights}: the checkpoint does not hold {lacking[0]} as its config.json has it",
            hint=f"{len(lacking)} tensors are missing or of another shape",
        )
    return model


def is_packed(weights: Path) -> bool:
    """Whether a checkpoint's linear layers are stored in the 4 bits of bitsandbytes."""
    return bool(quantization(weights).get("load_in_4bit"))


def put_in_four_bits(model: Any, *, double_quant: bool) -> None:
    """Change a model's weights to what is left of them in NF4, in place.

    These are the weights that an adapter sees when it is trained on the model in 4 bits (QLoRA).
    """
    from transformers.pytorch_utils import Conv1D

    for name in quantized_modules(model):
        module = model.get_submodule(name)
        weight = module.weight.data
        settings = Nf4Settings(
            double_quant=double_quant, dtype=str(weight.dtype).removeprefix("torch.")
        )
        if isinstance(module, Conv1D):
            module.weight.data = round_trip(weight.T, settings).T
        else:
            module.weight.data = round_trip(weight, settings)


def _avoid_wrong_kernels(weights: Path, model: Any) -> None:
    """Keep bitsandbytes 0.50 from 4-bit kernels of its CPU backend that crash or err.

    Raises:
        StageError: rows that are not whole blocks, of which it takes the wrong scales.
    """
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is None:
            continue
        if module.in_features % state.blocksize:
            raise StageError(
                f"{weights}: {name} has rows of {module.in_features}, not whole blocks of "
                f"{state.blocksize}: bitsandbytes would take wrong scales on a CPU",
                hint="take int8; or run it on a GPU, or with base_precision: nf4",
            )
        if module.out_features % _BLOCK_ROWS:
            module.support_avx512bf16_for_cpu = False


def _load_packed(weights: Path, dtype: str, trust_remote_code: bool) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
    from transformers.pytorch_utils import Conv1D

    config = AutoConfig.from_pretrained(weights, trust_remote_code=trust_remote_code)
    del config.quantization_config
    tensors = open_tensors(weights, allow_pickle=False)
    found = find_packed(tensors)
    parts = {part for packed in found.values() for part in packed.names}
    state = {name: view for name, view in tensors.views.items() if name not in parts}
    state |= {name: unpack(packed) for name, packed in found.items()}
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    for name, module in skeleton.named_modules():
        if isinstance(module, Conv1D) and f"{name}.weight" in found:
            state[f"{name}.weight"] = state[f"{name}.weight"].T  # stored as a linear layer has it
    loaded = type(skeleton).from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
    )
    if (weights / "generation_config.json").is_file():
        loaded[0].generation_config = GenerationConfig.from_pretrained(weights)
    return loaded


def load_tokenizer(paths: Sequence[Path], model: Any, *, trust_remote_code: bool) -> Any:
    """The tokenizer of the last directory that has one.

    Raises:
        StageError: there is none, or it has tokens that the model has no embedding for.
    """
    tokenizer = open_tokenizer(paths, trust_remote_code=trust_remote_code)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StageError(
            f"{tokenizer.name_or_path}: the tokenizer has {len(tokenizer)} tokens, "
            f"the model's embedding {rows}",
            hint="the gate does not resize embeddings: train and merge with the resized base",
        )
    return tokenizer
