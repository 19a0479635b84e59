"""llm-compressor at work on a checkpoint: file by file without data, or on a model that runs."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gate.checkpoints import weight_files
from gate.engines.interface import patient_threads
from gate.quantizing.calibration import CalibrationInput, render_calibration

Method = Literal["rtn", "gptq", "awq"]

_SEED = 0
_FALLBACK_WORDS = "Hessian inversion failed"


class Packing(NamedTuple):
    """What weights become.

    Attributes:
        scheme: llm-compressor's name of a preset.
        group_size: weights that share a scale; None where the preset has none.
        ignore: names of the modules that stay as they are.
        width: the inputs of the widest layer.
    """

    scheme: str
    group_size: int | None
    ignore: tuple[str, ...]
    width: int


class Limits(NamedTuple):
    """How much calibration data is used.

    Attributes:
        samples: the most inputs.
        sequence_length: the most tokens of each.
    """

    samples: int
    sequence_length: int


def compress(
    model: Path,
    out: Path,
    packing: Packing,
    *,
    method: Method,
    inputs: Sequence[CalibrationInput],
    limits: Limits,
    trust_remote_code: bool,
) -> tuple[str, ...]:
    """Write a compressed-tensors checkpoint.

    Args:
        model: the checkpoint's directory.
        out: an empty directory.
        packing: what weights become.
        method: rtn, which rounds each weight to nearest, file by file; or GPTQ (arXiv:2210.17323)
            or AWQ (arXiv:2306.00978), so that it does on the inputs what the model does.
        inputs: what to run the model on, in this order; not used by rtn.
        limits: how much of it.
        trust_remote_code: let the checkpoint run Python code of its own; rtn runs none.

    Returns:
        Warnings for the report.
    """
    with patient_threads():
        from llmcompressor import model_free_ptq, oneshot
    if method == "rtn":
        with _weights_alone(model, out) as source:
            model_free_ptq(source, out, scheme=_scheme(packing), ignore=packing.ignore)
        return ()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(model, **options)
    rows = tokenize(inputs, tokenizer, limits)
    lm = AutoModelForCausalLM.from_pretrained(model, dtype="auto", **options)
    with _collected_warnings() as warnings, _pins_only_for_an_accelerator():
        oneshot(
            model=lm,
            processor=tokenizer,
            recipe=_modifiers(method, packing),
            dataset=_dataset(rows),
            num_calibration_samples=len(rows),
            shuffle_calibration_samples=False,
            trust_remote_code_model=trust_remote_code,
        )
    lm.save_pretrained(out, save_compressed=True)
    return (*_warn_of_few_tokens(rows, packing.width), *warnings)


def tokenize(
    inputs: Sequence[CalibrationInput], tokenizer: Any, limits: Limits
) -> tuple[tuple[int, ...], ...]:
    """The token ids of calibration inputs as the model is given them, in their order.

    Where there are more inputs than the limit, they are a draw that is the same each time.

    Args:
        inputs: conversations, which go through the chat template, and texts.
        tokenizer: a transformers tokenizer.
        limits: the most inputs, and tokens of each.

    Raises:
        StageError: there are conversations, and the tokenizer has no chat template or it fails.
    """
    if len(inputs) > limits.samples:
        places = random.Random(_SEED).sample(range(len(inputs)), limits.samples)
        inputs = [inputs[place] for place in sorted(places)]
    rows = []
    for one, text in zip(inputs, render_calibration(inputs, tokenizer), strict=True):
        is_rendered = one.messages[0][0] != ""  # by a template, which writes special tokens itself
        ids = tokenizer.encode(text, add_special_tokens=not is_rendered)
        rows.append(tuple(ids[: limits.sequence_length]))
    return tuple(rows)


def _scheme(packing: Packing) -> Any:
    from compressed_tensors.quantization import preset_name_to_scheme

    scheme = preset_name_to_scheme(packing.scheme, ["Linear"])
    if packing.group_size is not None:
        scheme.weights.group_size = packing.group_size
    return scheme


def _modifiers(method: Method, packing: Packing) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    settings = {"config_groups": {"group_0": _scheme(packing)}, "ignore": list(packing.ignore)}
    if method == "gptq":
        return [GPTQModifier(**settings)]
    return [AWQModifier(), QuantizationModifier(**settings)]


def _dataset(rows: Sequence[Sequence[int]]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    )


def _warn_of_few_tokens(rows: Sequence[Sequence[int]], width: int) -> tuple[str, ...]:
    tokens = sum(len(row) for row in rows)
    if tokens >= width:
        return ()
    return (
        f"calibrated on {tokens} tokens, fewer than the {width} inputs of the widest layer: what "
        "they do not show, the quantizer cannot weigh",
    )


@contextmanager
def _weights_alone(model: Path, beside: Path) -> Iterator[Path]:
    """A checkpoint as llm-compressor is to see it: it copies whatever else lies there."""
    with tempfile.TemporaryDirectory(dir=beside.parent) as directory:
        for file in (*weight_files(model), *model.glob("*.index.json"), model / "config.json"):
            (Path(directory) / file.name).symlink_to(file.resolve())
        yield Path(directory)


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """What llm-compressor logs of layers where GPTQ fell back to rounding to nearest."""
    from loguru import logger

    found: list[str] = []
    sink = logger.add(
        lambda message: found.append(message.record["message"]),
        filter=lambda record: record["message"].startswith(_FALLBACK_WORDS),
    )
    try:
        yield found
    finally:
        logger.remove(sink)


@contextmanager
def _pins_only_for_an_accelerator() -> Iterator[None]:
    """AWQ pins memory whether or not there is an accelerator, without which torch refuses.

    Since https://github.com/vllm-project/llm-compressor/pull/2813, as of 0.14.0.1.
    """
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    pin_memory = IntermediatesCache.pin_memory
    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_: None
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = pin_memory
