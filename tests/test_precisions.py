import shutil

import pytest
import torch
from builders import pico_base, pico_tokenizer
from four_bits import packed_base
from safetensors.torch import load_file, save_file

from gate.engines.hf_models import load_adapted
from gate.errors import ConfigError, StageError
from gate.nf4 import Nf4Settings, round_trip
from gate.precisions import closest_precision
from gate.terms import LocalAdapter

TEXTS = ["the order is late my parcel where", "capital of red blue green yes no Paris Rome Berlin"]


def merge(base, adapter, out, *, strength=1.0, in_four_bits=False):
    """base + strength * 2 * B @ A in float32: pico adapters have alpha = 2 r."""
    shutil.copytree(base, out)
    tensors, lora = (
        load_file(base / "model.safetensors"),
        load_file(adapter / "adapter_model.safetensors"),
    )
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        if in_four_bits:
            tensors[name] = round_trip(tensors[name], Nf4Settings(dtype="float32"))
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in lora:
            product = lora[f"{stem}.lora_B.weight"] @ lora[f"{stem}.lora_A.weight"]
            tensors[name] = tensors[name] + 2 * strength * product
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def compare(base, adapter, candidates, texts=TEXTS, **options):
    here = [LocalAdapter(name="intents", path=adapter)]
    return closest_precision(base, here, candidates, texts, device="cpu", **options)


def test_the_merge_on_4_bit_weights_is_closest_and_a_stronger_one_farther(base, adapter, tmp_path):
    candidates = {
        "stronger": merge(base, adapter, tmp_path / "c", strength=1.5, in_four_bits=True),
        "w16": merge(base, adapter, tmp_path / "a"),
        "nf4": merge(base, adapter, tmp_path / "b", in_four_bits=True),
    }
    found = compare(base, adapter, candidates)
    assert found.closest == "nf4"
    assert found.divergences["nf4"] == pytest.approx(0, abs=1e-6)
    assert found.divergences["w16"] > 0.001
    assert found.divergences["stronger"] > 0.01
    assert list(found.divergences) == ["stronger", "w16", "nf4"]


def test_the_divergence_is_the_mean_over_tokens_of_the_sum_over_the_vocabulary(
    base, adapter, tmp_path
):
    merged = merge(base, adapter, tmp_path / "merged")
    options = {
        "trust_remote_code": False,
        "allow_pickle": False,
        "dtype": "auto",
        "device": "cpu",
    }
    here = [LocalAdapter(name="intents", path=adapter)]
    reference = load_adapted(base, here, base_precision="nf4", **options)
    candidate = load_adapted(merged, (), **options)
    total, count = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([reference.tokenizer.encode(text)])
        with torch.no_grad():
            p = reference.model(ids).logits[0].double().softmax(-1)
            q = candidate.model(ids).logits[0].double().softmax(-1)
        total += float((p * (p / q).log()).sum())
        count += ids.shape[1]
    found = compare(base, adapter, {"w16": merged})
    assert found.tokens == count
    assert found.divergences["w16"] == pytest.approx(total / count, rel=1e-4)


def test_blocks_of_tokens_change_nothing_and_windows_cut_texts(
    base, adapter, tmp_path, monkeypatch
):
    candidates = {"w16": merge(base, adapter, tmp_path / "merged")}
    whole = compare(base, adapter, candidates)
    monkeypatch.setattr("gate.precisions._TOKENS_AT_ONCE", 3)
    assert compare(base, adapter, candidates).divergences == pytest.approx(whole.divergences)
    cut = compare(base, adapter, candidates, window=4)
    assert cut.tokens == whole.tokens
    assert cut.divergences != pytest.approx(whole.divergences)


def test_a_packed_base_is_a_reference_too(base, adapter, tmp_path):
    merged = merge(base, adapter, tmp_path / "merged", in_four_bits=True)
    packed = packed_base(base, tmp_path / "packed")
    found = compare(packed, adapter, {"nf4": merged})
    assert found.divergences["nf4"] == pytest.approx(0, abs=1e-4)


def test_the_base_is_opened_with_the_scales_it_was_trained_with(base, adapter, tmp_path):
    candidates = {"nf4": merge(base, adapter, tmp_path / "merged", in_four_bits=True)}
    found = compare(base, adapter, candidates, double_quant=False)
    assert found.divergences["nf4"] > 1e-5


def test_no_candidate_is_refused(base, adapter):
    with pytest.raises(ConfigError) as caught:
        compare(base, adapter, {})
    assert caught.value.problem == "no candidate to compare with the adapter on its 4-bit base"


@pytest.mark.parametrize("texts", [[], [""]])
def test_texts_without_a_token_are_refused(base, adapter, texts):
    with pytest.raises(ConfigError) as caught:
        compare(base, adapter, {"base": base}, texts)
    assert caught.value.problem == "the texts to compare precisions on have no token"


def test_another_vocabulary_is_refused(base, adapter, tmp_path):
    tokenizer = pico_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens(["<|extra|>"])
    other = pico_base(tmp_path / "other", tokenizer=tokenizer)
    with pytest.raises(StageError) as caught:
        compare(base, adapter, {"other": other})
    assert caught.value.problem == (
        f"other: its vocabulary has {rows + 1} entries, that of the adapter on its base {rows}"
    )


def test_logits_that_are_not_finite_are_refused(base, adapter, tmp_path):
    merged = merge(base, adapter, tmp_path / "merged")
    tensors = load_file(merged / "model.safetensors")
    tensors["model.norm.weight"][0] = torch.nan
    save_file(tensors, merged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError) as caught:
        compare(base, adapter, {"w16": merged})
    assert caught.value.problem == (
        "w16: its divergence from the adapter on its 4-bit base is not finite"
    )
