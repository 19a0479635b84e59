"""The vLLM backend in its own interpreter, held against the transformers backend in this one."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base
from engine_answers import answers_of
from gates import write_task

from gate.environments import gate_alone
from gate.evaluation_records import Evaluation
from gate.jobs import Batch, Done, Job
from gate.mergers.stream import merge
from gate.running.children import run_in_child
from gate.running.worker import EVALUATION_FILE, run_in_process
from gate.terms import LocalAdapter, Stage, Task, Use

pytestmark = [
    pytest.mark.vllm,
    # transformers 5.23 asks itself for a name that it deprecates
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

WIDTH = 128  # heads of 32: vLLM's attention on a CPU knows none of 16
FLOAT32 = {"dtype": "float32"}


def case(weights, *adapters, backend="vllm", **options):
    return {
        "backend": backend,
        "weights": str(weights),
        "adapters": [str(path) for path in adapters],
        "options": FLOAT32 | options,
    }


def set_key(folder: Path, file: str, **values):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Pico checkpoints and adapters by name."""
    folder = tmp_path_factory.mktemp("models")
    base = pico_base(folder / "base", hidden_size=WIDTH)
    adapter = pico_adapter(base, folder / "adapter")
    pico_adapter(
        base,
        folder / "patterned",
        r=3,
        strength=0.2,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"],
        use_rslora=True,
        rank_pattern={"layers.1.self_attn.v_proj": 20},
        alpha_pattern={"k_proj": 1},
    )
    (folder / "merged").mkdir()
    merge(base, (LocalAdapter(name="support", path=adapter),), folder / "merged")
    ending = shutil.copytree(base, folder / "ending")
    written = answers_of(case(base, backend="hf"))["whole"]
    set_key(ending, "generation_config.json", eos_token_id=[2, written[2]])
    talking = shutil.copytree(adapter, folder / "talking")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / file, talking / file)
    (talking / "chat_template.jinja").write_text("{% for m in messages %}<|user|>{% endfor %}")
    broken = shutil.copytree(base, folder / "broken")
    _break(broken / "model.safetensors")
    pico_base(folder / "narrow")
    long = shutil.copytree(base, folder / "long")
    set_key(long, "config.json", max_position_embeddings=2**22)
    set_key(shutil.copytree(base, folder / "undeclared"), "config.json", dtype=None)
    return folder


def _break(file):
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})


