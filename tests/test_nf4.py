import hashlib
import json

import pytest
import torch
from builders import pico_base
from four_bits import even_weight, pack
from safetensors.torch import load_file, save_file

from gate.errors import SourceError
from gate.nf4 import Nf4Settings, find_packed, quantized_modules, round_trip, unpack
from gate.tensors import open_tensors

# sha256 of what bitsandbytes 0.50.2 makes of even_weight() on a CPU, shortened:
#   packed, state = quantize_4bit(weight, quant_type=..., compress_statistics=...)
#   state.dtype = ...
#   dequantize_4bit(packed, state)
GOLDEN = [
    ("nf4", False, "bfloat16", "66b39ea9e37a2df0"),
    ("nf4", False, "float16", "e8890808ecda34ca"),
    ("nf4", False, "float32", "8f4628fd923ac3be"),
    ("nf4", True, "bfloat16", "8a68768ff7bb4102"),
    ("nf4", True, "float16", "87a6efe8141a1ff8"),
    ("nf4", True, "float32", "9f0a5ee07141b368"),
    ("fp4", False, "bfloat16", "34407e4dea386d48"),
    ("fp4", False, "float16", "f7d0e649061b2689"),
    ("fp4", False, "float32", "91e1d67328684622"),
    ("fp4", True, "bfloat16", "48a0559aeaadbbc3"),
    ("fp4", True, "float16", "184264db44731acc"),
    ("fp4", True, "float32", "aae8679ca8db299b"),
]


