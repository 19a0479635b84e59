"""What the vLLM backend settles before vLLM is asked: which adapters it can serve, and how."""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base

from gate import extensions
from gate.backends.vllm import adapter_fault, open_model
from gate.errors import ConfigError, SourceError, StageError
from gate.terms import LocalAdapter, Use

ISSUE = "out of the scores of prompts (vllm issue 51594)"


def config(**settings):
    written = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    return written | settings


def support(path, weight=1.0):
    return LocalAdapter(name="support", path=path, weight=weight)


def refuse(base, *adapters, error=ConfigError, **options):
    """The error that a model is refused with."""
    with pytest.raises(error) as caught, open_model(base, adapters, **options):
        pass
    return caught.value


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True, "rank_pattern": {"k_proj": 512}, "alpha_pattern": {"k_proj": 3}},
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(q|v)_proj"},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": False},
        {"layers_to_transform": [1], "bias": "none", "modules_to_save": None},
    ],
)
def test_an_adapter_that_it_serves_has_no_fault(settings):
    assert adapter_fault(config(**settings)) is None


def test_the_demos_adapter_has_no_fault():
    file = Path(__file__).parent.parent / "evalsuites" / "demo" / "adapter" / "adapter_config.json"
    assert adapter_fault(json.loads(file.read_text())) is None


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"peft_type": "LOHA"}, "it serves LoRA adapters, not LOHA"),
        ({"use_dora": True}, "it does not serve DoRA (use_dora)"),
        ({"lora_bias": True}, "it does not serve biases of the LoRA matrices (lora_bias)"),
        (
            {"modules_to_save": ["lm_head"]},
            "it does not serve layers trained as a whole (modules_to_save)",
        ),
        (
            {"trainable_token_indices": [3]},
            "it does not serve retrained rows of the embedding (trainable_token_indices)",
        ),
        (
            {"target_parameters": ["mlp.experts.down_proj"]},
            "it does not serve LoRA on parameters instead of layers (target_parameters)",
        ),
        (
            {"layer_replication": [[0, 2], [1, 3]]},
            "it does not serve layer replication (layer_replication)",
        ),
        (
            {"alora_invocation_tokens": [1, 2]},
            "it does not serve activated LoRA (alora_invocation_tokens)",
        ),
        ({"use_qalora": True}, "it does not serve QA-LoRA (use_qalora)"),
        ({"use_bdlora": {"nblocks": 2}}, "it does not serve block-diagonal LoRA (use_bdlora)"),
        ({"arrow_config": {"top_k": 1}}, "it does not serve Arrow (arrow_config)"),
        ({"bias": "all"}, "it does not serve trained biases (bias: all)"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "it does not serve an adapter that began with init_lora_weights: pissa_niter_4",
        ),
        (
            {"init_lora_weights": "loftq"},
            "it does not serve an adapter that began with init_lora_weights: loftq",
        ),
        ({"r": 8, "rank_pattern": {"v_proj": 513}}, "it serves ranks up to 512, not 513"),
        (
            {"target_modules": ["q_proj", "lm_head"]},
            f"it leaves what an adapter changes in lm_head {ISSUE}",
        ),
        (
            {"target_modules": ["model.embed_tokens"]},
            f"it leaves what an adapter changes in embed_tokens {ISSUE}",
        ),
        (
            {"target_modules": r".*(q_proj|lm_head)"},
            f"it leaves what an adapter changes in lm_head {ISSUE}",
        ),
    ],
)
def test_an_adapter_beyond_it_is_told_why(settings, fault):
    assert adapter_fault(config(**settings)) == fault


def test_opening_an_adapter_beyond_it_tells_the_same(base, tmp_path):
    dora = pico_adapter(base, tmp_path / "dora", use_dora=True)
    error = refuse(base, support(dora))
    assert error.problem == ("vllm cannot serve adapter support: it does not serve DoRA (use_dora)")
    assert error.hint == "serve it with hf, or merge it"


def test_several_adapters_are_refused(base, adapter):
    other = LocalAdapter(name="tone", path=adapter)
    error = refuse(base, support(adapter), other)
    assert error.problem == (
        "vllm cannot serve support, tone together: it applies one adapter at a time"
    )
    assert error.hint == "serve them with hf, or merge them"


def test_an_adapter_with_a_weight_is_refused(base, adapter):
    assert refuse(base, support(adapter, weight=0.5)).problem == (
        "vllm cannot serve adapter support: it applies an adapter whole, not at weight 0.5"
    )


