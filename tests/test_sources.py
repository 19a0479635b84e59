import json
import re
import shutil
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.digest import digest_file, digest_json
from gate.errors import SourceError
from gate.sources import check_fit, locate

# peft warns of a tied base model whose embeddings it adapts, and calls what transformers renamed
pytestmark = [
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]


def find(given, kind="base", *, root: Path = Path("/"), **changes):
    flags = {"allow_pickle": False, "trust_remote_code": False} | changes
    return locate(str(given), root=root, kind=kind, file_digest=digest_file, **flags)


@pytest.fixture
def model(base, tmp_path):
    """A copy of the pico base that a test may spoil."""
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def lora(adapter, tmp_path):
    """A copy of the pico adapter that a test may spoil."""
    return Path(shutil.copytree(adapter, tmp_path / "lora"))


def edit(file: Path, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_tensors(lora: Path, change):
    file = lora / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)
    return lora


def test_a_directory_is_found_relative_to_the_root(base):
    source = find(base.name, root=base.parent)
    assert (source.given, source.path) == (base.name, str(base))


def test_a_tilde_is_the_home_directory(base, monkeypatch):
    monkeypatch.setenv("HOME", str(base.parent))
    assert find(f"~/{base.name}").path == str(base)


def test_the_manifest_names_what_can_change_an_output(base):
    assert sorted(find(base).manifest) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_traces_of_training_do_not_change_the_content_id(lora):
    before = find(lora, "adapter").digest
    for name in ("README.md", "LICENSE.txt", "trainer_state.json", "training_args.bin",
                 "optimizer.pt", "scheduler.pt", "rng_state.pth", ".cache.json"):  # fmt: skip
        (lora / name).write_text("{}")
    assert find(lora, "adapter").digest == before


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "modeling_odd.py"])
def test_what_is_read_changes_the_content_id(model, name):
    before = find(model).digest
    with (model / name).open("a") as file:
        file.write("\n")
    assert find(model).digest != before


def test_the_same_bytes_elsewhere_have_the_same_content_id(base, model):
    assert find(base).digest == find(model).digest


def test_the_digest_given_is_the_one_used(base):
    source = locate(
        str(base),
        root=Path("/"),
        allow_pickle=False,
        trust_remote_code=False,
        kind="base",
        file_digest=lambda file: f"digest of {file.name}",
    )
    assert source.manifest["config.json"] == "digest of config.json"


def test_a_missing_directory_is_refused_with_near_names(base):
    with pytest.raises(SourceError, match="pico-bass: no such directory") as caught:
        find("pico-bass", root=base.parent)
    assert caught.value.hint == "did you mean pico-base?"


def test_a_near_name_is_given_as_it_would_be_written(base):
    with pytest.raises(SourceError) as caught:
        find(f"{base.parent.name}/pico-bass", root=base.parent.parent)
    assert caught.value.hint == f"did you mean {base.parent.name}/pico-base?"


def test_a_hub_id_without_a_revision_is_refused(tmp_path):
    with pytest.raises(SourceError, match="org/name: no such directory") as caught:
        find("org/name", root=tmp_path)
    assert caught.value.hint == "a hub id needs its revision: org/name@<commit>"


def test_a_hub_model_out_of_reach_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="org/name@main: neither in the local hub") as caught:
        find("org/name@main", root=tmp_path)
    assert "check the id, the revision and HF_TOKEN" in caught.value.hint


