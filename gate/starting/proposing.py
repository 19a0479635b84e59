"""Which variants a first gate.yaml has: what this machine can make, serve and judge."""

from collections.abc import Sequence
from typing import NamedTuple

from gate.starting.facts import AdapterFacts, BaseFacts
from gate.starting.machine import Machine
from gate.starting.pieces import Piece

_FP8_CAPABILITY = 8.9  # Ada and Hopper are the first with FP8 kernels
_AUTO = "base_precision: auto"
_OVERHEAD = 1.3  # activations and keys and values beside the weights, of short documents


class Proposal(NamedTuple):
    """A variant for gate.yaml.

    Attributes:
        name: in gate.yaml.
        settings: what follows the name there, in YAML.
        why: what it is for.
        needs: the commands that bring what it lacks; None where it can be run.
        is_spare: whether it is left out although it can be run.
    """

    name: str
    settings: str
    why: str
    needs: str | None = None
    is_spare: bool = False

    @property
    def is_active(self) -> bool:
        """Whether gate.yaml has it, and not just a comment of it."""
        return self.needs is None and not self.is_spare


class Proposals(NamedTuple):
    """The variants of a first gate.yaml, and what a user should know of them, in sentences."""

    variants: tuple[Proposal, ...]
    notes: tuple[str, ...]

    @property
    def needs_texts(self) -> bool:
        """Whether the merge compares precisions on the suite's texts."""
        return any(_AUTO in one.settings for one in self.variants)


def propose(
    base: BaseFacts,
    adapters: Sequence[AdapterFacts],
    *,
    machine: Machine,
    pieces: tuple[Piece, ...],
    has_calibration: bool,
    gguf_fault: str | None = None,
) -> Proposals:
    """The line from base to what may ship, for the engines that are here.

    Args:
        base: the base model.
        adapters: the adapters, in order.
        machine: what it runs on.
        pieces: the engines, found or missing.
        has_calibration: whether the suite has inputs for quantizers.
        gguf_fault: why llama.cpp cannot read the base; None where it can, or is not here.
    """
    sign = next((one.qlora for one in adapters if one.qlora), None)
    by_peft = next((one.by_peft for one in adapters if one.by_peft), None)
    merge = _merge(base, sign if by_peft is None else None)
    is_four_bits = merge != "merge: stream"
    live = ", backend: {name: hf, base_precision: nf4}" if is_four_bits else ""
    adapter = live.removeprefix(", ") if live else ""
    variants = [
        Proposal("base", f"{{adapters: []{live}}}", "what training began with"),
        Proposal("adapter", f"{{{adapter}}}", "adapter on base: what was trained and approved"),
        Proposal("merged", f"{{{merge}}}", "one checkpoint, unquantized"),
        *([] if gguf_fault else _for_llama_cpp(merge, pieces, has_calibration=has_calibration)),
        *_for_vllm(merge, machine, pieces, has_calibration=has_calibration),
        *_for_transformers(merge, pieces),
    ]
    notes = [*_of_four_bits(base, sign, by_peft), *_of_several(adapters)]
    if by_peft:
        notes.append(f"the merge goes through peft, which loads the whole model: {by_peft}")
    if gguf_fault:
        notes.append(f"nothing is proposed for llama.cpp: {gguf_fault}")
    return Proposals(tuple(variants), (*notes, *_of_memory(base, machine)))


def _merge(base: BaseFacts, sign: str | None) -> str:
    """The merge of every variant, in YAML: one and the same, so that their lineages meet."""
    if base.is_packed:
        return "merge: {name: stream, base_precision: nf4}"
    return f"merge: {{name: stream, {_AUTO}}}" if sign else "merge: stream"


