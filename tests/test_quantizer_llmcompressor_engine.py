"""What llm-compressor really writes, in its own interpreter, and what the audit proves of it."""

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from builders import pico_adapter, pico_base
from safetensors.torch import load_file, save_file

from gate.auditing.artifacts import audit_artifact
from gate.auditing.quantized import audit_quantized
from gate.checkpoints import read_headers
from gate.digest import digest_tree
from gate.jobs import Batch, Done, Job
from gate.mergers import peft
from gate.records import WeightReport
from gate.running.children import run_in_child
from gate.terms import LocalAdapter, Stage, Use

pytestmark = pytest.mark.llmcompressor

FORMS = {
    "fp8": ({"scheme": "FP8_DYNAMIC"}, "fp8 e4m3", 8.25),
    "w8a8 rtn": ({"scheme": "W8A8", "method": "rtn"}, "int8", 8.25),
    "w8a8 gptq": ({"scheme": "W8A8"}, "int8", 8.25),
    "w4a16 rtn": ({"scheme": "W4A16", "method": "rtn"}, "int4", 4.28),
    "w4a16 gptq": ({"scheme": "W4A16", "group_size": 32}, "int4", 4.53),
    "w4a16 awq": ({"scheme": "W4A16", "method": "awq"}, "int4", 4.28),
}
"""Of each form: the parameters, the audit's word for it, bits of a weight of 64 by 64."""

CALIBRATED = ("w8a8 gptq", "w4a16 gptq", "w4a16 awq")
CODES = ("weight", "weight_packed")
SCALES = ("weight_scale",)
UP = "model.layers.0.mlp.up_proj"
Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.layers.0.input_layernorm.weight"


class Models(NamedTuple):
    """The model that is quantized, what it was made from, and one with an lm_head of its own."""

    base: Path
    adapter: Path
    merged: Path
    untied: Path


class Made(NamedTuple):
    """What a job wrote."""

    out: Path
    report: WeightReport


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    base = pico_base(root / "base", dtype="bfloat16")
    adapter = pico_adapter(base, root / "adapter", strength=0.2)
    peft.merge(base, [LocalAdapter(name="a", path=adapter)], root / "merged")
    untied = pico_base(root / "untied", tie_word_embeddings=False)
    return Models(base, adapter, root / "merged", untied)


@pytest.fixture(scope="module")
def made(models, engine_python, tmp_path_factory):
    """Everything that is asked of the engine here, made by one worker."""
    root = tmp_path_factory.mktemp("made")
    inputs = [{"text": f"the parcel {place} is late and the color is red"} for place in range(30)]
    inputs.append({"messages": [{"role": "user", "content": "cancel my order please"}]})
    calibration = root / "calibration.jsonl"
    calibration.write_text("".join(json.dumps(one) + "\n" for one in inputs))
    asked = {name: (models.merged, params) for name, (params, *_) in FORMS.items()}
    asked |= {f"base {name}": (models.base, params) for name, (params, *_) in FORMS.items()}
    asked |= {f"{name} again": (models.merged, params) for name, (params, *_) in FORMS.items()}
    asked["untied"] = (models.untied, {"scheme": "FP8_DYNAMIC"})
    asked["few"] = (models.merged, {"scheme": "W8A8", "samples": 1})
    jobs = [job(root / name, name, model, params) for name, (model, params) in asked.items()]
    options = {"calibration": [str(calibration)]}
    batch = Batch(jobs=tuple(jobs), options=options, python=engine_python("llmcompressor"))
    events = []
    run_in_child(batch, root / "log", events.append)
    assert isinstance(events[-1], Done), events[-1]
    return {name: written(root / name) for name in asked}


def job(folder: Path, name: str, model: Path, params) -> Job:
    (folder / "output").mkdir(parents=True)
    use = Use(name="llmcompressor", params=params)
    stage = Stage(kind="quantize", use=use, inputs={"model": name}, code="c", packages={})
    return Job(
        stage=stage,
        label=name,
        model=str(model),
        adapters=(),
        task=None,
        out=str(folder / "output"),
    )


def written(folder: Path) -> Made:
    report = WeightReport.model_validate_json((folder / "report.json").read_bytes())
    return Made(folder / "output", report)


def audit(models, out, params):
    return audit_artifact(
        models.base,
        [LocalAdapter(name="a", path=models.adapter)],
        out,
        merged=models.merged,
        use=Use(name="llmcompressor", params=params),
        base_precision=None,
        trust_remote_code=False,
        allow_pickle=False,
    )


def edited(out, tmp_path, change):
    """A copy of a checkpoint whose tensors were changed: change({name: tensor})."""
    copy = Path(shutil.copytree(out, tmp_path / "edited"))
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_proven_to_be_the_merged_model(models, made, form):
    params, kind, bits = FORMS[form]
    found = audit(models, made[form].out, params)
    entries = {entry.tensor: entry for entry in found.quantized}
    assert found.faults == ()
    assert entries[Q].type == kind
    assert entries[Q].bits_per_weight == pytest.approx(bits, abs=0.01)
    assert {entries[name].type for name in entries if "_proj" not in name} == {"BF16"}


@pytest.mark.parametrize("form", FORMS)
def test_the_base_in_its_place_is_named_the_base(models, made, form):
    params, *_ = FORMS[form]
    faults = audit(models, made[f"base {form}"].out, params).faults
    assert faults[0].startswith("is the base model, quantized: ")


@pytest.mark.parametrize("form", FORMS)
def test_two_rows_swapped_are_a_fault(models, made, tmp_path, form):
    out = edited(made[form].out, tmp_path, lambda tensors: swap_rows(tensors, CODES + SCALES))
    assert is_found_in_up_proj(audit(models, out, {}).faults)


