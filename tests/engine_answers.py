"""What a served model answers to fixed questions; also a script, for another interpreter to run.

`python engine_answers.py cases.json answers.json` opens each case in turn, as {backend, weights,
adapters, options}, and writes what `answers_of` gives for it.
"""

import importlib
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from lm_eval.api.instance import Instance

from gate.engines.interface import PromptRow, ScoreRow
from gate.errors import GateError
from gate.terms import LocalAdapter

CONTEXT = "<|user|>Where is my parcel? It was shipped on Monday.</s><|assistant|>"
PAIRS = [
    (CONTEXT, " late"),
    (CONTEXT, " lost and broken"),
    (CONTEXT, " shipped, é漢"),
    ("The capital of France is", " Paris"),
    ("The capital of Italy is", " Rome"),
    ("The capital of Italy is", " not Berlin"),
    ("", "refund my parcel please"),
    *(("The color is", letter) for letter in "abcdefgh"),
]
PROMPTS = ["The order is", "The capital of France is", CONTEXT, "no"]
MESSAGES = [{"role": "user", "content": "Where is <b>my</b> parcel?"}]


def answers_of(case):
    """The answers of one case, or the problem and hint of the error it ends in."""
    try:
        with _opened(case) as lm:
            return _ask(lm)
    except GateError as error:
        return {"problem": error.problem, "hint": error.hint}


def _opened(case):
    backend = importlib.import_module(f"gate.backends.{case['backend']}")
    adapters = [LocalAdapter(name="support", path=Path(path)) for path in case["adapters"]]
    if case.get("is_misnamed"):
        return _misnamed(case, adapters[0])
    return backend.open_model(Path(case["weights"]), adapters, **case["options"])


@contextmanager
def _misnamed(case, adapter):
    """vLLM given some of an adapter's tensors by names that it takes, and has no module for."""
    from gate.backends.vllm import _build_skeleton
    from gate.engines.vllm_adapters import find_places, read_served
    from gate.engines.vllm_models import VllmModel, vllm_process

    weights = Path(case["weights"])
    places = find_places(weights, _build_skeleton(weights, trust_remote_code=False))
    served = read_served(adapter, places, allow_pickle=False)

    def moved(tensors):
        return {
            name.replace("self_attn.v_proj", "elsewhere.v_proj"): one
            for name, one in tensors.items()
        }

    kinds = {kind: moved(tensors) for kind, tensors in served.kinds.items()}
    with vllm_process(kv_cache_gib=1):
        model = VllmModel(weights, served, dtype="float32", max_num_seqs=4)
        try:
            model.put_on(served._replace(tensors=moved(served.tensors), kinds=kinds))
            yield None
        finally:
            model.close()


def _ask(lm):
    engine = lm.engine
    ids = tuple(engine.encode(PROMPTS[0], add_special_tokens=True))
    row = ScoreRow(ids, tuple((token,) for token in range(3, 203)))
    (many,) = engine.score([row])
    (whole,) = engine.generate([PromptRow(ids, (), 8)])
    (long,) = engine.generate([PromptRow(ids, (), 8, 8)])
    return {
        "likelihoods": lm.loglikelihood(_instances("loglikelihood", PAIRS)),
        "many": many,
        "texts": lm.generate_until(_prompts(until=["zz"])),
        "stopped": lm.generate_until(_prompts(until=["er", "in"])),
        "whole": whole,
        "long": long,
        "hashes": [lm.request_hash(place) for place in range(len(PAIRS))],
        "chat": engine.render_chat(MESSAGES, add_generation_prompt=True),
        "children": _children(),
    }


def _instances(kind, texts):
    return [Instance(kind, {}, text, 0, ("task", place, 1)) for place, text in enumerate(texts)]


def _prompts(*, until):
    settings = {"until": until, "max_gen_toks": 16}
    return _instances("generate_until", [(text, dict(settings)) for text in PROMPTS])


def _children():
    """The processes that this one has started and that still run."""
    threads = Path("/proc/self/task").iterdir()
    return [child for one in threads for child in (one / "children").read_text().split()]


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    told = {name: answers_of(case) for name, case in asked.items()}
    told["end"] = {"children": _children(), "environment": os.environ.get("VLLM_NO_USAGE_STATS")}
    Path(sys.argv[2]).write_text(json.dumps(told))
