import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
from builders import pico_adapter
from conformance_models import write_v4_adapter
from conformance_oracle import read_tensors
from safetensors.torch import load_file
from stream_refusals import change_config, local, logits, pico_shards, refused, tuned

from gate.errors import ConfigError, GateError, SourceError
from gate.mergers.stream import merge

# peft says which of its layers saves embeddings, and that a tied model is adapted on one side
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def lora(adapter, tmp_path):
    """A copy of the pico adapter that a test may spoil."""
    return Path(shutil.copytree(adapter, tmp_path / "lora"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A pico base in several shards; read it only."""
    return pico_shards(tmp_path_factory.mktemp("sharded"))


def pickle_weights(directory, name):
    (file,) = directory.glob("*.safetensors")
    torch.save(load_file(file), directory / name)
    file.unlink()


def test_pickled_base_weights_are_refused_unless_allowed(base, model, adapter, tmp_path):
    pickle_weights(model, "pytorch_model.bin")
    refused(model, adapter, tmp_path / "no", SourceError, "pickled (pytorch_model.bin)")
    merge(model, [local(adapter)], tmp_path / "out", allow_pickle=True)
    merge(base, [local(adapter)], tmp_path / "wanted")
    assert_same_tensors(tmp_path / "out", tmp_path / "wanted")


def test_pickled_adapter_weights_are_refused_unless_allowed(base, adapter, lora, tmp_path):
    pickle_weights(lora, "adapter_model.bin")
    refused(base, lora, tmp_path / "no", SourceError, "pickled (adapter_model.bin)")
    merge(base, [local(lora)], tmp_path / "out", allow_pickle=True)
    merge(base, [local(adapter)], tmp_path / "wanted")
    assert_same_tensors(tmp_path / "out", tmp_path / "wanted")


def assert_same_tensors(found, wanted):
    found, wanted = (load_file(one / "model.safetensors") for one in (found, wanted))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_pickled_shards_become_safetensors(sharded, adapter, tmp_path):
    base = tmp_path / "model"
    base.mkdir()
    shutil.copyfile(sharded / "config.json", base / "config.json")
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    for file in sharded.glob("*.safetensors"):
        torch.save(load_file(file), base / f"pytorch_{file.stem}.bin")
    index["weight_map"] = {
        name: f"pytorch_{Path(file).stem}.bin" for name, file in index["weight_map"].items()
    }
    (base / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    merge(base, [local(adapter)], tmp_path / "out", allow_pickle=True)
    assert not list((tmp_path / "out").glob("*.bin*"))
    merge(sharded, [local(adapter)], tmp_path / "wanted")
    torch.testing.assert_close(
        logits(tmp_path / "out"), logits(tmp_path / "wanted"), rtol=0, atol=0
    )


TARGETS = {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def test_an_activated_lora_is_refused_by_name(base, tmp_path):
    lora = pico_adapter(base, tmp_path / "lora", alora_invocation_tokens=[3, 4])
    refused(base, lora, tmp_path / "out", GateError, "activated LoRA")


def test_a_mixture_of_loras_is_refused_by_name(base, lora, tmp_path):
    change_config(lora / "adapter_config.json", peft_type="XLORA", adapters={"one": "two"})
    refused(base, lora, tmp_path / "out", GateError, "X-LoRA")


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
        peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    ],
    ids=["PROMPT_TUNING", "PREFIX_TUNING"],
)
def test_prompt_learning_is_refused_by_name(base, tmp_path, config):
    prompt = tuned(base, tmp_path / "prompt", config)
    refused(base, prompt, tmp_path / "out", GateError, config.peft_type.value)


BY_PEFT = {
    "LOHA": peft.LoHaConfig(r=4, alpha=8, **TARGETS),
    "LOKR": peft.LoKrConfig(r=4, alpha=8, **TARGETS),
    "IA3": peft.IA3Config(feedforward_modules=[], **TARGETS),
    "OFT": peft.OFTConfig(oft_block_size=4, r=0, **TARGETS),
    "VERA": peft.VeraConfig(r=4, **TARGETS),
    "pissa": peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights="pissa", **TARGETS),
    "olora": peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights="olora", **TARGETS),
}


@pytest.mark.parametrize("kind", BY_PEFT)
def test_what_is_no_product_on_its_base_is_merged_by_peft_and_told(base, tmp_path, kind):
    adapter = tuned(base, tmp_path / kind, BY_PEFT[kind])
    report = merge(base, [local(adapter)], tmp_path / "out")
    assert report.merger == "peft"
    assert any("merged by peft" in warning and kind in warning for warning in report.warnings)
    torch.testing.assert_close(
        logits(tmp_path / "out"), logits(base, adapter), rtol=1e-3, atol=1e-3
    )


def test_two_adapters_of_which_one_is_no_lora_are_refused(base, adapter, tmp_path):
    other = tuned(base, tmp_path / "loha", BY_PEFT["LOHA"])
    adapters = [local(adapter), local(other, "other")]
    refused(base, adapters, tmp_path / "out", ConfigError, "exactly one adapter at weight 1.0")


def test_replicated_layers_are_refused_by_name(base, tmp_path):
    config = peft.LoraConfig(r=4, layer_replication=[(0, 2), (0, 2)], **TARGETS)
    lora = tuned(base, tmp_path / "lora", config)
    refused(base, lora, tmp_path / "out", GateError, "layer replication")


def test_experts_of_transformers_4_that_peft_would_lose_are_merged(tmp_path):
    """peft 0.21 moves every gate_proj to the experts, and loses those of the shared expert."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        **{"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "num_experts": 4, "moe_intermediate_size": 12},
        **{"num_experts_per_tok": 2, "shared_expert_intermediate_size": 12},
    }
    config = AutoConfig.for_model("qwen2_moe", **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    targets = ["q_proj", "gate_proj", "up_proj", "down_proj"]
    lora = peft.LoraConfig(r=3, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM")
    write_v4_adapter(lora, tmp_path / "base", tmp_path / "lora")
    merge(tmp_path / "base", [local(tmp_path / "lora")], tmp_path / "out")
    before, after = read_tensors(tmp_path / "base"), read_tensors(tmp_path / "out")
    factors = read_tensors(tmp_path / "lora")
    for lora_b in (name for name in factors if name.endswith(".lora_B.weight")):
        name = lora_b.removeprefix("base_model.model.").replace(".lora_B", "")
        up, down = factors[lora_b].double(), factors[lora_b.replace("lora_B", "lora_A")].double()
        wanted = before[name].double() + 2 * up @ down
        torch.testing.assert_close(after[name].double(), wanted, rtol=1e-6, atol=1e-6)
