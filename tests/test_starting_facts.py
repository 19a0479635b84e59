"""What bases and adapters are found to be."""

import json
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base

from gate.errors import SourceError
from gate.starting.facts import name_of, read_adapter_facts, read_base
from gate.terms import Source


def source(path):
    return Source(given=str(path), path=str(path), digest="d")


def change(file, **keys):
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


@pytest.fixture
def own_adapter(base, adapter, tmp_path):
    import shutil

    return Path(shutil.copytree(adapter, tmp_path / "own"))


def test_a_base_tells_its_size_type_context_and_template(base):
    found = read_base(source(base))
    assert (found.architecture, found.dtype, found.context) == ("LlamaForCausalLM", "F32", 512)
    assert found.size_bytes == 4 * found.parameters
    assert found.has_template
    assert not found.is_packed


def test_a_context_inside_a_text_config_is_found(tmp_path):
    base = pico_base(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    text = {"max_position_embeddings": config.pop("max_position_embeddings")}
    (base / "config.json").write_text(json.dumps(config | {"text_config": text}))
    assert read_base(source(base)).context == 512


def test_a_base_in_bitsandbytes_is_packed_and_another_quantization_refused(tmp_path):
    base = pico_base(tmp_path / "base")
    change(base / "config.json", quantization_config={"load_in_4bit": True})
    assert read_base(source(base)).is_packed
    change(base / "config.json", quantization_config={"quant_method": "gptq"})
    with pytest.raises(SourceError) as caught:
        read_base(source(base))
    assert caught.value.problem.endswith(
        "a quantized base model (gptq): no adapter can be merged into it"
    )
    assert caught.value.hint == "give the 16-bit model it was quantized from"


def test_an_adapter_tells_its_rank_targets_and_extras(base, tmp_path):
    adapter = pico_adapter(base, tmp_path / "dora", use_dora=True)
    found = read_adapter_facts(source(adapter))
    assert found.kind == "LoRA of rank 4 on down_proj, q_proj, v_proj, with use_dora"
    assert not found.is_delta
    assert found.qlora is None


def test_modules_that_are_named_layer_by_layer_are_told_once_each(own_adapter):
    layers = [f"model.layers.{i}.{name}" for i in range(32) for name in ("q_proj", "v_proj")]
    change(own_adapter / "adapter_config.json", target_modules=layers)
    found = read_adapter_facts(source(own_adapter))
    assert found.kind == "LoRA of rank 4 on q_proj, v_proj"


@pytest.mark.parametrize(
    "name", ["unsloth/llama-3-8b-bnb-4bit", "org/model-4bit", "unsloth/x-unsloth-bnb-4bit"]
)
def test_the_name_of_a_base_in_4_bits_is_a_sign_of_qlora(own_adapter, name):
    change(own_adapter / "adapter_config.json", base_model_name_or_path=name)
    assert read_adapter_facts(source(own_adapter)).qlora == f"its config names {name} as its base"


def test_the_card_of_an_older_peft_is_a_sign_of_qlora(own_adapter):
    (own_adapter / "README.md").write_text("- load_in_8bit: False\n- load_in_4bit: True\n")
    assert read_adapter_facts(source(own_adapter)).qlora == "its README.md says load_in_4bit: True"


def test_a_kind_that_is_not_lora_is_said_to_go_through_peft(own_adapter):
    change(own_adapter / "adapter_config.json", peft_type="LOHA")
    found = read_adapter_facts(source(own_adapter))
    assert (found.kind, found.by_peft) == ("LOHA", "LOHA is not LoRA")


def test_a_source_is_called_by_the_last_part_of_its_name():
    assert name_of("org/model@c0ffee") == "model"
    assert name_of("runs/0212/checkpoint-400/") == "checkpoint-400"
