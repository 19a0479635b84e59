import shutil

import pytest
import torch
from builders import opened, pico_adapter, pico_base, pico_tokenizer
from four_bits import packed_base
from safetensors.torch import load_file, save_file

from gate.backends.hf import open_model
from gate.engines.interface import PromptRow, ScoreRow
from gate.errors import SourceError
from gate.nf4 import Nf4Settings, round_trip
from gate.terms import LocalAdapter

IDS = (5, 9, 31, 40, 12, 7, 99, 150, 3)


def open_here(weights, adapters=(), **options):
    here = [LocalAdapter(name="intents", path=path) for path in adapters]
    return opened(open_model(weights, here, device="cpu", **options))


def likelihoods(engine):
    rows = [ScoreRow(IDS[:end], ((IDS[end],),)) for end in range(1, len(IDS))]
    return [found.loglikelihood for (found,) in engine.score(rows)]


def round_tripped(base, out, dtype="float32", **settings):
    """The base with its linear layers as 16 or 32-bit values that 4 bits can hold."""
    shutil.copytree(base, out)
    tensors = {
        name: round_trip(tensor, Nf4Settings(dtype=dtype, **settings))
        if name.endswith("_proj.weight")
        else tensor
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.mark.parametrize("double_quant", [True, False])
def test_the_adapter_stands_on_the_base_that_it_was_trained_on(
    base, adapter, tmp_path, double_quant
):
    trained_on = round_tripped(base, tmp_path / "trained_on", double_quant=double_quant)
    with open_here(trained_on, [adapter]) as engine:
        expected = likelihoods(engine)
    with open_here(base, [adapter], base_precision="nf4", double_quant=double_quant) as engine:
        assert likelihoods(engine) == expected
    with open_here(base, [adapter]) as engine:
        assert likelihoods(engine) != pytest.approx(expected, abs=0.01)


def test_a_packed_checkpoint_answers_as_the_weights_it_holds(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16", tie_word_embeddings=False)
    adapter = pico_adapter(base, tmp_path / "adapter")
    packed = packed_base(base, tmp_path / "packed", double_quant=False)
    trained_on = round_tripped(base, tmp_path / "trained_on", "bfloat16", double_quant=False)
    with open_here(trained_on, [adapter]) as engine:
        expected = likelihoods(engine), next(engine.generate([PromptRow(IDS, (), 8)]))
    for options in ({}, {"base_precision": "nf4"}):
        with open_here(packed, [adapter], **options) as engine:
            assert (likelihoods(engine), next(engine.generate([PromptRow(IDS, (), 8)]))) == expected


def test_a_packed_checkpoint_stops_where_its_generation_config_says(base, tmp_path):
    packed = packed_base(base, tmp_path / "packed")
    with open_here(packed, base_precision="nf4") as engine:
        first = next(engine.generate([PromptRow(IDS, (), 8)]))[0]
    (packed / "generation_config.json").write_text(f'{{"eos_token_id": {first}}}')
    with open_here(packed, base_precision="nf4") as engine:
        assert next(engine.generate([PromptRow(IDS, (), 8)])) == ()


def test_the_weights_of_gpt2_are_transposed_before_they_are_put_into_4_bits(tmp_path):
    base = gpt2_base(tmp_path / "base")
    shutil.copytree(base, tmp_path / "trained_on")
    settings = Nf4Settings(dtype="float32")
    tensors = {
        name: round_trip(tensor.T, settings).T.contiguous()
        if ".c_" in name and name.endswith(".weight")
        else tensor
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(tensors, tmp_path / "trained_on" / "model.safetensors", metadata={"format": "pt"})
    with open_here(tmp_path / "trained_on") as engine:
        expected = likelihoods(engine)
    with open_here(base, base_precision="nf4") as engine:
        assert likelihoods(engine) == expected


def test_a_packed_checkpoint_that_lacks_a_scale_is_refused(base, tmp_path):
    packed = packed_base(base, tmp_path / "packed")
    tensors = load_file(packed / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight.absmax"]
    save_file(tensors, packed / "model.safetensors", metadata={"format": "pt"})
    with (
        pytest.raises(
            SourceError, match=r"layers\.0\.mlp\.up_proj\.weight: a 4-bit weight of shape"
        ),
        open_here(packed),
    ):
        pass


def gpt2_base(out):
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = pico_tokenizer()
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=128,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    GPT2LMHeadModel(config).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out
