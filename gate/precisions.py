"""Which merge of a QLoRA adapter answers as the adapter does on its 4-bit base."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.engines.hf_models import Device, Dtype, LoadedModel, load_adapted
from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS_AT_ONCE = 64  # a row of the vocabulary each, in float32


class Precisions(NamedTuple):
    """How far each candidate's next-token distribution is from the reference's.

    Attributes:
        divergences: {candidate: mean of KL(reference || candidate), in nats per token}; at least
            0 but for rounding.
        tokens: how many distributions each mean is over.
    """

    divergences: dict[str, float]
    tokens: int

    @property
    def closest(self) -> str:
        """The candidate with the smallest divergence; the first one of equals."""
        return min(self.divergences, key=self.divergences.__getitem__)


def closest_precision(
    base: Path,
    adapters: Sequence[LocalAdapter],
    candidates: Mapping[str, Path],
    texts: Sequence[str],
    *,
    double_quant: bool = True,
    window: int = 512,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
) -> Precisions:
    """Compare merged checkpoints with the adapters on their base in NF4, token by token.

    One model is in memory at a time; the reference's logits wait in a temporary directory, which
    takes as many numbers as there are tokens times entries in the vocabulary.

    Args:
        base: the base model, in 16 bits or as a 4-bit checkpoint of bitsandbytes.
        adapters: the adapters that were merged.
        candidates: {name: merged checkpoint}.
        texts: what the models read; each is cut into windows.
        double_quant: whether the base's 4-bit scales are put into 8 bits.
        window: how many tokens a model sees at most.
        trust_remote_code: run Python files that a checkpoint brings.
        allow_pickle: read weights from .bin files.
        dtype: the type to compute in; auto is the one each checkpoint is stored in.
        device: where to compute; auto is cuda where there is one.

    Raises:
        ConfigError: no candidate, or texts without a token.
        StageError: a model cannot be loaded, has another vocabulary, or gives logits that are not
            finite.
    """
    if not candidates:
        raise ConfigError("no candidate to compare with the adapter on its 4-bit base")
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "allow_pickle": allow_pickle,
        "dtype": dtype,
        "device": device,
    }
    with TemporaryDirectory() as directory:
        opened = load_adapted(
            base, adapters, base_precision="nf4", double_quant=double_quant, **options
        )
        reference = _save_logits(opened, texts, window, Path(directory))
        del opened  # one model at a time
        divergences = {
            name: _divergence(name, load_adapted(path, (), **options).model, reference)
            for name, path in candidates.items()
        }
    return Precisions(divergences, sum(len(line.ids) for line in reference))


class _Line(NamedTuple):
    """A window of a text, and the file with the reference's logits for it."""

    ids: list[int]
    logits: Path


def _save_logits(
    opened: LoadedModel, texts: Sequence[str], window: int, directory: Path
) -> list[_Line]:
    import torch

    lines = []
    for number, ids in enumerate(_windows(opened.tokenizer, texts, window)):
        lines.append(_Line(ids, directory / f"{number}.pt"))
        torch.save(_logits(opened.model, ids), lines[-1].logits)
    if not lines:
        raise ConfigError("the texts to compare precisions on have no token")
    return lines


def _windows(tokenizer: Any, texts: Sequence[str], window: int) -> Iterator[list[int]]:
    begin = tokenizer.bos_token
    for text in texts:
        has_begin = begin is not None and text.startswith(begin)  # a chat template wrote it
        ids = tokenizer.encode(text, add_special_tokens=not has_begin)
        for start in range(0, len(ids), window):
            yield ids[start : start + window]


def _logits(model: Any, ids: list[int]) -> "Tensor":
    """One line of logits a token, on the CPU."""
    import torch

    with torch.inference_mode():
        logits: Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0]
    return logits.cpu()


def _divergence(name: str, model: Any, reference: Sequence[_Line]) -> float:
    import torch

    total = 0.0
    for line in reference:
        expected, found = torch.load(line.logits, mmap=True), _logits(model, line.ids)
        if expected.shape != found.shape:
            raise StageError(
                f"{name}: its vocabulary has {found.shape[1]} entries, that of the adapter on its "
                f"base {expected.shape[1]}",
                hint="compare merges of the same base and adapters",
            )
        blocks = zip(expected.split(_TOKENS_AT_ONCE), found.split(_TOKENS_AT_ONCE), strict=True)
        total += sum(_summed_divergence(*block) for block in blocks)
    if not isfinite(total):
        raise StageError(
            f"{name}: its divergence from the adapter on its 4-bit base is not finite",
            hint="the weights hold NaN or infinity, or overflow in this dtype",
        )
    return total / sum(len(line.ids) for line in reference)


def _summed_divergence(expected: "Tensor", found: "Tensor") -> float:
    """KL(expected || found) in nats, summed over tokens; one line of logits a token in each."""
    import torch

    likely = torch.log_softmax(expected.float(), dim=-1)
    divergence = likely.exp() * (likely - torch.log_softmax(found.float(), dim=-1))
    return float(divergence.double().sum())