def digest(tensor):
    return hashlib.sha256(tensor.view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def checkpoint(folder, weight, **options):
    """A directory with one packed weight beside one that is not."""
    parts = {f"layer.weight{end}": part for end, part in pack(weight, **options).items()}
    save_file(parts | {"norm.weight": torch.ones(4)}, folder / "model.safetensors")
    return folder


def spoil(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def packed_in(folder):
    return find_packed(open_tensors(folder, allow_pickle=False))


@pytest.mark.parametrize(("quant_type", "double_quant", "dtype", "expected"), GOLDEN)
def test_a_round_trip_is_bit_for_bit_that_of_bitsandbytes(
    quant_type, double_quant, dtype, expected
):
    weight = even_weight()
    back = round_trip(weight, Nf4Settings(quant_type, 64, double_quant, dtype))
    assert (back.shape, back.dtype) == (weight.shape, getattr(torch, dtype))
    assert digest(back) == expected


@pytest.mark.parametrize("double_quant", [True, False])
@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
def test_a_packed_weight_is_unpacked_to_the_same_bits(tmp_path, quant_type, double_quant):
    weight = even_weight()
    folder = checkpoint(tmp_path, weight, quant_type=quant_type, double_quant=double_quant)
    packed = packed_in(folder)["layer.weight"]
    assert packed.shape == weight.shape
    assert packed.settings == Nf4Settings(quant_type, 64, double_quant, "bfloat16")
    assert torch.equal(unpack(packed), round_trip(weight, packed.settings))


def test_a_second_round_trip_without_double_quantization_changes_nothing():
    settings = Nf4Settings(double_quant=False, dtype="float32")
    once = round_trip(even_weight(), settings)
    assert torch.equal(round_trip(once, settings), once)


@pytest.mark.parametrize("blocksize", [64, 128, 256])
def test_blocks_run_on_over_the_ends_of_rows(blocksize):
    weight = even_weight(16, 96)
    settings = Nf4Settings(blocksize=blocksize, dtype="float32")
    flat = round_trip(weight.view(1, -1), settings)
    assert torch.equal(round_trip(weight, settings), flat.view(16, 96))


def test_a_weight_that_does_not_fill_its_last_block_keeps_its_shape():
    weight = even_weight(5, 50)
    settings = Nf4Settings(double_quant=False, dtype="float32")
    back = round_trip(weight, settings)
    assert back.shape == (5, 50)
    assert torch.equal(back.view(-1)[192:], round_trip(weight.view(-1)[192:], settings))


def test_zeros_stay_zeros():
    assert not round_trip(torch.zeros(4, 64), Nf4Settings()).any()


def test_a_weight_that_is_not_a_number_is_not_hidden():
    weight = even_weight()
    weight[0, 0] = torch.nan
    back = round_trip(weight, Nf4Settings(double_quant=False))
    assert back[0, :64].isnan().all()
    assert back[1:].isfinite().all()


def test_many_blocks_are_put_into_4_bits_like_few(monkeypatch):
    weight, settings = even_weight(64, 256), Nf4Settings(double_quant=False)
    whole = round_trip(weight, settings)
    monkeypatch.setattr("gate.nf4._BLOCKS_AT_ONCE", 7)
    assert torch.equal(round_trip(weight, settings), whole)


def test_a_checkpoint_in_16_bits_has_no_packed_weights(base):
    assert packed_in(base) == {}


def test_everything_that_belongs_to_a_packed_weight_is_named(tmp_path):
    tensors = open_tensors(checkpoint(tmp_path, even_weight()), allow_pickle=False)
    packed = find_packed(tensors)["layer.weight"]
    assert set(packed.names) == set(tensors.headers) - {"norm.weight"}


def test_codes_stored_as_another_type_are_read_as_bytes(tmp_path):
    weight = even_weight()
    folder = checkpoint(tmp_path, weight, double_quant=False)
    spoil(
        folder,
        lambda tensors: tensors.update(
            {"layer.weight": tensors["layer.weight"].view(-1).view(torch.bfloat16)[:, None]}
        ),
    )
    packed = packed_in(folder)["layer.weight"]
    assert torch.equal(unpack(packed), round_trip(weight, packed.settings))


@pytest.mark.parametrize(
    ("part", "needs"), [("", 2048), (".absmax", 64), (".nested_absmax", 1)], ids=str
)
def test_a_packed_weight_that_lacks_a_part_is_refused(tmp_path, part, needs):
    folder = checkpoint(tmp_path, even_weight())
    spoil(folder, lambda tensors: tensors.pop(f"layer.weight{part}"))
    with pytest.raises(SourceError) as caught:
        packed_in(folder)
    assert caught.value.problem == (
        f"layer.weight: a 4-bit weight of shape (32, 128) has {needs} elements in "
        f"its {part[1:] or 'weight'}, this one has 0"
    )
    assert caught.value.hint == "download or save it again"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"quant_type": "af4"}, "ValueError('quant_type af4')"),
        ({"dtype": "float64"}, "ValueError('dtype float64')"),
        ({"shape": None}, "TypeError(\"'NoneType' object is not iterable\")"),
    ],
    ids=["quant_type", "dtype", "shape"],
)
def test_a_state_that_says_something_else_is_refused(tmp_path, state, reason):
    folder = checkpoint(tmp_path, even_weight())
    name = "layer.weight.quant_state.bitsandbytes__nf4"

    def change(tensors):
        text = json.dumps(json.loads(bytes(tensors[name].tolist())) | state).encode()
        tensors[name] = torch.tensor(list(text), dtype=torch.uint8)

    spoil(folder, change)
    with pytest.raises(SourceError) as caught:
        packed_in(folder)
    assert caught.value.problem == f"{name}: cannot be read: {reason}"


@pytest.mark.parametrize("is_tied", [True, False])
def test_all_linear_layers_but_the_output_layer_are_quantized(tmp_path, is_tied):
    base = pico_base(tmp_path / "base", tie_word_embeddings=is_tied)
    modules = quantized_modules(on_meta(base))
    assert len(modules) == 14
    assert all(module.endswith("_proj") for module in modules)


def test_modules_that_a_config_skips_are_not_quantized_and_the_output_layer_is(base):
    modules = quantized_modules(on_meta(base), skip=["gate_proj", "up_proj", "down_proj"])
    assert sorted({module.rpartition(".")[2] for module in modules}) == [
        "k_proj",
        "lm_head",
        "o_proj",
        "q_proj",
        "v_proj",
    ]


def on_meta(base):
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
