import json
import shutil
from pathlib import Path

import pytest
import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.digest import digest_tree
from gate.errors import ConfigError, StageError
from gate.mergers.stream import merge
from gate.merging.shards import check_space, plan_shards
from gate.terms import LocalAdapter

pytestmark = [
    # peft calls what transformers renamed, and warns of what it saves beside a LoRA on embeddings
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
]


def local(path, name="intents", **changes):
    return LocalAdapter(name=name, path=path, **changes)


def weights_of(directory):
    return {
        k: v for file in sorted(directory.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def merged(base, adapter, out, **options):
    merge(base, [local(adapter)], out, **options)
    return weights_of(out)


def delta(adapter, name, scale=2.0):
    """scale * B @ A in float64: pico adapters have alpha = 2 r."""
    lora = load_file(adapter / "adapter_model.safetensors")
    stem = f"base_model.model.{name.removesuffix('.weight')}"
    return scale * lora[f"{stem}.lora_B.weight"].double() @ lora[f"{stem}.lora_A.weight"].double()


def adapted_names(weights):
    return [n for n in weights if any(word in n for word in ("q_proj", "v_proj", "down_proj"))]


def change_tensors(file, change):
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.fixture
def lora(adapter, tmp_path):
    """A copy of the pico adapter that a test may spoil."""
    return Path(shutil.copytree(adapter, tmp_path / "lora"))


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


def test_the_result_does_not_depend_on_how_many_threads_there_are(
    base, adapter, tmp_path, monkeypatch
):
    merged(base, adapter, tmp_path / "one")
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0, 1, 2})
    merged(base, adapter, tmp_path / "two")
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")


def test_what_no_adapter_touches_keeps_its_type_whatever_it_is(model, adapter, tmp_path):
    change_tensors(
        model / "model.safetensors",
        lambda tensors: (
            tensors
            | {"model.norm.weight": tensors["model.norm.weight"].half(), "extra": torch.arange(3)}
        ),
    )
    before, after = weights_of(model), merged(model, adapter, tmp_path / "out")
    assert after["model.norm.weight"].dtype == torch.float16
    assert torch.equal(after["extra"], before["extra"])


def test_another_dtype_is_one_rounding_of_every_float(base, adapter, tmp_path):
    before, after = weights_of(base), merged(base, adapter, tmp_path / "out", dtype="bfloat16")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    for name, tensor in before.items():
        wanted = tensor.double() + (delta(adapter, name) if name in adapted_names(before) else 0)
        assert (after[name] == wanted.bfloat16()).float().mean() > 0.999


def test_a_sharded_base_stays_sharded_as_it_was(base, adapter, tmp_path):
    from transformers import AutoModelForCausalLM

    sharded = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(sharded, max_shard_size="60KB")
    after = merged(sharded, adapter, tmp_path / "out")
    index = "model.safetensors.index.json"
    assert (tmp_path / "out" / index).read_bytes() == (sharded / index).read_bytes()
    for name in adapted_names(after):
        wanted = weights_of(base)[name].double() + delta(adapter, name)
        torch.testing.assert_close(after[name].double(), wanted, rtol=1e-6, atol=1e-6)


