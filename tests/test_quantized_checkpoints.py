"""What holds for every checkpoint that transformers quantizes and runs: bitsandbytes, torchao."""

import json
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from builders import opened, pico_adapter, pico_base, pico_tokenizer
from safetensors.torch import load_file, save_file

from gate.auditing.artifacts import audit_artifact
from gate.backends.hf import open_model
from gate.checkpoints import measure, read_headers
from gate.digest import digest_tree
from gate.engines.interface import PromptRow, ScoreRow
from gate.errors import SourceError, StageError
from gate.mergers import peft
from gate.quantizing.quantized_checkpoints import write_quantized
from gate.terms import LocalAdapter, Use

IDS = (5, 9, 31, 40, 12, 7, 99, 150, 3)
UP = "model.layers.0.mlp.up_proj.weight"
BITS = {"nf4": 4.5, "int8": 8.5, "fp8": 8.5}
ERRORS = {"nf4": 0.1, "int8": 0.01, "fp8": 0.03}
FORMS = [
    pytest.param(
        (name, kind),
        id=f"{name}-{kind}",
        marks=[
            getattr(pytest.mark, name),
            pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}"),
        ],
    )
    for name, kind in (
        ("bitsandbytes", "nf4"), ("bitsandbytes", "int8"), ("torchao", "int8"), ("torchao", "fp8")
    )
]  # fmt: skip
every_form = pytest.mark.parametrize("form", FORMS)


class World:
    """A base and a merge of it, and the merge in each form, made when it is first asked for."""

    def __init__(self, base, root):
        self.base, self.merged, self._root = base, root / "merged", root
        adapter = pico_adapter(base, root / "adapter", strength=0.05)
        self.adapters = [LocalAdapter(name="a", path=adapter)]
        peft.merge(base, self.adapters, self.merged)
        self.reports = {}

    def quantize(self, model, out, form, **options):
        name, kind = form
        quantizer = import_module(f"gate.quantizers.{name}")
        return quantizer.quantize(model, out, type=kind, **options)

    def quantized(self, form):
        out = self._root / "-".join(form)
        if form not in self.reports:
            self.reports[form] = self.quantize(self.merged, out, form)
        return out

    def audit(self, model, form):
        name, kind = form
        return audit_artifact(
            self.base,
            self.adapters,
            model,
            merged=self.merged,
            use=Use(name=name, params={"type": kind}),
            base_precision=None,
            trust_remote_code=False,
            allow_pickle=False,
        )


@pytest.fixture(scope="module")
def world(base, tmp_path_factory):
    return World(base, tmp_path_factory.mktemp("world"))


def edited(model, out, change):
    """A copy of a checkpoint after change({name: tensor})."""
    shutil.copytree(model, out)
    file = out / "model.safetensors"
    text = file.read_bytes()
    told = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])["__metadata__"]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata=told)
    return out


def likelihoods(model, adapters=(), **options):
    here = [LocalAdapter(name="a", path=path) for path in adapters]
    with opened(open_model(model, here, device="cpu", **options)) as engine:
        rows = [ScoreRow(IDS[:end], ((IDS[end],),)) for end in range(1, len(IDS))]
        return [found.loglikelihood for (found,) in engine.score(rows)]


@every_form
def test_transformers_loads_it_unchanged(world, form):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        world.quantized(form), output_loading_info=True
    )
    assert not any(info.values())
    assert type(model.model.layers[0].mlp.up_proj.weight) is not torch.nn.Parameter


@every_form
def test_it_answers_nearly_as_the_merged_model(world, form):
    found = torch.tensor(likelihoods(world.quantized(form)))
    expected = torch.tensor(likelihoods(world.merged))
    assert 0 < (found - expected).abs().mean() < 20 * ERRORS[form[1]]


@every_form
def test_it_writes_at_least_as_many_tokens_as_are_asked_for(world, form):
    with opened(open_model(world.quantized(form), (), device="cpu")) as engine:
        (written,) = engine.generate([PromptRow(IDS, (), 6, 6)])
    assert len(written) == 6


@every_form
def test_the_report_has_its_real_bits(world, form):
    out = world.quantized(form)
    report = world.reports[form]
    assert report.weight_bytes == measure(read_headers(out)).size_bytes
    assert report.parameters == measure(read_headers(world.merged)).parameters
    assert (report.fallbacks, report.warnings) == ((), ())


