"""What is bitsandbytes' own; what all quantized checkpoints share: test_quantized_checkpoints."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from builders import opened, pico_adapter, pico_base
from safetensors.torch import load_file, save_file
from test_backend_hf_4bit import gpt2_base

from gate.backends.hf import open_model
from gate.engines.interface import ScoreRow
from gate.errors import ConfigError, SourceError, StageError
from gate.nf4 import find_packed, unpack
from gate.quantizers import bitsandbytes
from gate.tensors import open_tensors
from gate.terms import LocalAdapter

IDS = (5, 9, 31, 40, 12, 7, 99, 150, 3)
UP = "model.layers.0.mlp.up_proj.weight"

needs_it = [
    pytest.mark.bitsandbytes,
    pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes"),
]
pytestmark = needs_it


@pytest.fixture(scope="module")
def nf4(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("nf4") / "nf4"
    bitsandbytes.quantize(base, out, type="nf4")
    return out


def likelihoods(model, adapters=(), **options):
    here = [LocalAdapter(name="a", path=path) for path in adapters]
    with opened(open_model(model, here, device="cpu", **options)) as engine:
        rows = [ScoreRow(IDS[:end], ((IDS[end],),)) for end in range(1, len(IDS))]
        return [found.loglikelihood for (found,) in engine.score(rows)]


@pytest.mark.parametrize(("double_quant", "bits"), [(True, 4.127), (False, 4.5)])
def test_scales_in_8_bits_save_a_third_of_a_bit(tmp_path, double_quant, bits):
    base = pico_base(tmp_path / "base", hidden_size=256)
    bitsandbytes.quantize(base, tmp_path / "out", type="nf4", double_quant=double_quant)
    headers = open_tensors(tmp_path / "out", allow_pickle=False).headers
    stored = sum(headers[UP + end].size_bytes for end in ("", ".absmax"))
    nested = headers.get(f"{UP}.nested_absmax")
    stored += nested.size_bytes if nested else 0
    assert 8 * stored / (256 * 512) == pytest.approx(bits, abs=0.001)


def test_int8_has_no_scales_to_quantize_again(base, tmp_path):
    with pytest.raises(ConfigError, match="double_quant: false is for nf4") as caught:
        bitsandbytes.quantize(base, tmp_path / "out", type="int8", double_quant=False)
    assert caught.value.hint == "leave double_quant out"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_it_computes_in_the_type_of_the_checkpoint(tmp_path, dtype):
    base = pico_base(tmp_path / "base", dtype=dtype)
    bitsandbytes.quantize(base, tmp_path / "out", type="nf4")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["bnb_4bit_compute_dtype"] == dtype


def test_its_kernels_answer_nearly_as_the_values_that_they_stand_for(nf4):
    found = likelihoods(nf4)
    assert found == pytest.approx(likelihoods(nf4, base_precision="nf4"), abs=0.2)


def test_an_adapter_stands_on_the_values_as_for_qlora(base, nf4, tmp_path):
    adapter = pico_adapter(base, tmp_path / "adapter")
    plain = Path(shutil.copytree(base, tmp_path / "plain"))
    tensors = load_file(plain / "model.safetensors")
    packed = find_packed(open_tensors(nf4, allow_pickle=False))
    tensors |= {name: unpack(one) for name, one in packed.items()}
    save_file(tensors, plain / "model.safetensors", metadata={"format": "pt"})
    assert likelihoods(nf4, [adapter]) == likelihoods(plain, [adapter])


def test_rows_that_are_not_whole_blocks_are_refused_by_name(tmp_path):
    base = pico_base(tmp_path / "base", hidden_size=96)
    with pytest.raises(StageError, match=r"layers\.0\.self_attn\.q_proj has rows of 96") as caught:
        bitsandbytes.quantize(base, tmp_path / "out", type="nf4")
    assert "not whole blocks of 64: bitsandbytes would take wrong scales" in caught.value.problem
    assert caught.value.hint == "take int8; or run it on a GPU, or with base_precision: nf4"
    assert not (tmp_path / "out").exists()


def test_int8_takes_rows_of_any_width(tmp_path):
    base = pico_base(tmp_path / "base", hidden_size=88)
    bitsandbytes.quantize(base, tmp_path / "out", type="int8")
    found = torch.tensor(likelihoods(tmp_path / "out"))
    assert (found - torch.tensor(likelihoods(base))).abs().mean() < 0.2


def test_a_number_of_rows_that_its_fast_kernel_cannot_take_is_served(tmp_path):
    base = pico_base(tmp_path / "base", num_key_value_heads=1)  # keys and values of 16 rows
    bitsandbytes.quantize(base, tmp_path / "out", type="nf4")
    found = likelihoods(tmp_path / "out")
    assert found == pytest.approx(likelihoods(tmp_path / "out", base_precision="nf4"), abs=0.2)


def test_a_packed_checkpoint_that_lacks_a_scale_is_refused(nf4, tmp_path):
    out = Path(shutil.copytree(nf4, tmp_path / "out"))
    tensors = load_file(out / "model.safetensors")
    del tensors[f"{UP}.absmax"]
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"up_proj\.weight: a 4-bit weight of shape"):
        likelihoods(out)


def test_layers_that_it_would_transpose_are_refused_by_name(tmp_path):
    base = gpt2_base(tmp_path / "base")
    with pytest.raises(StageError, match=r"h\.0\.attn\.c_attn is a Conv1D, which") as caught:
        bitsandbytes.quantize(base, tmp_path / "out", type="int8")
    assert caught.value.hint == "quantize it with gguf"


def test_int8_does_not_warn_at_every_product(base, tmp_path, caplog, recwarn):
    bitsandbytes.quantize(base, tmp_path / "out", type="int8")
    likelihoods(tmp_path / "out")
    assert not [line for line in caplog.messages if "MatMul8bitLt" in line]
    assert not [one for one in recwarn if "MatMul8bitLt" in str(one.message)]
