"""Where the parameters of a model lie in its checkpoint, which may name and cut them otherwise."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gate.checkpoints import TensorHeader, read_json
from gate.errors import StageError
from gate.nf4 import quantized_modules

ModuleKind = Literal["linear", "conv1d", "embedding", "other"]

_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp")
"""Model types whose linear layers are transformers' Conv1D: weights of (in, out) features."""

_STACK = ("MergeModulelist",)
_STACK_AND_JOIN = ("MergeModulelist", "Concatenate")


class Piece(NamedTuple):
    """A tensor of the checkpoint as a part of a model's parameter.

    Attributes:
        tensor: its name in the checkpoint.
        expert: which matrix it belongs to in a parameter of stacked experts; None elsewhere.
        first_row: which row of that matrix, or of the parameter, is its first.
    """

    tensor: str
    expert: int | None = None
    first_row: int = 0


class Layout:
    """The layout of one base checkpoint.

    A parameter is where the checkpoint has a tensor of its name. Only for others, and for what
    lies outside the numbered layers, is the model's architecture asked: that takes seconds.
    """

    def __init__(
        self, base: Path, headers: Mapping[str, TensorHeader], *, trust_remote_code: bool
    ) -> None:
        """Nothing is read yet.

        Args:
            base: the checkpoint's directory.
            headers: its tensors.
            trust_remote_code: let the model run Python code of its own.
        """
        self._base = base
        self._headers = headers
        self._trust_remote_code = trust_remote_code

    def find(self, parameter: str) -> tuple[Piece, ...]:
        """The tensors that make up a parameter; none where the model has no such parameter."""
        if parameter in self._headers:
            return (Piece(parameter),)
        known = self.architecture.pieces
        return known.get(parameter) or known.get(self.architecture.renamed(parameter), ())

    def kind(self, module: str) -> ModuleKind:
        """What a module with a matrix is, as far as its weight's orientation goes."""
        if f"{module}.weight" in self._headers and self._is_inside_layers(module):
            is_conv1d = self._config.get("model_type") in _CONV1D_MODELS
            return "conv1d" if is_conv1d else "linear"
        architecture = self.architecture
        kinds = architecture.kinds
        return kinds.get(module) or kinds.get(architecture.renamed(module), "other")

    @cached_property
    def architecture(self) -> "Architecture":
        """The model's own account of its parameters.

        Raises:
            StageError: transformers cannot build it.
        """
        return read_architecture(
            self._base, tuple(self._headers), trust_remote_code=self._trust_remote_code
        )

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_json(self._base / "config.json")

    @staticmethod
    def _is_inside_layers(module: str) -> bool:
        return any(part.isdigit() for part in module.split("."))


class Architecture(NamedTuple):
    """A model as transformers builds it, without weights.

    Attributes:
        kinds: {module: what it is}.
        parameters: {module: names of the parameters it holds itself, in order}.
        transposed: modules whose experts are stored as (in, out) features.
        pieces: {parameter: the checkpoint's tensors that make it up}.
        odd: {parameter: the operation by which it is made of the checkpoint's tensors}, where
            that is none that can be undone piece by piece.
        embeddings: the weight of the input embeddings.
        head: the weight of the output layer, None where there is none.
        is_tied: whether the head is the embeddings.
        in_four_bits: parameters that are put into 4 bits when the model is loaded so.
        rename: a checkpoint's name for a parameter -> the model's.
    """

    kinds: dict[str, ModuleKind]
    parameters: dict[str, tuple[str, ...]]
    transposed: frozenset[str]
    pieces: dict[str, tuple[Piece, ...]]
    odd: dict[str, str]
    embeddings: str
    head: str | None
    is_tied: bool
    in_four_bits: tuple[str, ...]
    rename: Any

    def renamed(self, name: str) -> str:
        """The model's name of a parameter or module that goes by its checkpoint's name."""
        if name in self.kinds or name in self.pieces:
            return name
        renamed: str = self.rename(name)
        return renamed


