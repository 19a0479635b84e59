"""The audit of GPTQ, whose errors make up for each other, and of AWQ, which moves scales."""

import json
import shutil
from pathlib import Path

import packed_checkpoints as packers
import pytest
import torch
from builders import pico_adapter, pico_base
from packed_checkpoints import COMPRESSED, pack_words, write_packed
from safetensors.torch import load_file, save_file

from gate.auditing.quantized import audit_quantized
from gate.mergers import peft
from gate.terms import LocalAdapter

GPTQ = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"actorder": "static"}}},
}
LAYER = "model.layers.0"
UP = f"{LAYER}.mlp.up_proj"
NORMS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base and the merge into it, with as many heads for values as for queries."""
    root = tmp_path_factory.mktemp("models")
    base = pico_base(root / "base")
    adapter = pico_adapter(base, root / "adapter", strength=0.05)
    peft.merge(base, [LocalAdapter(name="a", path=adapter)], root / "merged")
    for model in (base, root / "merged"):
        edit(model, widen_values)
    return base, root / "merged"


def widen_values(tensors):
    for name in [name for name in tensors if "v_proj" in name]:
        tensors[name] = torch.cat([tensors[name], tensors[name].flip(0) * 1.3])


def edit(directory, change):
    """Change a checkpoint's tensors in place: change({name: tensor})."""
    file = directory / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def with_codes(pack, row, change):
    """A packer that changes the codes of one row of the first weight of its shape."""
    done = set()

    def packed(weight):
        parts = pack(weight)
        if tuple(weight.shape) == (128, 64) and "up" not in done:
            done.add("up")
            words = parts["weight_packed"]
            codes = ((words[..., None] >> (4 * torch.arange(8))) & 15).flatten(1) - 8
            codes[row] = change(codes[row])
            parts["weight_packed"] = pack_words(codes, 4)
        return parts

    return packed


