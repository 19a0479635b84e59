import json

import pytest
import torch
from builders import pico_adapter, pico_base
from four_bits import packed_base
from test_merger_stream import delta, local, weights_of

from gate.errors import ConfigError
from gate.mergers.stream import merge
from gate.nf4 import Nf4Settings, round_trip

ADAPTED = "model.layers.0.self_attn.q_proj.weight"
NOT_ADAPTED = "model.layers.0.self_attn.k_proj.weight"
SETTINGS = Nf4Settings(double_quant=True, dtype="float32")


def merged(base, adapter, out, **options):
    report = merge(base, [local(adapter)], out, **options)
    return weights_of(out), report


def test_nf4_adds_to_what_four_bits_leave_of_every_quantized_weight(base, adapter, tmp_path):
    after, _ = merged(base, adapter, tmp_path / "out", base_precision="nf4")
    before = weights_of(base)
    wanted = round_trip(before[ADAPTED], SETTINGS).double() + delta(adapter, ADAPTED)
    torch.testing.assert_close(after[ADAPTED].double(), wanted, rtol=1e-6, atol=1e-6)
    assert torch.equal(after[NOT_ADAPTED], round_trip(before[NOT_ADAPTED], SETTINGS))
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(after[name], before[name])


def test_nf4_requantized_puts_the_sum_into_four_bits_again(base, adapter, tmp_path):
    after, report = merged(base, adapter, tmp_path / "out", base_precision="nf4_requantized")
    plain, _ = merged(base, adapter, tmp_path / "plain", base_precision="nf4")
    assert torch.equal(after[ADAPTED], round_trip(plain[ADAPTED], SETTINGS))
    assert torch.equal(after[NOT_ADAPTED], plain[NOT_ADAPTED])
    assert report.kept[ADAPTED] < 0.95


def test_without_double_quantization_the_scales_are_exact(base, adapter, tmp_path):
    after, _ = merged(base, adapter, tmp_path / "out", base_precision="nf4", double_quant=False)
    settings = SETTINGS._replace(double_quant=False)
    assert torch.equal(after[NOT_ADAPTED], round_trip(weights_of(base)[NOT_ADAPTED], settings))


def test_a_four_bit_checkpoint_merges_into_a_sixteen_bit_one(tmp_path):
    from transformers import AutoModelForCausalLM

    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "adapter")
    packed = packed_base(base, tmp_path / "packed")
    after, _ = merged(packed, adapter, tmp_path / "out", base_precision="nf4")
    wanted, _ = merged(base, adapter, tmp_path / "wanted", base_precision="nf4")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "quantization_config" not in config
    assert after.keys() == wanted.keys()
    assert all(torch.equal(after[name], wanted[name]) for name in wanted)
    _, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_a_four_bit_checkpoint_has_no_sixteen_bit_weights(base, adapter, tmp_path):
    packed = packed_base(base, tmp_path / "packed")
    with pytest.raises(ConfigError, match="its 16-bit weights are not there") as caught:
        merged(packed, adapter, tmp_path / "out")
    assert caught.value.hint == ("give base_precision: nf4, or the 16-bit model it was made from")


def write_texts(folder):
    file = folder / "texts.jsonl"
    file.write_text('{"text": "my parcel is late, please cancel the order"}\n' * 2)
    return file


def test_auto_takes_what_is_closest_to_the_adapter_on_its_four_bit_base(base, adapter, tmp_path):
    texts = [str(write_texts(tmp_path))]
    after, report = merged(base, adapter, tmp_path / "out", base_precision="auto", texts=texts)
    wanted, _ = merged(base, adapter, tmp_path / "wanted", base_precision="nf4")
    assert report.base_precision == "nf4"
    assert report.divergences.keys() == {"w16", "nf4", "nf4_requantized"}
    assert (
        report.divergences["nf4"]
        < 1e-6
        < min(report.divergences["w16"], report.divergences["nf4_requantized"])
    )
    assert "base_precision: nf4 is closest to the adapter on its 4-bit base" in report.warnings[-1]
    assert all(torch.equal(after[name], wanted[name]) for name in wanted)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".out")]


def test_auto_needs_texts(base, adapter, tmp_path):
    with pytest.raises(ConfigError, match="the texts to compare precisions on have no token"):
        merged(base, adapter, tmp_path / "out", base_precision="auto")


def test_four_bits_are_for_lora(base, tmp_path):
    other = pico_adapter(base, tmp_path / "olora", init_lora_weights="olora")
    with pytest.raises(ConfigError, match="base_precision nf4 is for LoRA"):
        merged(base, other, tmp_path / "out", base_precision="nf4")
