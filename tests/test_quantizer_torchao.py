"""What is torchao's own; what all quantized checkpoints share: test_quantized_checkpoints."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_backend_hf_4bit import gpt2_base

from gate.auditing.quantized import audit_quantized
from gate.errors import SourceError, StageError
from gate.quantizers import torchao

MODULE = "model.layers.0.mlp.up_proj"

pytestmark = [
    pytest.mark.torchao,
    pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao"),
]


@pytest.fixture(scope="module", params=["int8", "fp8"])
def quantized(request, base, tmp_path_factory):
    out = tmp_path_factory.mktemp("torchao") / request.param
    torchao.quantize(base, out, type=request.param)
    return out


@pytest.fixture
def copy(quantized, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(quantized, tmp_path / "copy"))


def told(file):
    with safe_open(file, framework="pt") as opened:
        return opened.metadata()


def edit(directory, change, **metadata):
    file = directory / "model.safetensors"
    tensors, known = load_file(file), told(file)
    change(tensors)
    save_file(tensors, file, metadata=known | metadata)


def test_no_pickle_is_written(quantized):
    assert {file.suffix for file in quantized.iterdir()} <= {".json", ".jinja", ".safetensors"}


def test_what_it_says_of_its_tensors_is_in_order(quantized):
    text = (quantized / "model.safetensors").read_bytes()
    header = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])
    assert list(header["__metadata__"]) == sorted(header["__metadata__"])


def test_its_weights_are_as_torchao_dequantizes_them(quantized):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(quantized)
    weight = model.get_submodule(MODULE).weight
    parts = load_file(quantized / "model.safetensors")
    by_hand = parts[f"{MODULE}._weight_qdata"].float() * parts[f"{MODULE}._weight_scale"]
    assert torch.equal(weight.dequantize().float(), by_hand)


def test_a_model_without_linear_layers_is_refused(tmp_path):
    base = gpt2_base(tmp_path / "base")
    with pytest.raises(StageError, match="torchao int8 finds no linear layer to quantize"):
        torchao.quantize(base, tmp_path / "out", type="int8")


def test_the_audit_refuses_a_weight_without_its_scale(base, copy):
    edit(copy, lambda tensors: tensors.pop(f"{MODULE}._weight_scale"))
    with pytest.raises(SourceError, match=r"up_proj: has _weight_\w+ but no _weight_scale"):
        audit_quantized(base, copy, base=base)


def test_the_audit_refuses_a_scale_that_fits_no_weights(base, copy):
    name = f"{MODULE}._weight_scale"
    edit(copy, lambda tensors: tensors.update({name: tensors[name][:7].clone()}))
    with pytest.raises(SourceError, match=r"a scale of shape \(7, 1\) does not fit weights"):
        audit_quantized(base, copy, base=base)


@pytest.mark.parametrize("kind", ["Int4Tensor", "Tensor"])
def test_the_audit_refuses_what_torchao_would_read_in_another_way(base, copy, kind):
    edit(copy, lambda _: None, **{f"{MODULE}.weight": json.dumps({"_type": kind})})
    with pytest.raises(SourceError, match=rf"cannot be audited \({kind}\)") as caught:
        audit_quantized(base, copy, base=base)
    assert caught.value.hint == (
        "these can: int8 and fp8 weights, with a scale for each row, group or tensor"
    )


def test_the_audit_refuses_words_it_cannot_read(base, copy):
    edit(copy, lambda _: None, **{f"{MODULE}.weight": "odd"})
    with pytest.raises(SourceError, match="what torchao says of it cannot be read: odd"):
        audit_quantized(base, copy, base=base)


def test_the_audit_refuses_other_codes(base, copy):
    name = f"{MODULE}._weight_qdata"
    edit(copy, lambda tensors: tensors.update({name: tensors[name].view(torch.uint8).clone()}))
    with pytest.raises(SourceError, match="packed in a way of torchao that cannot be audited"):
        audit_quantized(base, copy, base=base)
