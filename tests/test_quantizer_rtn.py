import shutil
from pathlib import Path

import pytest
import torch
from builders import pico_base
from safetensors.torch import load_file, save_file

from gate.checkpoints import read_headers
from gate.digest import digest_tree
from gate.errors import ConfigError, SourceError, StageError
from gate.quantizers import rtn
from gate.records import Fallback


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


def is_linear(name):
    return "layers" in name and "norm" not in name


def round_trip(base, out, **options):
    rtn.quantize(base, out, **options)
    return load_file(base / "model.safetensors"), load_file(out / "model.safetensors")


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_rtn_errs_by_at_most_half_a_step(base, tmp_path, bits):
    before, after = round_trip(base, tmp_path / "out", bits=bits, group_size=32)
    for name in filter(is_linear, before):
        groups, rounded = before[name].reshape(-1, 32), after[name].reshape(-1, 32)
        step = (groups.amax(1) - groups.amin(1)) / (2**bits - 1)
        float16_error = 2e-3 * groups.abs().amax(1)
        worst = (groups - rounded).abs().amax(1)
        assert bool((worst <= step / 2 + float16_error).all())


@pytest.mark.parametrize("bits", [1, 4])
def test_rtn_leaves_no_more_levels_than_its_bits(base, tmp_path, bits):
    _, after = round_trip(base, tmp_path / "out", bits=bits)
    for name in filter(is_linear, after):
        for group in after[name].reshape(-1, 64)[:50]:
            assert len(group.unique()) <= 2**bits


def test_rtn_leaves_embeddings_and_norms_alone(base, tmp_path):
    before, after = round_trip(base, tmp_path / "out", bits=4)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(filter(is_linear, before))


def test_rtn_leaves_lm_head_alone(tmp_path):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False)
    before, after = round_trip(base, tmp_path / "out", bits=4)
    assert torch.equal(before["lm_head.weight"], after["lm_head.weight"])


def test_rtn_keeps_a_constant_group(model, tmp_path):
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(model / "model.safetensors")
    tensors[name] = torch.full_like(tensors[name], 0.25)
    save_file(tensors, model / "model.safetensors")
    _, after = round_trip(model, tmp_path / "out", bits=4)
    assert bool((after[name] == 0.25).all())


def test_rtn_gives_the_same_bytes_twice(base, tmp_path):
    round_trip(base, tmp_path / "one", bits=4)
    round_trip(base, tmp_path / "two", bits=4)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")


def test_rtn_keeps_every_other_file(base, tmp_path):
    round_trip(base, tmp_path / "out", bits=4)
    given, made = digest_tree(base), digest_tree(tmp_path / "out")
    assert {name for name in given if given[name] != made.get(name)} == {"model.safetensors"}
    assert given.keys() == made.keys()


def test_rtn_keeps_who_may_read_the_weights(model, tmp_path):
    (model / "model.safetensors").chmod(0o640)
    rtn.quantize(model, tmp_path / "out", bits=4)
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode & 0o777 == 0o640


def test_rtn_keeps_shards_and_types(tmp_path):
    from transformers import AutoModelForCausalLM

    whole = pico_base(tmp_path / "whole", dtype="bfloat16")
    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(whole, dtype="auto").save_pretrained(
        sharded, max_shard_size="100KB"
    )
    rtn.quantize(sharded, tmp_path / "out", bits=4)
    before, after = read_headers(sharded), read_headers(tmp_path / "out")
    assert {n: (h.dtype, h.file.name) for n, h in before.items()} == {
        n: (h.dtype, h.file.name) for n, h in after.items()
    }
    assert len({header.file for header in after.values()}) > 1


def test_rtn_reports_packed_bytes(base, tmp_path):
    report = rtn.quantize(base, tmp_path / "out", bits=4, group_size=64)
    tensors = load_file(base / "model.safetensors")
    linear = sum(tensor.numel() for name, tensor in tensors.items() if is_linear(name))
    rest = sum(tensor.numel() for tensor in tensors.values()) - linear
    assert report.parameters == linear + rest
    assert report.weight_bytes == linear * (4 + 32 / 64) / 8 + rest * 4


def test_rtn_says_that_it_is_a_simulation(base, tmp_path):
    report = rtn.quantize(base, tmp_path / "out", bits=4)
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("simulated 4-bit round-to-nearest in groups of 64")


def test_rtn_warns_of_few_bits(base, tmp_path):
    report = rtn.quantize(base, tmp_path / "out", bits=3)
    assert "below what models of this kind usually survive" in report.warnings[1]
    assert "8 levels" in report.warnings[1]


def test_rtn_reports_packed_experts_as_not_quantized(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    save_file(tensors | {"experts.weight": torch.ones(2, 4, 64)}, model / "model.safetensors")
    report = rtn.quantize(model, tmp_path / "out", bits=4)
    assert report.fallbacks == (Fallback(tensor="experts.weight", asked="rtn 4-bit", got="F32"),)


def test_rtn_refuses_a_group_size_that_does_not_divide(base, tmp_path):
    with pytest.raises(ConfigError, match="48 does not divide the width 128 of model") as caught:
        rtn.quantize(base, tmp_path / "out", bits=4, group_size=48)
    assert "layers.0.mlp.down_proj.weight" in caught.value.problem
    assert caught.value.hint == "these divide every width of this model: 2, 4, 8, 16, 32, 64"
    assert not (tmp_path / "out").exists()


def test_rtn_refuses_a_group_size_below_one(base, tmp_path):
    with pytest.raises(ConfigError, match="0 is not 1 or more"):
        rtn.quantize(base, tmp_path / "out", bits=4, group_size=0)


@pytest.mark.parametrize("bits", [0, 9])
def test_rtn_refuses_bits_out_of_range(base, tmp_path, bits):
    with pytest.raises(ConfigError, match=f"bits: {bits} is not in 1 to 8"):
        rtn.quantize(base, tmp_path / "out", bits=bits)


def test_rtn_refuses_a_checkpoint_without_linear_weights(model, tmp_path):
    save_file({"norm.weight": torch.ones(4)}, model / "model.safetensors")
    with pytest.raises(StageError, match="rtn finds no linear weight to quantize"):
        rtn.quantize(model, tmp_path / "out", bits=4)


def test_rtn_refuses_what_float16_cannot_scale(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e30
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(StageError, match="a group's scale or minimum is beyond float16"):
        rtn.quantize(model, tmp_path / "out", bits=4)


def test_rtn_refuses_code_of_its_own(model, tmp_path):
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "odd.Odd"}}')
    with pytest.raises(SourceError, match="wants to run code of its own"):
        rtn.quantize(model, tmp_path / "out", bits=4)