@every_form
def test_the_same_bytes_come_twice(world, tmp_path, form):
    world.quantize(world.merged, tmp_path / "again", form)
    assert digest_tree(tmp_path / "again") == digest_tree(world.quantized(form))


@every_form
def test_every_other_file_is_kept_byte_for_byte(world, form):
    given, made = digest_tree(world.merged), digest_tree(world.quantized(form))
    assert given.keys() == made.keys()
    changed = {name for name in given if given[name] != made[name]}
    assert changed == {"config.json", "model.safetensors"}


@every_form
def test_config_json_gains_how_it_is_quantized_and_nothing_else(world, form):
    before = json.loads((world.merged / "config.json").read_text())
    after = json.loads((world.quantized(form) / "config.json").read_text())
    assert after.pop("quantization_config")["quant_method"] == form[0]
    assert after == before


@every_form
def test_embeddings_stay_tied_and_as_they_are(world, form):
    before = load_file(world.merged / "model.safetensors")
    after = load_file(world.quantized(form) / "model.safetensors")
    assert "lm_head.weight" not in after
    for name in ("model.embed_tokens.weight", "model.norm.weight"):
        assert torch.equal(before[name], after[name])


@every_form
def test_an_output_layer_of_its_own_is_left_alone(tmp_path, world, form):
    base = pico_base(tmp_path / "base", tie_word_embeddings=False, dtype="bfloat16")
    world.quantize(base, tmp_path / "out", form)
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(before["lm_head.weight"], after["lm_head.weight"])


@every_form
def test_a_model_of_experts_names_what_is_not_quantized(tmp_path, world, form):
    world.quantize(pico_mixture(tmp_path / "base"), tmp_path / "out", form)
    report = world.quantize(pico_mixture(tmp_path / "again"), tmp_path / "twice", form)
    expert = "model.layers.0.block_sparse_moe.experts.0.w1.weight"
    asked = " ".join(form)
    found = {item.tensor: (item.asked, item.got) for item in report.fallbacks}
    assert found[expert] == (asked, "F32")
    assert report.warnings == (
        f"{len(found)} matrices are no linear layers, which is all that {asked} quantizes: judge "
        "the size by the real bits per weight",
    )


def pico_mixture(out):
    from transformers import MixtralConfig, MixtralForCausalLM

    tokenizer = pico_tokenizer()
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        max_position_embeddings=128,
        dtype="float32",
    )
    MixtralForCausalLM(config).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


# The audit of what is written


@every_form
def test_it_is_proven_with_its_error_and_real_bits(world, form):
    audit = world.audit(world.quantized(form), form)
    entries = {entry.tensor: entry for entry in audit.quantized}
    assert (audit.faults, audit.warnings) == ((), ())
    assert entries.keys() == load_file(world.merged / "model.safetensors").keys()
    assert entries[UP].type.partition(" ")[0] == form[1]
    assert entries[UP].relative_error == pytest.approx(ERRORS[form[1]], rel=0.5)
    assert entries[UP].bits_per_weight == pytest.approx(BITS[form[1]], rel=0.35)


@every_form
def test_the_base_quantized_is_named_the_base(world, tmp_path, form):
    world.quantize(world.base, tmp_path / "out", form)
    faults = world.audit(tmp_path / "out", form).faults
    assert faults[0].startswith("is the base model, quantized: ")


@every_form
def test_two_rows_swapped_are_a_fault(world, tmp_path, form):
    def swap(tensors):
        tensors[UP][[3, 70]] = tensors[UP][[70, 3]].clone()

    wrong = edited(world.merged, tmp_path / "wrong", swap)
    world.quantize(wrong, tmp_path / "out", form)
    faults = world.audit(tmp_path / "out", form).faults
    assert [fault.partition(" of its")[0] for fault in faults] == [f"{UP}: 2"]


@every_form
def test_what_was_never_quantized_is_a_fault(world, tmp_path, form):
    name, kind = form
    out = Path(shutil.copytree(world.merged, tmp_path / "out"))
    config = json.loads((out / "config.json").read_text())
    settings = {"quantization_config": {"quant_method": name}}
    (out / "config.json").write_text(json.dumps(config | settings))
    assert world.audit(out, form).faults == (
        f"was never quantized: every tensor is the merged model's, stored as F32, but {kind} was "
        "asked for",
    )


