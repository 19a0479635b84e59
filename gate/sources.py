"""Where a base model or adapter is: a directory or a hub id, to local files and a content id."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import (
    PICKLES,
    TensorHeader,
    check_code,
    check_weights,
    has_safetensors,
    pickle_files,
    read_headers,
    read_json,
    weight_files,
)
from gate.digest import digest_json, digest_manifest
from gate.errors import SourceError
from gate.merging.adapter_files import check_mergeable
from gate.terms import Source

SourceKind = Literal["base", "adapter"]

_CONFIG = {"base": "config.json", "adapter": "adapter_config.json"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+@[\w./-]+")
_UNPINNED_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")
_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "**/*.py", "**/*.jinja")
_NOT_INPUT = re.compile(r"(readme|license|licence|notice|trainer_state|training_args).*", re.I)
_LORA_B = re.compile(r".*\.lora_(embedding_)?B(\.\w+)*")
_LORA = re.compile(r".*\.lora_(embedding_)?[AB](\.\w+)*")
_INSIDE = re.compile(r"\.(?:base_layer|lora_\w+|modules_to_save|token_adapter)(?:\.|$)")
_WHOLE = re.compile(r"^base_model\.model\.(.*?)(?:\.base_layer|\.modules_to_save)?(?=\.weight$)")
_FLOATS = {"F64", "F32", "F16", "BF16"}
_MATRIX = 2
_CHUNK_BYTES = 1 << 20


def locate(
    given: str,
    *,
    root: Path,
    allow_pickle: bool,
    trust_remote_code: bool,
    kind: SourceKind,
    file_digest: Callable[[Path], str],
) -> Source:
    """The local directory and content id of a base model or adapter.

    Args:
        given: a directory, or a hub id with its revision: org/name@revision.
        root: what a relative directory is relative to: the folder of gate.yaml.
        allow_pickle: accept weights that run code when they are read.
        trust_remote_code: accept a model that brings Python code of its own.
        kind: whether a base model or an adapter is expected.
        file_digest: the sha256 of a file; it may remember.

    Raises:
        SourceError: missing, unreadable, of the other kind, or refused.
    """
    directory = find_directory(
        given,
        root=root,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        kind=kind,
    )
    if directory != _local(given, root):
        hub_id, commit = given.partition("@")[0], directory.name
        digest = digest_json({"hub": hub_id, "commit": commit})
        return Source(given=given, path=str(directory), digest=digest, commit=commit)
    manifest = {
        file.relative_to(directory).as_posix(): file_digest(file)
        for file in sorted(_input_files(directory))
    }
    digest = digest_manifest(manifest)
    return Source(given=given, path=str(directory), digest=digest, manifest=manifest)


def find_directory(
    given: str,
    *,
    root: Path,
    allow_pickle: bool,
    trust_remote_code: bool,
    kind: SourceKind,
) -> Path:
    """The local directory of a base model or adapter, downloaded where it is a hub id.

    Args:
        given: a directory, or a hub id with its revision: org/name@revision.
        root: what a relative directory is relative to.
        allow_pickle: accept weights that run code when they are read.
        trust_remote_code: accept a model that brings Python code of its own.
        kind: whether a base model or an adapter is expected.

    Raises:
        SourceError: missing, unreadable, of the other kind, or refused.
    """
    directory = _local(given, root)
    if not directory.exists() and _HUB_ID.fullmatch(given):
        directory = _download(given, allow_pickle=allow_pickle)
    else:
        _check_directory(given, directory)
    _refuse(directory, kind, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    return directory


def check_fit(base: Source, adapter: Source) -> None:
    """Refuse an adapter that cannot belong to a base model, from their headers alone.

    A module that the base does not have by name is no reason to refuse as long as others are
    there: some architectures rename modules on load, and the merge itself proves them.

    Raises:
        SourceError: a shape that does not fit, no module found, or an adapter that does nothing.
    """
    base_path, adapter_path = Path(base.path), Path(adapter.path)
    if not (has_safetensors(base_path) and has_safetensors(adapter_path)):
        return
    config = read_json(adapter_path / _CONFIG["adapter"])
    tensors = read_headers(adapter_path)
    _check_does_something(adapter, tensors)
    modules = _modules(read_headers(base_path))
    found = {name: _find_module(name, modules) for name in tensors}
    for name, module in found.items():
        if module is not None:
            _check_shape(adapter, tensors[name], modules[module], config)
    if tensors and not any(found.values()) and not config.get("target_parameters"):
        raise SourceError(
            f"adapter {adapter.given}: none of its modules is in base {base.given}; "
            f"the first is {next(iter(tensors))}",
            hint=_other_base(config),
        )


def _local(given: str, root: Path) -> Path:
    return (root / Path(given).expanduser()).absolute()


def _download(given: str, *, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download

    hub_id, _, revision = given.partition("@")
    patterns = ["*.safetensors", *(pattern.removeprefix("**/") for pattern in _FILES)]
    if allow_pickle:
        patterns += PICKLES
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SourceError(
            f"{given}: neither in the local hub cache nor downloadable: {reason}",
            hint="check the id, the revision and HF_TOKEN, or download it and give its directory",
        ) from error


def _check_directory(given: str, directory: Path) -> None:
    if directory.is_dir():
        return
    if directory.exists():
        raise SourceError(f"{given}: a file, not a directory", hint="give the folder that holds it")
    parent = directory.parent
    siblings = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(directory.name, siblings, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(str(Path(given).parent / name) for name in near)}?"
    elif _UNPINNED_HUB_ID.fullmatch(given):
        hint = f"a hub id needs its revision: {given}@<commit>"
    else:
        hint = None
    raise SourceError(f"{given}: no such directory: {directory}", hint=hint)


def _refuse(
    directory: Path, kind: SourceKind, *, allow_pickle: bool, trust_remote_code: bool
) -> None:
    _check_kind(directory, kind)
    read_json(directory / _CONFIG[kind])
    if kind == "adapter":
        check_mergeable(directory)
    check_code(directory, trust_remote_code=trust_remote_code)
    check_weights(directory, allow_pickle=allow_pickle)


def _check_kind(directory: Path, kind: SourceKind) -> None:
    is_adapter = (directory / _CONFIG["adapter"]).is_file()
    has_config = (directory / _CONFIG["base"]).is_file()
    if kind == "base" and is_adapter:
        raise SourceError(
            f"{directory}: an adapter, not a base model: it has adapter_config.json",
            hint="give it under adapters, and the model it was trained on as base",
        )
    if kind == "adapter" and has_config and not is_adapter:
        raise SourceError(
            f"{directory}: a whole model, not an adapter: it has no adapter_config.json",
            hint="give the folder that the LoRA training wrote",
        )
    if not (is_adapter or has_config):
        checkpoints = sorted(path.name for path in directory.glob("checkpoint-*"))
        hint = f"did you mean one of {', '.join(checkpoints)} in it?" if checkpoints else None
        raise SourceError(f"{directory}: has no {_CONFIG[kind]}", hint=hint)


def _input_files(directory: Path) -> Iterator[Path]:
    yield from weight_files(directory) if has_safetensors(directory) else pickle_files(directory)
    for file in {file for pattern in _FILES for file in directory.glob(pattern)}:
        inside = file.relative_to(directory)
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if file.is_file() and not is_hidden and not _NOT_INPUT.fullmatch(file.name):
            yield file


def _modules(headers: Mapping[str, TensorHeader]) -> dict[str, TensorHeader | None]:
    """Each module of the base, by its whole name and by its tail, with its weight's header.

    The header is None for a container of modules, and for a tail that several modules share.
    """
    modules: dict[str, TensorHeader | None] = {}
    for name in headers:
        parts = name.split(".")[:-1]
        modules |= {".".join(parts[:end]): None for end in range(1, len(parts) + 1)}
    weights = {
        name.removesuffix(".weight"): header
        for name, header in headers.items()
        if name.endswith(".weight")
    }
    tails: dict[str, TensorHeader | None] = {}
    for name, header in weights.items():
        tail = _tail(name)
        tails[tail] = None if tail in tails else header
    return modules | tails | weights


def _tail(module: str) -> str:
    """A module's name from its numbered layer on: what renaming on load leaves alone."""
    numbered = re.search(r"\w+\.\d+\..+", module)
    return numbered[0] if numbered else module