def test_pickled_weights_become_safetensors(base, adapter, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(base, pickled)
    torch.save(load_file(base / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    after = merged(pickled, adapter, tmp_path / "out", allow_pickle=True)
    wanted = merged(base, adapter, tmp_path / "wanted")
    assert after.keys() == wanted.keys()
    assert all(torch.equal(after[name], wanted[name]) for name in wanted)
    assert not list((tmp_path / "out").glob("*.bin"))


def test_a_weight_scales_what_the_adapter_changes(base, adapter, tmp_path):
    merge(base, [local(adapter, weight=0.25)], tmp_path / "out")
    before, after = weights_of(base), weights_of(tmp_path / "out")
    for name in adapted_names(before):
        wanted = before[name].double() + 0.25 * delta(adapter, name)
        torch.testing.assert_close(after[name].double(), wanted, rtol=1e-6, atol=1e-6)


def test_the_share_of_a_change_that_rounding_kept_is_reported(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "adapter", strength=0.002)
    report = merge(base, [local(adapter)], tmp_path / "out")
    before, after = weights_of(base), weights_of(tmp_path / "out")
    assert sorted(report.kept) == sorted(adapted_names(before))
    for name, share in report.kept.items():
        exact = before[name].double() + delta(adapter, name)
        lost = (after[name].double() - exact).norm() / delta(adapter, name).norm()
        assert share == pytest.approx(1 - float(lost), abs=1e-5)
    worst = min(report.kept, key=lambda name: report.kept[name])
    assert report.warnings == (
        f"rounding to bfloat16 kept less than 90% of the change of 6 of 6 tensors, the least of "
        f"{worst}: {report.kept[worst]:.0%}; dtype: float32 would keep all of it",
    )


def test_a_change_that_rounding_erases_is_refused(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "adapter", strength=1e-7)
    with pytest.raises(StageError, match="rounding erased its change") as caught:
        merge(base, [local(adapter)], tmp_path / "out")
    assert caught.value.hint == "its change is too small for this dtype: try dtype: float32"


def test_float32_keeps_all_of_a_small_change(tmp_path):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapter = pico_adapter(base, tmp_path / "adapter", strength=1e-4)
    report = merge(base, [local(adapter)], tmp_path / "out", dtype="float32")
    assert min(report.kept.values()) > 0.999
    assert report.warnings == ()


def test_a_target_that_the_file_has_nothing_for_is_told(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {k: v for k, v in tensors.items() if "layers.1.self_attn.q_proj" not in k},
    )
    report = merge(base, [local(lora)], tmp_path / "out")
    assert report.warnings == (
        "adapter intents: its config targets 1 modules that its file has nothing for; "
        "the first is model.layers.1.self_attn.q_proj",
    )


def test_half_a_pair_of_matrices_is_refused(base, lora, tmp_path):
    change_tensors(
        lora / "adapter_model.safetensors",
        lambda tensors: {k: v for k, v in tensors.items() if "1.self_attn.q_proj.lora_B" not in k},
    )
    with pytest.raises(StageError, match=r"model.layers.1.self_attn.q_proj has no lora_B"):
        merge(base, [local(lora)], tmp_path / "out")


def test_a_rank_that_the_config_does_not_have_is_refused(base, lora, tmp_path):
    config = json.loads((lora / "adapter_config.json").read_text())
    (lora / "adapter_config.json").write_text(json.dumps(config | {"r": 3}))
    with pytest.raises(StageError, match="lora_A has rank 4, lora_B 4, and its config 3"):
        merge(base, [local(lora)], tmp_path / "out")


def test_no_adapter_is_refused(base, tmp_path):
    with pytest.raises(ConfigError, match="there is no adapter to merge"):
        merge(base, [], tmp_path / "out")


def test_a_density_beyond_one_is_refused(base, adapter, tmp_path):
    with pytest.raises(ConfigError, match=r"density 1\.5 is no share"):
        merge(base, [local(adapter)], tmp_path / "out", density=1.5)


def test_too_little_disk_is_said_before_a_byte_is_written(base, tmp_path):
    from gate.merging.recipes import Recipe
    from gate.tensors import open_tensors

    shards = plan_shards(open_tensors(base, allow_pickle=False), Recipe(), dtype=None)
    with pytest.raises(StageError, match=r"takes 0\.00 GB, and 0\.00 GB are free") as caught:
        check_space(shards, 1000, tmp_path)
    assert caught.value.hint == "free some space, or write to another disk"


def test_a_value_too_large_for_the_type_is_refused(model, adapter, tmp_path):
    change_tensors(
        model / "model.safetensors",
        lambda tensors: tensors | {"model.norm.weight": 1e6 * tensors["model.norm.weight"]},
    )
    with pytest.raises(StageError, match=r"model\.norm\.weight is not finite in F16"):
        merge(model, [local(adapter)], tmp_path / "out", dtype="float16")


def test_sides_that_should_be_tied_and_differ_are_refused(base, tmp_path):
    adapter = pico_adapter(
        base, tmp_path / "adapter", target_modules=["embed_tokens"], ensure_weight_tying=True
    )
    change_tensors(
        adapter / "adapter_model.safetensors",
        lambda tensors: {k: v + ("embedding_B" in k) for k, v in tensors.items()},
    )
    with pytest.raises(StageError, match="ensure_weight_tying, and what it has for"):
        merge(base, [local(adapter)], tmp_path / "out")


def test_what_is_not_lora_goes_through_peft_and_says_so(base, tmp_path):
    from peft import IA3Config, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        IA3Config(target_modules=["q_proj"], feedforward_modules=[], task_type="CAUSAL_LM"),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ia3" in name:
                parameter.mul_(1.5)
    model.save_pretrained(tmp_path / "ia3")
    report = merge(base, [local(tmp_path / "ia3")], tmp_path / "out")
    assert report.merger == "peft"
    assert report.warnings == (
        "adapter intents was merged by peft, in the memory of the whole model: IA3 is not LoRA",
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_to_one_unit_in_the_last_place(base, adapter, tmp_path):
    on_cpu = merged(base, adapter, tmp_path / "cpu", device="cpu")
    on_cuda = merged(base, adapter, tmp_path / "cuda", device="cuda")
    for name, tensor in on_cpu.items():
        torch.testing.assert_close(on_cuda[name], tensor, rtol=1.3e-7, atol=1e-9)


def test_what_rounding_took_is_measured_on_every_fourth_block(tmp_path, monkeypatch):
    base = pico_base(tmp_path / "base", dtype="bfloat16", hidden_size=128)
    adapter = pico_adapter(base, tmp_path / "adapter", strength=0.002)
    whole = merge(base, [local(adapter)], tmp_path / "whole").kept
    monkeypatch.setattr("gate.merging.changes._BLOCK_ELEMENTS", 128 * 8)
    sampled = merge(base, [local(adapter)], tmp_path / "sampled").kept
    assert sampled == pytest.approx(whole, abs=0.05)
    assert sampled != whole


def test_an_overflow_in_a_block_that_is_not_measured_is_refused(
    model, adapter, tmp_path, monkeypatch
):
    monkeypatch.setattr("gate.merging.changes._BLOCK_ELEMENTS", 64)

    def spoil(tensors):
        tensors["model.layers.0.self_attn.q_proj.weight"][1, 0] = 1e6
        return tensors

    change_tensors(model / "model.safetensors", spoil)
    with pytest.raises(StageError, match=r"q_proj\.weight is not finite in F16"):
        merge(model, [local(adapter)], tmp_path / "out", dtype="float16")