@every_form
def test_another_type_than_was_asked_for_is_a_fault(world, form):
    name, kind = form
    others = {"nf4": "int8", "int8": "nf4" if name == "bitsandbytes" else "fp8", "fp8": "int8"}
    stored = "fp8 e4m3" if kind == "fp8" else kind
    assert world.audit(world.quantized(form), (name, others[kind])).faults == (
        f"is stored as {stored}, but {others[kind]} was asked for",
    )


@every_form
def test_one_changed_scale_is_a_fault(world, tmp_path, form):
    places = {
        "nf4": f"{UP}.nested_absmax",
        "int8": "model.layers.0.mlp.up_proj.SCB",
        "fp8": "model.layers.0.mlp.up_proj._weight_scale",
    }
    place = places["fp8"] if form[0] == "torchao" else places[form[1]]
    out = edited(
        world.quantized(form), tmp_path / "out", lambda tensors: tensors[place][0].mul_(-3)
    )
    assert any(fault.startswith(f"{UP}: ") for fault in world.audit(out, form).faults)


# What cannot be done


@pytest.mark.parametrize("name", ["bitsandbytes", "torchao"])
def test_a_quantizer_says_what_to_install(base, tmp_path, monkeypatch, name):
    quantizer = import_module(f"gate.quantizers.{name}")
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StageError, match=f"needs {name}, which is not installed") as caught:
        quantizer.quantize(base, tmp_path / "out", type="int8")
    assert caught.value.hint == f"pip install 'mergegate[{name}]'"


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("bitsandbytes", "pip install 'mergegate[bitsandbytes]'"),
        ("torchao", "pip install 'mergegate[torchao]'"),
        ("compressed-tensors", "pip install 'mergegate[compressed-tensors]'"),
    ],
)
def test_serving_says_what_to_install(base, tmp_path, monkeypatch, method, remedy):
    out, package = claimed(base, tmp_path, {"quant_method": method}), method.replace("-", "_")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StageError, match=f"in the format of {method}, and {package} is") as caught:
        likelihoods(out)
    assert caught.value.hint == remedy


def test_serving_4_bits_can_do_without_the_package(base, tmp_path, monkeypatch):
    out = claimed(base, tmp_path, {"quant_method": "bitsandbytes", "load_in_4bit": True})
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(StageError) as caught:
        likelihoods(out)
    assert caught.value.hint == (
        "pip install 'mergegate[bitsandbytes]'; or base_precision: nf4, to compute with its "
        "values without it"
    )


def claimed(base, tmp_path, settings):
    """A copy of the base whose config.json says that it is quantized."""
    out = Path(shutil.copytree(base, tmp_path / "claimed"))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return out


def test_what_is_quantized_already_is_refused(base, tmp_path):
    model = claimed(base, tmp_path, {"quant_method": "gptq"})
    with pytest.raises(StageError, match="is quantized already, by gptq") as caught:
        write_quantized(model, tmp_path / "out", None, asked="x", trust_remote_code=False)
    assert caught.value.hint == "give the 16-bit checkpoint"


def test_code_of_its_own_is_refused(base, tmp_path):
    model = Path(shutil.copytree(base, tmp_path / "model"))
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "odd.Odd"}}')
    with pytest.raises(SourceError, match="wants to run code of its own"):
        write_quantized(model, tmp_path / "out", None, asked="x", trust_remote_code=False)


@every_form
def test_a_checkpoint_that_lacks_a_tensor_is_refused(base, tmp_path, world, form):
    model = edited(base, tmp_path / "model", lambda tensors: tensors.pop(UP))
    with pytest.raises(StageError, match="does not hold") as caught:
        world.quantize(model, tmp_path / "out", form)
    assert UP in caught.value.problem


@every_form
def test_a_model_without_linear_layers_is_refused(tmp_path, world, form):
    model = pico_base(tmp_path / "base", num_hidden_layers=0)
    with pytest.raises(StageError, match="finds no linear layer to quantize") as caught:
        world.quantize(model, tmp_path / "out", form)
    assert " ".join(form) in caught.value.problem
