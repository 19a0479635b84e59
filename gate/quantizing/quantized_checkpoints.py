"""A checkpoint quantized by transformers while it loads it, and written so that it loads again."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gate.checkpoints import (
    TensorHeader,
    check_code,
    copy_sidecars,
    measure,
    read_headers,
    read_json,
    weight_files,
)
from gate.engines.hf_models import load_quantized, quantization
from gate.errors import StageError
from gate.records import Fallback, WeightReport
from gate.tensors import FLOATS

_MATRIX = 2
_LEFT_ALONE = ("embed", "lm_head", "wte", "wpe", "norm")
_LENGTH_BYTES = 8


def write_quantized(
    model: Path, out: Path, settings: Any, *, asked: str, trust_remote_code: bool
) -> WeightReport:
    """Write a checkpoint with its linear layers quantized, which transformers loads as it is.

    The output layer and what is tied to it, embeddings and norms are left as they are; so are the
    configuration, save for its quantization_config, and every file beside it. The same model gives
    the same bytes.

    Args:
        model: the checkpoint's directory.
        out: the directory to write.
        settings: a quantization config of transformers.
        asked: the quantizer and its type, for messages: bitsandbytes nf4.
        trust_remote_code: let the checkpoint run Python code of its own.

    Returns:
        The report, with each matrix that the format has no place for.

    Raises:
        SourceError: the checkpoint is not whole, or asks for code that is not allowed.
        StageError: it is quantized already, cannot be loaded, or has no linear layer; or layers
            that would be stored in another layout.
    """
    from transformers.utils import logging

    check_code(model, trust_remote_code=trust_remote_code)
    logging.disable_progress_bar()
    before = read_headers(model)
    if method := quantization(model).get("quant_method"):
        raise StageError(
            f"{model}: is quantized already, by {method}", hint="give the 16-bit checkpoint"
        )
    loaded = load_quantized(
        model,
        dtype="auto",
        device="cpu",
        trust_remote_code=trust_remote_code,
        allow_pickle=False,
        settings=settings,
    )
    _check_layout(model, loaded, asked)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        loaded.save_pretrained(scratch)
        _take_weights(Path(scratch), out)
        saved = read_json(Path(scratch) / "config.json")
    config = read_json(model / "config.json")
    config["quantization_config"] = saved["quantization_config"]
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    copy_sidecars(model, out)
    return _report(model, before, read_headers(out), asked)


def _check_layout(model: Path, loaded: Any, asked: str) -> None:
    from transformers.pytorch_utils import Conv1D

    for name, module in loaded.named_modules():
        if getattr(module, "source_cls", None) is Conv1D:
            raise StageError(
                f"{model}: {name} is a Conv1D, which {asked} turns into a linear layer: it cannot "
                "be laid beside the merged model's",
                hint="quantize it with gguf",
            )


def _take_weights(scratch: Path, out: Path) -> None:
    for file in weight_files(scratch):
        _copy_in_order(file, out / file.name)
    for file in scratch.glob("*.index.json"):
        shutil.copyfile(file, out / file.name)


def _copy_in_order(file: Path, target: Path) -> None:
    """Copy a safetensors file with its metadata sorted: safetensors writes them in any order."""
    with file.open("rb") as opened, target.open("wb") as made:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        header = json.loads(opened.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _LENGTH_BYTES)
        made.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        shutil.copyfileobj(opened, made)


def _report(
    model: Path,
    before: Mapping[str, TensorHeader],
    after: Mapping[str, TensorHeader],
    asked: str,
) -> WeightReport:
    kept = set(_unquantized(before, after))
    if kept == {name for name, header in before.items() if _is_matrix(header)}:
        raise StageError(f"{model}: {asked} finds no linear layer to quantize")
    lost = [name for name in sorted(kept) if not any(word in name for word in _LEFT_ALONE)]
    warning = (
        f"{len(lost)} matrices are no linear layers, which is all that {asked} quantizes: judge "
        "the size by the real bits per weight"
    )
    return WeightReport(
        parameters=measure(before).parameters,
        weight_bytes=measure(after).size_bytes,
        fallbacks=tuple(Fallback(tensor=name, asked=asked, got=after[name].dtype) for name in lost),
        warnings=(warning,) if lost else (),
    )


def _unquantized(
    before: Mapping[str, TensorHeader], after: Mapping[str, TensorHeader]
) -> Iterator[str]:
    """The matrices that are stored as floats still."""
    for name, header in before.items():
        if _is_matrix(header) and name in after and after[name].dtype in FLOATS:
            yield name


def _is_matrix(header: TensorHeader) -> bool:
    return len(header.shape) >= _MATRIX
