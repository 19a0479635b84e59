"""The audit of adapters that are no plain LoRA: against what peft makes of them in float32."""

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gate.audit_records import Audit, TensorAudit, TensorOutcome
from gate.auditing.changes import matrix_view, row_blocks
from gate.auditing.matching import match
from gate.checkpoints import measure, read_headers
from gate.errors import ConfigError
from gate.tensors import open_tensors
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor

_FLOAT32_BYTES = 4
_ROOM = 1.3
_UNITS = 2
_FLOAT32_ERROR = 2.0**-16


class Kind(NamedTuple):
    """An adapter and what makes its arithmetic another than base + s*B*A."""

    adapter: LocalAdapter
    name: str


def audit_with_peft(base: Path, kind: Kind, merged: Path, *, trust_remote_code: bool) -> Audit:
    """Load the base in float32, merge with peft, and compare each tensor with the file.

    Elements may be off by two units in the last place of the largest of the expected value, the
    change and the row's root mean square, because such adapters multiply whole rows.

    Args:
        base: the base model's directory.
        kind: the adapter.
        merged: the directory of the merge.
        trust_remote_code: let the base model run Python code of its own.

    Raises:
        ConfigError: not enough memory for that, or peft cannot merge the adapter.
    """
    needed = int(measure(read_headers(base)).parameters * _FLOAT32_BYTES * _ROOM)
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        raise ConfigError(
            f"adapter {kind.adapter.name}: {kind.name} can only be audited with the base model in "
            f"memory in float32: {needed} bytes, of which {available} are free",
            hint="audit it on a machine with more memory",
        )
    with tempfile.TemporaryDirectory(prefix="gate-audit-") as directory:
        _merge(base, kind, Path(directory), trust_remote_code)
        return _compare(base, kind, merged, Path(directory))


def _merge(base: Path, kind: Kind, out: Path, trust_remote_code: bool) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = AutoModelForCausalLM.from_pretrained(
                base, dtype=torch.float32, trust_remote_code=trust_remote_code
            )
            peft_model = PeftModel.from_pretrained(model, str(kind.adapter.path))
            # from_pretrained does not say what was left over: loading again does
            loaded = peft_model.load_adapter(str(kind.adapter.path), "default")
            _check_loaded(kind, loaded.unexpected_keys, loaded.missing_keys)
            peft_model.merge_and_unload().save_pretrained(out)
    except (RuntimeError, ValueError, KeyError, NotImplementedError, AttributeError) as error:
        raise ConfigError(
            f"adapter {kind.adapter.name}: peft cannot merge {kind.name}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _check_loaded(kind: Kind, unexpected: list[str], missing: list[str]) -> None:
    for keys, problem in (
        (unexpected, "has no place in the base model"),
        (missing, "is missing from its file"),
    ):
        if keys:
            raise ConfigError(
                f"adapter {kind.adapter.name}: {min(keys)} {problem}",
                hint="was it trained on this base model, and saved whole?",
            )


def _compare(base: Path, kind: Kind, merged: Path, directory: Path) -> Audit:
    expected, found = _views(directory), _views(merged)
    before = _views(base)
    same = match(expected, found, None)
    tensors = [
        _look(name, expected[name], tensor, before.get(name)) for name, tensor in same.found.items()
    ]
    tensors += [TensorAudit(tensor=name, outcome="missing") for name in same.missing]
    tensors += [TensorAudit(tensor=name, outcome="extra") for name in same.extra]
    return Audit(
        tensors=tuple(tensors),
        warnings=(
            f"adapter {kind.adapter.name} is {kind.name}: it was compared with what peft makes of "
            "it in float32, which loads the whole model",
        ),
    )


def _look(name: str, expected: "Tensor", found: "Tensor", before: "Tensor | None") -> TensorAudit:
    if expected.shape != found.shape:
        note = f"its shape is {tuple(found.shape)}, and should be {tuple(expected.shape)}"
        return TensorAudit(tensor=name, outcome="wrong", note=note)
    ground = before if before is not None and before.shape == expected.shape else None
    total = [0.0, 0.0, 0.0]
    differing = beyond = 0
    for value, there, base in _blocks(expected, found, ground):
        change = value - base
        differing += int((value.to(there.dtype) != there).sum())
        off = (there.double() - value).abs()
        beyond += int((~(off <= _allowed(value, change, there))).sum())
        total[0] += float(base.square().sum())
        total[1] += float(change.square().sum())
        total[2] += float(off.square().sum())
    outcome: TensorOutcome = "wrong" if beyond else "rounding" if differing else "exact"
    return TensorAudit(
        tensor=name,
        outcome=outcome,
        delta_share=(total[1] / total[0]) ** 0.5 if total[0] and total[1] else None,
        kept_share=1 - (total[2] / total[1]) ** 0.5 if total[1] else None,
        differing=differing,
        note=f"{beyond} of {expected.numel()} elements differ" if beyond else "",
    )


def _blocks(
    expected: "Tensor", found: "Tensor", base: "Tensor | None"
) -> "Iterator[tuple[Tensor, Tensor, Tensor]]":
    value, there = matrix_view(expected), matrix_view(found)
    ground = value if base is None else matrix_view(base)
    for start, stop in row_blocks(*value.shape):
        yield (
            value[start:stop].double(),
            there[start:stop],
            ground[start:stop].double(),
        )


def _allowed(value: "Tensor", change: "Tensor", found: "Tensor") -> "Tensor":
    import torch

    spread = value.square().mean(1, keepdim=True).sqrt()
    largest = torch.maximum(torch.maximum(value.abs(), change.abs()), spread)
    unit = max(torch.finfo(found.dtype).eps, _FLOAT32_ERROR / _UNITS)
    return largest * unit * _UNITS


def _views(directory: Path) -> "Mapping[str, Tensor]":
    return open_tensors(directory, allow_pickle=False).views