def _for_llama_cpp(
    merge: str, pieces: tuple[Piece, ...], *, has_calibration: bool
) -> list[Proposal]:
    needs = _lacking(pieces, "llama.cpp")
    q4_k_m = "type: Q4_K_M, imatrix: true" if has_calibration else "type: Q4_K_M"
    return [
        Proposal(
            "q8_0",
            f"{{{merge}, quantize: {{name: gguf, type: Q8_0}}, backend: llamacpp}}",
            "llama.cpp, 8.5 bits a weight",
            needs,
        ),
        Proposal(
            "q4_k_m",
            f"{{{merge}, quantize: {{name: gguf, {q4_k_m}}}, backend: llamacpp}}",
            "llama.cpp, some 5 bits a weight",
            needs,
        ),
    ]


def _for_vllm(
    merge: str, machine: Machine, pieces: tuple[Piece, ...], *, has_calibration: bool
) -> list[Proposal]:
    """FP8 where the GPU computes in it, else 8-bit integers; 4 bits where there is a GPU."""
    needs = _lacking(pieces, "vLLM", "llm-compressor")
    rounded = "" if has_calibration else ", method: rtn"

    def variant(name: str, scheme: str, why: str) -> Proposal:
        quantize = f"quantize: {{name: llmcompressor, scheme: {scheme}}}"
        return Proposal(name, f"{{{merge}, {quantize}, backend: vllm}}", why, needs)

    if any(gpu.capability >= _FP8_CAPABILITY for gpu in machine.gpus):
        eight = variant("fp8", "FP8_DYNAMIC", "vLLM, 8-bit floats")
    else:
        eight = variant("w8a8", f"W8A8{rounded}", "vLLM, 8-bit integers")
    if not machine.gpus:
        return [eight]
    return [eight, variant("w4a16", f"W4A16{rounded}", "vLLM, 4-bit weights")]


def _for_transformers(merge: str, pieces: tuple[Piece, ...]) -> list[Proposal]:
    """For those who serve with transformers: told, and left out."""
    makers = (
        ("nf4", "bitsandbytes", "transformers, 4 bits"),
        ("int8", "torchao", "transformers, 8 bits"),
    )
    return [
        Proposal(
            name,
            f"{{{merge}, quantize: {{name: {maker}, type: {name}}}}}",
            why,
            _lacking(pieces, maker),
            is_spare=True,
        )
        for name, maker, why in makers
    ]


def _lacking(pieces: tuple[Piece, ...], *names: str) -> str | None:
    """The commands that bring what is missing of some pieces; None where all are ready."""
    commands = [one.remedy for one in pieces if one.name in names and one.remedy is not None]
    return "; ".join(commands) or None


def _of_four_bits(base: BaseFacts, sign: str | None, by_peft: str | None) -> list[str]:
    if base.is_packed:
        return [
            "the base is in 4 bits already: what ships is those weights plus the adapter, in 16 "
            "bits; the 16-bit model it was made from may be better"
        ]
    if sign is None or by_peft is not None:
        return []
    return [
        f"trained on a base in 4 bits (QLoRA): {sign}. The adapter is judged on its 4-bit base, "
        "and base_precision: auto measures which weights to add it to"
    ]


def _of_several(adapters: Sequence[AdapterFacts]) -> list[str]:
    if len(adapters) == 1:
        return []
    notes = [
        f"{len(adapters)} adapters are summed; a task that is one adapter's says so with "
        "'reference: adapter:NAME' in the suite"
    ]
    if not all(one.is_delta for one in adapters):
        notes.append(
            "an adapter that is more than a sum of matrices (DoRA, saved modules, biases) cannot "
            "run beside others on the base: gate run will say which"
        )
    return notes


def _of_memory(base: BaseFacts, machine: Machine) -> list[str]:
    """A warning where the base will not fit: transformers loads it whole."""
    if base.size_bytes is None:
        return []
    room = max((gpu.memory_bytes for gpu in machine.gpus), default=machine.memory_bytes)
    if base.size_bytes * _OVERHEAD <= room:
        return []
    where = "of the largest GPU's memory" if machine.gpus else "of memory"
    return [
        f"the weights are {base.size_bytes / 1e9:.1f} GB, and there are {room / 1e9:.1f} GB "
        f"{where}: evaluating base, adapter and merged will likely fail here"
    ]