def read_architecture(
    base: Path, tensors: tuple[str, ...], *, trust_remote_code: bool
) -> Architecture:
    """Build a model on the meta device and trace each of the checkpoint's tensors into it.

    Raises:
        StageError: transformers does not know the architecture.
    """
    model = _meta_model(base, trust_remote_code)
    modules = dict(model.named_modules())
    names = {id(module): name for name, module in modules.items()}
    head = model.get_output_embeddings()
    embeddings = f"{names[id(model.get_input_embeddings())]}.weight"
    head_name = None if head is None else f"{names[id(head)]}.weight"
    tracing = _Tracing(model)
    pieces, odd = tracing.trace(tensors)
    tied = {frozenset(pair) for pair in getattr(model, "all_tied_weights_keys", {}).items()}
    return Architecture(
        kinds={name: _kind(module) for name, module in modules.items()},
        parameters={
            name: tuple(own for own, _ in module.named_parameters(recurse=False))
            for name, module in modules.items()
        },
        transposed=frozenset(
            name for name, module in modules.items() if getattr(module, "is_transposed", False)
        ),
        pieces=pieces,
        odd=odd,
        embeddings=embeddings,
        head=head_name,
        is_tied=head_name is not None and frozenset((head_name, embeddings)) in tied,
        in_four_bits=tuple(f"{name}.weight" for name in quantized_modules(model)),
        rename=tracing.rename,
    )


def _meta_model(base: Path, trust_remote_code: bool) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # the layout is that of the 16-bit model
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise StageError(f"{base}: transformers cannot build this model: {reason}") from error


def _kind(module: Any) -> ModuleKind:
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return "linear"
    if isinstance(module, Conv1D):
        return "conv1d"
    return "embedding" if isinstance(module, torch.nn.Embedding) else "other"


class _Tracing:
    """Follows a checkpoint's names through the renamings that transformers does on loading."""

    def __init__(self, model: Any) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter

        transforms = get_model_conversion_mapping(model)
        self._converters = [one for one in transforms if isinstance(one, WeightConverter)]
        self._renamings = [one for one in transforms if one not in self._converters]
        self._prefix = model.base_model_prefix
        self._state = model.state_dict()

    def rename(self, name: str) -> str:
        """The model's name of a module or parameter."""
        for suffix in ("", ".weight"):
            renamed, _ = self._follow(name + suffix)
            if renamed in self._state:
                return renamed.removesuffix(suffix)
        return self._follow(name)[0]

    def trace(
        self, tensors: tuple[str, ...]
    ) -> tuple[dict[str, tuple[Piece, ...]], dict[str, str]]:
        """The pieces of each parameter, and the parameters that are not made of pieces."""
        from transformers.core_model_loading import dot_natural_key

        pieces: dict[str, tuple[Piece, ...]] = {}
        gathered: dict[str, dict[str, list[str]]] = {}
        for name in sorted(tensors, key=dot_natural_key):
            renamed, pattern = self._follow(name)
            if pattern is None:
                pieces[renamed] = (Piece(name),)
            else:
                gathered.setdefault(renamed, {}).setdefault(pattern, []).append(name)
        odd = {}
        for parameter, sources in gathered.items():
            converter = next(one for one in self._converters if set(sources) & set(_sources(one)))
            made = tuple(type(operation).__name__ for operation in converter.operations)
            cut = self._cut(parameter, converter, made, sources)
            if cut is None:
                odd[parameter] = " and ".join(made)
            else:
                pieces[parameter] = cut
        return pieces, odd

    def _cut(
        self, parameter: str, converter: Any, made: tuple[str, ...], sources: dict[str, list[str]]
    ) -> tuple[Piece, ...] | None:
        """The experts of a fused parameter, each of one or several tensors below each other."""
        dims = [getattr(operation, "dim", None) for operation in converter.operations]
        is_known = (made, dims) in ((_STACK, [0]), (_STACK_AND_JOIN, [0, 1]))
        if not is_known or parameter not in self._state:
            return None
        patterns = [pattern for pattern in _sources(converter) if pattern in sources]
        rows = self._state[parameter].shape[1] // len(patterns)
        return tuple(
            Piece(name, expert, number * rows)
            for number, pattern in enumerate(patterns)
            for expert, name in enumerate(sources[pattern])
        )

    def _follow(self, name: str) -> tuple[str, str | None]:
        from transformers.core_model_loading import rename_source_key

        renamed: tuple[str, str | None] = rename_source_key(
            name, self._renamings, self._converters, self._prefix, self._state
        )
        return renamed


def _sources(converter: Any) -> list[str]:
    return list(converter.source_patterns)