def ask(python: str, cases, scratch: Path):
    """The answers of cases that another interpreter opens, one after the other."""
    asked, told = scratch / "cases.json", scratch / "answers.json"
    asked.write_text(json.dumps(cases))
    script = Path(__file__).with_name("engine_answers.py")
    done = subprocess.run(
        [python, script, asked, told],
        env={**os.environ, "PYTHONPATH": str(gate_alone()), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return json.loads(told.read_text())


@pytest.fixture(scope="module")
def answers(models, engine_python, tmp_path_factory):
    """What vLLM answers for each model, by name; one process for them all."""
    base, adapter = models / "base", models / "adapter"
    cases = {
        "base": case(base, dtype="auto"),
        "undeclared": case(models / "undeclared", dtype="auto"),
        "adapter": case(base, adapter),
        "alone": case(base, adapter, batch_size=1),
        "patterned": case(base, models / "patterned"),
        "merged": case(models / "merged"),
        "ending": case(models / "ending"),
        "talking": case(base, models / "talking"),
        "broken": case(models / "broken"),
        "narrow": case(models / "narrow"),
        "long": case(models / "long"),
        "short": case(base, max_length=9999),
        "misnamed": case(base, adapter) | {"is_misnamed": True},
    }
    return ask(engine_python("vllm"), cases, tmp_path_factory.mktemp("answers"))


def agree(found, weights, *adapters):
    """Whether vLLM's answers are those of transformers, asked the same token ids."""
    expected = json.loads(json.dumps(answers_of(case(weights, *adapters, backend="hf"))))
    for key in ("likelihoods", "many"):
        scores, greedy = zip(*found[key], strict=True)
        expected_scores, expected_greedy = zip(*expected[key], strict=True)
        assert scores == pytest.approx(expected_scores, abs=1e-3)
        assert greedy == expected_greedy
    for key in ("texts", "stopped", "whole", "hashes", "chat"):
        assert found[key] == expected[key]
    return True


def test_a_base_model_answers_as_in_transformers(models, answers):
    assert agree(answers["base"], models / "base")


def test_weights_of_an_undeclared_type_are_computed_in_it(models, answers):
    assert agree(answers["undeclared"], models / "base")


def test_an_adapter_answers_as_in_transformers(models, answers):
    assert agree(answers["adapter"], models / "base", models / "adapter")
    assert answers["adapter"]["texts"] != answers["base"]["texts"]


def test_ranks_and_alphas_of_their_own_answer_as_in_transformers(models, answers):
    assert agree(answers["patterned"], models / "base", models / "patterned")


def test_merged_weights_answer_as_in_transformers(models, answers):
    assert agree(answers["merged"], models / "merged")


def test_batch_size_does_not_change_answers(answers):
    alone, together = answers["alone"], answers["adapter"]
    scores = [score for score, _ in together["likelihoods"]]
    assert [score for score, _ in alone["likelihoods"]] == pytest.approx(scores, abs=1e-3)
    assert alone["texts"] == together["texts"]


def test_every_end_token_of_the_checkpoint_ends_an_answer(models, answers):
    assert agree(answers["ending"], models / "ending")
    assert answers["ending"]["whole"] == answers["base"]["whole"][:2]


def test_an_end_token_before_the_least_tokens_is_not_written(answers):
    end = answers["base"]["whole"][2]
    assert len(answers["ending"]["long"]) == 8
    assert end not in answers["ending"]["long"]


def test_the_adapters_own_tokenizer_is_used(answers):
    assert answers["talking"]["chat"] == "<|user|>"


def test_weights_that_are_not_numbers_are_an_error(answers):
    assert answers["broken"] == {
        "problem": "broken: its logits are not finite",
        "hint": "the weights hold NaN or infinity, or overflow in this dtype",
    }


def test_a_model_that_vllm_cannot_run_says_why(answers):
    assert answers["narrow"]["problem"].startswith("narrow: vLLM cannot run it: Unsupported CPU")


def test_a_model_that_vllm_cannot_load_says_why(models, answers):
    start = f"{models / 'base'}: vLLM cannot load it: User-specified max_model_len (9999)"
    assert answers["short"]["problem"].startswith(start)


def test_a_model_that_attends_too_far_for_its_memory_says_what_to_set(answers):
    assert "KV cache" in answers["long"]["problem"]
    assert answers["long"]["hint"] == (
        "set max_length, or give it more with kv_cache_gib (on a CPU) or memory_share (on a GPU)"
    )


def test_an_adapter_that_vllm_drops_in_silence_is_refused_by_kind(answers):
    assert answers["misnamed"]["problem"] == (
        "adapter support: vLLM does not apply what it changes in model.layers.*.self_attn.v_proj"
    )
    assert answers["misnamed"]["hint"] == "serve it with hf, or merge it"


def test_nothing_is_left_of_it(answers):
    assert answers["adapter"]["children"] == []
    assert answers["end"] == {"children": [], "environment": None}


@pytest.mark.llmcompressor
def test_compressed_weights_answer_near_those_they_were_made_of(
    models, answers, engine_python, tmp_path
):
    use = Use(name="llmcompressor", params={"scheme": "W8A8", "method": "rtn"})
    stage = Stage(kind="quantize", use=use, inputs={"model": "m"}, code="c", packages={})
    out = tmp_path / "work" / "output"
    out.mkdir(parents=True)
    job = Job(
        stage=stage,
        label="w8a8",
        model=str(models / "merged"),
        adapters=(),
        task=None,
        out=str(out),
    )
    events = []
    batch = Batch(jobs=(job,), options={}, python=engine_python("llmcompressor"))
    run_in_child(batch, tmp_path / "log", events.append)
    assert isinstance(events[-1], Done), events[-1]

    found = ask(engine_python("vllm"), {"w8a8": case(out)}, tmp_path)["w8a8"]

    scores = [score for score, _ in answers["merged"]["likelihoods"]]
    assert [score for score, _ in found["likelihoods"]] == pytest.approx(scores, rel=0.2, abs=1)
    assert [score for score, _ in found["likelihoods"]] != pytest.approx(scores, abs=1e-3)
    assert found["hashes"] == answers["merged"]["hashes"]


def test_a_worker_in_its_interpreter_evaluates_as_one_here_does(models, engine_python, tmp_path):
    found = evaluate(models, tmp_path / "vllm", "vllm", engine_python("vllm"))
    expected = evaluate(models, tmp_path / "hf", "hf", None)

    for one, other in zip(found.samples, expected.samples, strict=True):
        assert one.loglikelihoods == pytest.approx(other.loglikelihoods, abs=1e-3)
        assert one.request_hash == other.request_hash


def evaluate(models, folder: Path, backend: str, python: str | None) -> Evaluation:
    task = Task(
        name="colors", metric="acc", path=str(write_task(folder / "tasks", documents=20)), chat=True
    )
    out = folder / "work" / "output"
    out.mkdir(parents=True)
    stage = Stage(
        kind="evaluate",
        use=Use(name=backend, params=FLOAT32),
        inputs={"model": "m"},
        code="c",
        packages={},
        task=task,
    )
    job = Job(
        stage=stage,
        label="evaluate adapter on colors",
        model=str(models / "base"),
        adapters=(LocalAdapter(name="support", path=models / "adapter"),),
        task=task,
        out=str(out),
    )
    events = []
    run = run_in_child if python else run_in_process
    run(Batch(jobs=(job,), options={}, python=python), folder / "log", events.append)
    assert isinstance(events[-1], Done), events[-1]
    return Evaluation.model_validate_json((out / EVALUATION_FILE).read_bytes())


@pytest.fixture(scope="module")
def gpu_python(engine_python):
    """The interpreter of vLLM, where it sees a CUDA device."""
    python = engine_python("vllm")
    question = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([python, "-c", question], check=False).returncode:
        pytest.skip("vLLM's torch sees no CUDA device")
    return python


@pytest.mark.gpu
def test_on_a_gpu_it_answers_as_in_transformers_too(models, gpu_python, tmp_path):
    cases = {"base": case(models / "base"), "merged": case(models / "merged")}
    found = ask(gpu_python, cases, tmp_path)
    assert agree(found["base"], models / "base")
    assert agree(found["merged"], models / "merged")


@pytest.mark.gpu
def test_an_adapter_in_float32_on_a_gpu_is_refused(models, gpu_python, tmp_path):
    found = ask(gpu_python, {"adapter": case(models / "base", models / "adapter")}, tmp_path)
    assert found["adapter"] == {
        "problem": "base: vLLM does not compute an adapter in float32 on a GPU",
        "hint": "set dtype: bfloat16, or serve it with hf",
    }


@pytest.mark.gpu
def test_an_adapter_on_a_gpu_gives_what_its_merged_weights_give(models, gpu_python, tmp_path):
    cases = {
        "adapter": case(models / "base", models / "adapter", dtype="bfloat16"),
        "merged": case(models / "merged", dtype="bfloat16"),
    }
    found = ask(gpu_python, cases, tmp_path)
    scores = [score for score, _ in found["merged"]["likelihoods"]]
    assert [score for score, _ in found["adapter"]["likelihoods"]] == pytest.approx(
        scores, rel=0.03, abs=0.5
    )
    assert found["adapter"]["hashes"] == found["merged"]["hashes"]