@pytest.mark.parametrize("form", FORMS)
def test_two_rows_of_codes_swapped_under_their_scales_are_a_fault(models, made, tmp_path, form):
    out = edited(made[form].out, tmp_path, lambda tensors: swap_rows(tensors, CODES))
    assert is_found_in_up_proj(audit(models, out, {}).faults)


@pytest.mark.parametrize("form", FORMS)
def test_a_row_of_zeros_is_a_fault(models, made, tmp_path, form):
    out = edited(made[form].out, tmp_path, lambda tensors: zero_a_row(tensors))
    assert is_found_in_up_proj(audit(models, out, {}).faults)


def swap_rows(tensors, parts):
    for name in {f"{UP}.{part}" for part in parts} & tensors.keys():
        tensor = tensors[name]
        rows = tensor.view(torch.uint8) if tensor.dtype is torch.float8_e4m3fn else tensor
        rows[[3, 70]] = rows[[70, 3]].clone()


def zero_a_row(tensors):
    for name in {f"{UP}.{part}" for part in CODES} & tensors.keys():
        tensors[name].view(torch.uint8)[5] = 0x88 if "packed" in name else 0


def is_found_in_up_proj(faults):
    """Whether up_proj is named, and nothing but the layers whose scales depend on its rows."""
    names = {fault.partition(":")[0] for fault in faults}
    return {f"{UP}.weight"} <= names <= {f"{UP}.weight", "model.layers.0.mlp.down_proj.weight"}


@pytest.mark.parametrize("form", FORMS)
def test_it_gives_the_same_bytes_again(made, form):
    assert digest_tree(made[f"{form} again"].out) == digest_tree(made[form].out)


@pytest.mark.parametrize("form", FORMS)
def test_everything_beside_the_weights_is_copied_byte_for_byte(models, made, form):
    beside = {file.name for file in models.merged.iterdir()} - {"model.safetensors", "config.json"}
    out = {file.name for file in made[form].out.iterdir()}
    assert out - {"model.safetensors.index.json"} == beside | {"model.safetensors", "config.json"}
    for name in beside:
        assert (made[form].out / name).read_bytes() == (models.merged / name).read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_else_is_left_behind(made, form):
    folder = made[form].out.parent
    assert sorted(file.name for file in folder.iterdir()) == ["output", "report.json"]


@pytest.mark.parametrize("form", FORMS)
def test_the_report_counts_weights_and_their_real_bytes(models, made, form):
    report = made[form].report
    before, after = (read_headers(path).values() for path in (models.merged, made[form].out))
    assert report.parameters == sum(header.parameters for header in before)
    assert report.weight_bytes == sum(header.size_bytes for header in after)
    assert report.fallbacks == ()


@pytest.mark.parametrize("form", FORMS)
def test_tied_embeddings_stay_tied(made, form):
    config = json.loads((made[form].out / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in read_headers(made[form].out)


def test_an_lm_head_of_its_own_is_left_alone_and_reported(made):
    (fallback,) = made["untied"].report.fallbacks
    assert (fallback.tensor, fallback.asked, fallback.got) == (
        "lm_head.weight",
        "FP8_DYNAMIC",
        "F32",
    )
    assert read_headers(made["untied"].out)["lm_head.weight"].dtype == "F32"


def test_smaller_groups_than_the_usual_are_told(made):
    assert made["w4a16 rtn"].report.warnings == (
        "groups of 64, because the usual 128 does not divide the width 64 of "
        "model.layers.0.mlp.gate_proj.weight",
    )
    assert made["w4a16 gptq"].report.warnings == ()


def test_calibration_on_few_tokens_is_told(made):
    (warning,) = made["few"].report.warnings
    assert warning.startswith("calibrated on ")
    assert warning.endswith(
        " tokens, fewer than the 128 inputs of the widest layer: what they do not show, the "
        "quantizer cannot weigh"
    )


@pytest.mark.parametrize("form", CALIBRATED)
def test_calibration_changes_the_weights(made, form):
    scheme = form.partition(" ")[0]
    assert digest_tree(made[form].out) != digest_tree(made[f"{scheme} rtn"].out)


def test_weights_are_symmetric_as_the_kernels_of_vllm_take_them(made):
    config = json.loads((made["w4a16 gptq"].out / "config.json").read_text())
    (group,) = config["quantization_config"]["config_groups"].values()
    assert config["quantization_config"]["format"] == "pack-quantized"
    assert (group["weights"]["symmetric"], group["weights"]["group_size"]) == (True, 32)
    assert not any("zero_point" in name for name in read_headers(made["w4a16 gptq"].out))


def test_what_awq_scaled_is_said_to_be_proven_together(models, made):
    (warning,) = audit(models, made["w4a16 awq"].out, {}).warnings
    assert re.match(
        r"\d norms were scaled, as AWQ does, and the linear layers around them against that: they "
        "are proven together, as far as their scales cancel, and not each alone; the first is "
        "model.layers.0.input_layernorm.weight",
        warning,
    )


def test_a_norm_that_awq_scaled_and_nothing_undoes_is_a_fault(models, made, tmp_path):
    out = edited(made["w4a16 awq"].out, tmp_path, lambda tensors: tensors[NORM].mul_(2))
    faults = audit_quantized(models.merged, out, base=models.base).faults
    assert faults[0].startswith("model.layers.0.self_attn.k_proj.weight: 32 of its 32 rows")
    assert {fault.split(".")[4] for fault in faults} == {"k_proj", "q_proj", "v_proj"}
