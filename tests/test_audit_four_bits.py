"""The audit of merges into a 4-bit base, by each convention of QLoRA."""

import pytest
import torch
from builders import pico_adapter, pico_base
from four_bits import packed_base
from safetensors.torch import load_file, save_file

from gate.auditing.merges import audit_merge
from gate.errors import ConfigError
from gate.mergers.stream import merge
from gate.terms import LocalAdapter

Q0 = "model.layers.0.self_attn.q_proj.weight"
PRECISIONS = ["w16", "nf4", "nf4_requantized"]


class World:
    def __init__(self, root):
        self.base = pico_base(root / "base", dtype="bfloat16")
        self.adapters = [
            LocalAdapter(name="a", path=pico_adapter(self.base, root / "adapter", strength=0.1))
        ]
        self.merged = {precision: root / precision for precision in PRECISIONS}
        for precision, out in self.merged.items():
            merge(self.base, self.adapters, out, base_precision=precision)

    def audit(self, merged, **options):
        return audit_merge(self.base, self.adapters, merged, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("four-bits"))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_merge_is_proven_by_the_convention_it_was_made_by(world, precision):
    found = world.audit(world.merged[precision], base_precision=precision)
    assert found.faults == ()
    assert any(one.delta_share for one in found.tensors)


@pytest.mark.parametrize("made", PRECISIONS)
@pytest.mark.parametrize("asked", PRECISIONS)
def test_a_merge_by_another_convention_is_not_proven(world, made, asked):
    is_proven = world.audit(world.merged[made], base_precision=asked).is_proven
    assert is_proven == (made == asked)


def test_one_wrong_weight_of_a_requantized_merge_is_found(world, tmp_path):
    import shutil

    spoiled = shutil.copytree(world.merged["nf4_requantized"], tmp_path / "spoiled")
    tensors = load_file(spoiled / "model.safetensors")
    tensors[Q0][3, 5] = 40.0
    save_file(tensors, spoiled / "model.safetensors", metadata={"format": "pt"})
    found = world.audit(spoiled, base_precision="nf4_requantized")
    assert any(Q0 in fault and "not NF4(base + adapter)" in fault for fault in found.faults)


def test_a_merge_into_a_four_bit_checkpoint_is_proven(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapters = [LocalAdapter(name="a", path=pico_adapter(base, tmp_path / "adapter"))]
    packed = packed_base(base, tmp_path / "packed")
    merge(packed, adapters, tmp_path / "out", base_precision="nf4")
    found = audit_merge(packed, adapters, tmp_path / "out", base_precision="nf4")
    assert found.faults == ()
    with pytest.raises(ConfigError, match="its 16-bit weights are not there"):
        audit_merge(packed, adapters, tmp_path / "out")


def test_a_merge_that_is_quantized_is_no_sixteen_bit_merge(world, tmp_path):
    import json
    import shutil

    spoiled = shutil.copytree(world.merged["w16"], tmp_path / "spoiled")
    config = json.loads((spoiled / "config.json").read_text())
    config["quantization_config"] = {"load_in_4bit": True}
    (spoiled / "config.json").write_text(json.dumps(config))
    faults = world.audit(spoiled).faults
    assert any("config.json: quantization_config" in fault for fault in faults)


def test_the_tensors_that_differ_are_counted(world):
    found = world.audit(world.merged["w16"], base_precision="nf4_requantized")
    entry = next(one for one in found.tensors if one.tensor == Q0)
    assert entry.outcome == "wrong"
    assert entry.differing > 1000
    assert torch.isfinite(torch.tensor(entry.kept_share))