@pytest.mark.filterwarnings(
    # peft saves the layer beside its LoRA, and says so
    "ignore:Setting `save_embedding_layers` to `True`:UserWarning"
)
def test_an_output_layer_that_the_config_does_not_name_is_found(tmp_path):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False)
    head = pico_adapter(base, tmp_path / "head", target_modules=["lm_head"])
    set_key(head, target_modules=["output"])
    path = with_tensors(
        head, tmp_path, lambda tensors: {name: tensors[name] for name in tensors if "lora" in name}
    )
    assert refuse(base, support(path)).problem == (
        f"vllm cannot serve adapter support: it leaves what an adapter changes in lm_head {ISSUE}"
    )


def test_a_tensor_that_replaces_one_of_the_base_is_refused(base, adapter, tmp_path):
    path = with_tensors(
        adapter, tmp_path, lambda tensors: tensors | {f"{PREFIX}norm.weight": head_of(tensors)}
    )
    assert refuse(base, support(path)).problem == (
        "vllm cannot serve adapter support: it does not serve a trained model.norm.weight"
    )


def test_an_adapter_for_a_deeper_base_is_refused_by_module(base, tmp_path):
    deeper = pico_base(tmp_path / "deeper")
    set_depth(deeper, 3)
    path = pico_adapter(deeper, tmp_path / "deep")
    error = refuse(base, support(path), error=StageError)
    assert error.problem.startswith("adapter support: model.layers.2.")
    assert error.problem.endswith("has no place in the base model")
    assert error.hint == "is the adapter made for another base model?"


def test_an_adapter_for_a_wider_base_is_refused_by_shape(base, tmp_path):
    wide = pico_base(tmp_path / "wide", hidden_size=128)
    path = pico_adapter(wide, tmp_path / "adapter", target_modules=["q_proj"])
    error = refuse(base, support(path), error=StageError)
    assert error.problem == (
        "adapter support: its model.layers.0.self_attn.q_proj is for a layer of shape [128, 128], "
        "the base model's has [64, 64]"
    )


def test_an_adapter_that_was_never_trained_is_refused(base, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)
    error = refuse(base, support(idle), error=StageError)
    assert error.problem == ("adapter support changes nothing: its outputs equal the base model's")
    assert error.hint == "it was never trained: its B matrices are zero"


def test_a_pickled_adapter_is_refused(base, adapter, tmp_path):
    pickled = shutil.copytree(adapter, tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    error = refuse(base, support(pickled), error=SourceError)
    assert "its weights are pickled (adapter_model.bin)" in error.problem


def test_a_checkpoint_that_transformers_cannot_build_is_told(base, tmp_path):
    strange = shutil.copytree(base, tmp_path / "strange")
    written = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps(written | {"model_type": "unheard-of"}))
    error = refuse(strange, error=StageError)
    assert error.problem.startswith(f"{strange}: transformers cannot build it: ")


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_a_missing_engine_is_told_with_the_remedy(base, adapter):
    error = refuse(base, support(adapter), error=StageError)
    assert error.problem == (
        f"the vllm backend needs vLLM, which {sys.executable} cannot import: No module named 'vllm'"
    )
    assert error.hint == "gate env create vllm"


def test_it_reads_merged_and_compressed_checkpoints():
    assert extensions.find("backends", "vllm").reads == ("checkpoint", "compressed-tensors")


def test_its_parameters_are_refused_by_type():
    backend = extensions.find("backends", "vllm")
    given = {"trust_remote_code", "allow_pickle"}
    extensions.check_parameters(
        backend,
        Use(name="vllm", params={"max_length": 4096, "memory_share": 0.5, "kv_cache_gib": 4}),
        given_by_gate=given,
    )
    with pytest.raises(ConfigError, match=r"vllm\.dtype: 'int8' is not one of auto"):
        extensions.check_parameters(
            backend, Use(name="vllm", params={"dtype": "int8"}), given_by_gate=given
        )


PREFIX = "base_model.model.model."


def set_key(folder: Path, **values):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def set_depth(checkpoint: Path, layers: int):
    """Save a pico base again with more layers of random weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig.from_pretrained(checkpoint, num_hidden_layers=layers)
    AutoModelForCausalLM.from_config(config).save_pretrained(checkpoint)


def with_tensors(adapter: Path, folder: Path, change) -> Path:
    """An adapter whose tensors were changed."""
    from safetensors.torch import load_file, save_file

    out = shutil.copytree(adapter, folder / "changed")
    file = out / "adapter_model.safetensors"
    save_file({name: one.clone() for name, one in change(load_file(file)).items()}, file)
    return out


def head_of(tensors):
    return next(iter(tensors.values()))[0]