def overdone(codes):
    """Every fourth code at one end of its range or the other: errors larger than the row itself."""
    wild = codes.clone()
    wild[::4] = torch.tensor([-8, 7]).repeat(len(codes) // 8)
    return wild


def audit_codes(models, tmp_path, settings, change):
    base, merged = models
    pack = with_codes(packers.pack_int_groups, 5, change)
    out = write_packed(merged, tmp_path / "out", pack, settings)
    return audit_quantized(merged, out, base=base)


def test_a_row_that_gptq_took_far_is_a_warning(models, tmp_path):
    audit = audit_codes(models, tmp_path, GPTQ, overdone)
    assert audit.faults == ()
    assert audit.warnings == (
        "GPTQ made up for errors with errors: 1 rows are further from the merged model's than "
        f"zeros would be; the first is in {LAYER}.mlp.gate_proj.weight",
    )


@pytest.mark.parametrize("change", [lambda codes: -codes, lambda codes: 0 * codes, torch.flipud])
def test_a_row_that_is_no_more_its_own_is_a_fault_under_gptq_too(models, tmp_path, change):
    (fault,) = audit_codes(models, tmp_path, GPTQ, change).faults
    assert fault.startswith(f"{LAYER}.mlp.gate_proj.weight: 1 of its 128 rows are further from")


def test_such_a_row_is_a_fault_where_gptq_was_not_at_work(models, tmp_path):
    (fault,) = audit_codes(models, tmp_path, COMPRESSED, overdone).faults
    assert fault.startswith(f"{LAYER}.mlp.gate_proj.weight: 1 of its 128 rows are further from")


def test_such_a_row_is_a_fault_where_the_scales_are_anothers(models, tmp_path):
    base, merged = models
    pack = with_codes(packers.pack_int_groups, 5, overdone)
    out = write_packed(merged, tmp_path / "out", pack, GPTQ)
    scale = f"{LAYER}.mlp.gate_proj.weight_scale"
    edit(out, lambda tensors: tensors[scale][7].mul_(1.02))
    (fault,) = audit_quantized(merged, out, base=base).faults
    assert fault.startswith(f"{LAYER}.mlp.gate_proj.weight: 1 of its 128 rows are further from")


def test_weights_of_nothing_but_zeros_have_no_scales_to_prove(models, tmp_path):
    base, merged = models
    empty = Path(shutil.copytree(merged, tmp_path / "empty"))
    edit(empty, lambda tensors: tensors[f"{UP}.weight"][9].zero_())

    def pack(weight):
        parts = packers.pack_int_groups(weight)
        return parts | {"weight_scale": parts["weight_scale"].clamp(min=1e-7)}

    out = write_packed(empty, tmp_path / "out", pack, GPTQ)
    assert audit_quantized(empty, out, base=base).faults == ()


def scaled_as_awq_does(model, out):
    """A copy that computes the same: what feeds a layer over a scale, the layer by it."""
    copy = Path(shutil.copytree(model, out))
    generator = torch.Generator().manual_seed(0)

    def scale(tensors):
        for layer in ("model.layers.0", "model.layers.1"):
            for norm, fed in NORMS.items():
                scales = torch.rand(64, generator=generator) * 3 + 0.3
                tensors[f"{layer}.{norm}.weight"] /= scales
                for module in fed:
                    tensors[f"{layer}.{module}.weight"] *= scales
            for feeding, fed in (
                ("self_attn.v_proj", "self_attn.o_proj"),
                ("mlp.up_proj", "mlp.down_proj"),
            ):
                weight = tensors[f"{layer}.{feeding}.weight"]
                scales = torch.rand(len(weight), generator=generator) * 3 + 0.3
                weight /= scales[:, None]
                tensors[f"{layer}.{fed}.weight"] *= scales

    edit(copy, scale)
    return copy


@pytest.fixture
def awq(models, tmp_path):
    """The merged model as AWQ leaves it, in 4 bits."""
    scaled = scaled_as_awq_does(models[1], tmp_path / "scaled")
    return write_packed(scaled, tmp_path / "awq", packers.pack_int_groups, COMPRESSED)


def test_what_awq_leaves_is_proven_with_its_error(models, awq):
    base, merged = models
    audit = audit_quantized(merged, awq, base=base)
    errors = {entry.tensor: entry.relative_error for entry in audit.quantized}
    assert audit.faults == ()
    assert errors[f"{UP}.weight"] == pytest.approx(0.1, rel=0.5)
    assert errors[f"{LAYER}.mlp.down_proj.weight"] == pytest.approx(0.1, rel=0.5)
    assert audit.warnings == (
        "4 norms were scaled, as AWQ does, and the linear layers around them against that: they "
        "are proven together, as far as their scales cancel, and not each alone; the first is "
        f"{LAYER}.input_layernorm.weight",
    )


def test_the_base_as_awq_leaves_it_is_named_the_base(models, tmp_path):
    base, merged = models
    scaled = scaled_as_awq_does(base, tmp_path / "scaled")
    out = write_packed(scaled, tmp_path / "out", packers.pack_int_groups, COMPRESSED)
    faults = audit_quantized(merged, out, base=base).faults
    assert faults[0].startswith("is the base model, quantized: ")


def test_a_scale_that_one_layer_does_not_undo_is_a_fault(models, awq, tmp_path):
    base, merged = models
    plain = write_packed(merged, tmp_path / "plain", packers.pack_int_groups, COMPRESSED)
    wanted = load_file(plain / "model.safetensors")
    module = f"{LAYER}.self_attn.k_proj"
    parts = {name: wanted[name] for name in wanted if name.startswith(module)}
    edit(awq, lambda tensors: tensors.update(parts))
    (fault,) = audit_quantized(merged, awq, base=base).faults
    assert fault.startswith(f"{module}.weight: 32 of its 32 rows are further from")


@pytest.mark.parametrize(
    ("feeding", "fed"), [("mlp.up_proj", "mlp.down_proj"), ("self_attn.v_proj", "self_attn.o_proj")]
)
def test_rows_scaled_and_columns_not_is_a_fault(models, awq, feeding, fed):
    base, merged = models
    edit(awq, lambda tensors: tensors[f"{LAYER}.{feeding}.weight_scale"].mul_(2))
    (fault,) = audit_quantized(merged, awq, base=base).faults
    assert fault.startswith(f"{LAYER}.{fed}.weight: 64 of its 64 rows are further from")


def test_a_row_of_the_other_sign_is_a_fault_though_rows_are_fitted(models, awq):
    base, merged = models
    edit(awq, lambda tensors: tensors[f"{UP}.weight_scale"][3].mul_(-1))
    faults = audit_quantized(merged, awq, base=base).faults
    assert any(fault.startswith(f"{UP}.weight: 1 of its 128 rows") for fault in faults)


@pytest.mark.parametrize("change", [-1.0, 0.0, torch.nan])
def test_a_norm_that_no_scale_explains_is_no_scale(models, awq, change):
    base, merged = models
    edit(awq, lambda tensors: tensors[f"{LAYER}.input_layernorm.weight"][3].fill_(change))
    faults = audit_quantized(merged, awq, base=base).faults
    assert any(fault.startswith(f"{LAYER}.self_attn.q_proj.weight: 64 of") for fault in faults)


def test_a_norm_counts_only_where_all_that_it_feeds_is_packed(models, tmp_path):
    base, merged = models
    out = write_packed(merged, tmp_path / "out", packers.pack_int_groups, COMPRESSED)
    whole = load_file(merged / "model.safetensors")
    module = f"{LAYER}.self_attn.q_proj"

    def unpack_one(tensors):
        for part in ("packed", "scale", "shape"):
            del tensors[f"{module}.weight_{part}"]
        tensors[f"{module}.weight"] = whole[f"{module}.weight"]
        tensors[f"{LAYER}.input_layernorm.weight"] *= 1.1

    edit(out, unpack_one)
    (warning,) = audit_quantized(merged, out, base=base).warnings
    assert warning == (
        "1 tensors were rounded in a way that is not known, so that only gross errors show; the "
        f"first is {LAYER}.input_layernorm.weight"
    )


def test_config_json_without_groups_is_read(models, tmp_path):
    base, merged = models
    out = write_packed(
        merged, tmp_path / "out", packers.pack_int_groups, {"quant_method": "compressed-tensors"}
    )
    assert "config_groups" not in json.loads((out / "config.json").read_text())
    assert audit_quantized(merged, out, base=base).faults == ()