def test_a_hub_model_in_the_cache_goes_by_its_commit(base, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 39 + "1"
    cached = tmp_path / "models--org--name"
    shutil.copytree(base, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    source = find("org/name@main", root=tmp_path)
    assert (source.commit, source.manifest) == (commit, {})
    assert source.digest == digest_json({"hub": "org/name", "commit": commit})
    assert Path(source.path).name == commit


def test_a_file_instead_of_a_directory_is_refused(base):
    with pytest.raises(SourceError, match="a file, not a directory") as caught:
        find(base / "config.json")
    assert caught.value.hint == "give the folder that holds it"


@pytest.mark.parametrize(
    ("kind", "name"), [("base", "config.json"), ("adapter", "adapter_config.json")]
)
def test_a_directory_without_a_config_is_refused(tmp_path, kind, name):
    with pytest.raises(SourceError, match=f"has no {name}"):
        find(tmp_path, kind)


def test_checkpoints_inside_are_suggested(tmp_path):
    (tmp_path / "checkpoint-40").mkdir()
    with pytest.raises(SourceError) as caught:
        find(tmp_path, "adapter")
    assert caught.value.hint == "did you mean one of checkpoint-40 in it?"


def test_an_adapter_is_no_base_model(adapter):
    with pytest.raises(SourceError, match="an adapter, not a base model"):
        find(adapter, "base")


def test_a_base_model_is_no_adapter(base):
    with pytest.raises(SourceError, match="a whole model, not an adapter"):
        find(base, "adapter")


def test_unreadable_json_is_refused(model):
    (model / "config.json").write_text("{")
    with pytest.raises(SourceError, match=re.escape("config.json: cannot be read as JSON")):
        find(model)


def test_pickled_weights_are_refused_unless_allowed(model):
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(SourceError, match=re.escape("pickled (pytorch_model.bin): a pickle can")):
        find(model)
    assert "pytorch_model.bin" in find(model, allow_pickle=True).manifest


def test_code_of_its_own_is_refused_unless_trusted(model):
    edit(model / "config.json", auto_map={"AutoModelForCausalLM": "odd.Odd"})
    with pytest.raises(
        SourceError, match=re.escape("wants to run code of its own: config.json: auto_map")
    ):
        find(model)
    assert find(model, trust_remote_code=True).path == str(model)


def test_truncated_weights_are_refused(model):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SourceError, match="truncated"):
        find(model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "prompt tuning (PROMPT_TUNING)"),
        ({"peft_type": "PREFIX_TUNING"}, "prefix tuning (PREFIX_TUNING)"),
        ({"peft_type": "XLORA"}, "X-LoRA (XLORA)"),
        ({"alora_invocation_tokens": [1, 2]}, "activated LoRA (alora_invocation_tokens)"),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(lora, changes, words):
    edit(lora / "adapter_config.json", **changes)
    with pytest.raises(SourceError, match=f"{re.escape(words)} cannot be merged into a base"):
        find(lora, "adapter")


def fit(base, adapter):
    check_fit(find(base), find(adapter, "adapter"))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_dora": True},
        {"target_modules": ["lm_head", "embed_tokens", "q_proj"]},
        {"modules_to_save": ["lm_head"]},
        {"trainable_token_indices": [3]},
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.down_proj.weight"]},
    ],
    ids=lambda config: next(iter(config), "plain"),
)
def test_an_adapter_fits_the_base_it_was_trained_on(base, tmp_path, config):
    fit(base, pico_adapter(base, tmp_path / "adapter", **config))


def test_a_base_that_is_renamed_on_load_still_fits(model, adapter):
    file = model / "model.safetensors"
    save_file({f"odd.{name}": tensor for name, tensor in load_file(file).items()}, file)
    fit(model, adapter)


def test_an_adapter_of_a_wider_base_is_refused(base, tmp_path):
    wider = pico_base(tmp_path / "wider", hidden_size=96)
    with pytest.raises(SourceError, match=re.escape("which does not fit model.layers.0")) as caught:
        fit(base, pico_adapter(wider, tmp_path / "adapter"))
    assert "has shape [4, 192]" in caught.value.problem
    assert "mlp.down_proj.weight with shape [64, 128] in the base" in caught.value.problem
    assert caught.value.hint == f"adapter made for another base? it names {wider}"


def test_a_resized_module_to_save_is_refused(base, tmp_path):
    lora = pico_adapter(base, tmp_path / "adapter", modules_to_save=["embed_tokens"])
    edit_tensors(
        lora,
        lambda tensors: {
            name: tensor.repeat(2, 1) if "embed_tokens" in name else tensor
            for name, tensor in tensors.items()
        },
    )
    with pytest.raises(SourceError, match=r"embed_tokens.weight has shape \[756, 64\]"):
        fit(base, lora)


def test_an_adapter_of_another_architecture_is_refused(base, lora):
    edit_tensors(
        lora,
        lambda tensors: {
            name.replace(".layers.", ".blocks."): tensor for name, tensor in tensors.items()
        },
    )
    with pytest.raises(SourceError, match="none of its modules is in base") as caught:
        fit(base, lora)
    assert "the first is base_model.model.model.blocks.0" in caught.value.problem
    assert "adapter made for another base?" in caught.value.hint


def test_some_unknown_modules_are_left_for_the_merge_to_prove(base, lora):
    edit_tensors(
        lora,
        lambda tensors: {
            name.replace("layers.1.", "layers.9."): tensor for name, tensor in tensors.items()
        },
    )
    fit(base, lora)


def test_an_adapter_whose_lora_b_is_all_zero_is_refused(base, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)
    with pytest.raises(SourceError, match="changes nothing: every lora_B is zero"):
        fit(base, idle)


def test_a_zero_lora_b_beside_saved_modules_is_not_refused(base, tmp_path):
    adapter = pico_adapter(base, tmp_path / "a", strength=0.0, modules_to_save=["lm_head"])
    fit(base, adapter)


def test_pickled_weights_are_not_checked_by_header(base, lora):
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    check_fit(find(base), find(lora, "adapter", allow_pickle=True))