def _find_module(tensor: str, modules: Mapping[str, TensorHeader | None]) -> str | None:
    """The module of the base that a tensor of an adapter belongs to, None where there is none."""
    path = tensor.removeprefix("base_model.model.")
    module, *inside = _INSIDE.split(path, maxsplit=1)
    if inside:
        return next((name for name in (module, _tail(module)) if name in modules), None)
    outer = (path.rsplit(".", depth)[0] for depth in (1, 2))
    names = (name for module in outer for name in (module, _tail(module)))
    return next((name for name in names if modules.get(name) is not None), None)


def _check_shape(
    adapter: Source, tensor: TensorHeader, weight: TensorHeader | None, config: Mapping[str, Any]
) -> None:
    if weight is None or weight.dtype not in _FLOATS or len(weight.shape) != _MATRIX:
        return
    if _LORA.fullmatch(tensor.name) and len(tensor.shape) == _MATRIX:
        side = 0 if _LORA_B.fullmatch(tensor.name) else 1
        fits = tensor.shape[side] in weight.shape  # GPT-2 stores its matrices transposed
    else:
        fits = _WHOLE.sub(r"\1", tensor.name) != weight.name or tensor.shape == weight.shape
    if not fits:
        raise SourceError(
            f"adapter {adapter.given}: {tensor.name} has shape {list(tensor.shape)}, "
            f"which does not fit {weight.name} with shape {list(weight.shape)} in the base",
            hint=_other_base(config),
        )


def _other_base(config: Mapping[str, Any]) -> str:
    trained_on = config.get("base_model_name_or_path")
    return f"adapter made for another base? it names {trained_on}"


def _check_does_something(adapter: Source, tensors: Mapping[str, TensorHeader]) -> None:
    if not tensors or not all(_LORA.fullmatch(name) for name in tensors):
        return
    if all(_is_zero(tensor) for name, tensor in tensors.items() if _LORA_B.fullmatch(name)):
        raise SourceError(
            f"adapter {adapter.given} changes nothing: every lora_B is zero",
            hint="was it saved before training, or trained with a learning rate of 0?",
        )


def _is_zero(tensor: TensorHeader) -> bool:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.size_bytes
        while left > 0:
            chunk = file.read(min(left, _CHUNK_BYTES))
            if chunk.strip(b"\0"):
                return False
            left -= len(chunk)
    return True
