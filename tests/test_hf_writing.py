"""Texts written greedily in batches that shrink, held against lm-eval's own HFLM."""

import pytest
from builders import opened
from hf_architectures import NAMES, OPENING, build, prompts, put_adapter

from gate.backends.hf import open_model
from gate.engines.interface import PromptRow
from gate.engines.language_models import GateLM
from gate.terms import LocalAdapter

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    # HFLM, the oracle, is built on names that transformers deprecates
    "ignore::DeprecationWarning:lm_eval",
)


def expected_texts(path, requests, **options):
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(path), dtype="float32", batch_size=1, device="cpu", **options)
    return lm.generate_until(requests)


CASES = [(name, OPENING) for name in NAMES] + [(name, "") for name in ("gpt2", "llama", "opt")]


@pytest.mark.parametrize(("name", "opening"), CASES)
def test_texts_are_those_of_lm_evals_own_model(name, opening, tmp_path):
    path = build(name, tmp_path)
    requests = prompts(opening)
    expected = expected_texts(path, requests)

    for batch_size in (1, 16):
        with opened(open_model(path, [], batch_size=batch_size)) as engine:
            assert GateLM(engine).generate_until(requests) == expected
    assert any(expected)


def test_texts_with_an_adapter_are_those_of_lm_evals_own_model(tmp_path):
    path = build("qwen3", tmp_path / "base")
    adapter = put_adapter("qwen3", path, tmp_path / "adapter")
    expected = expected_texts(path, prompts(), peft=str(adapter))

    with opened(open_model(path, [LocalAdapter(name="own", path=adapter, weight=1.0)])) as engine:
        assert GateLM(engine).generate_until(prompts()) == expected


def test_rows_that_end_leave_the_others_as_they_are(tmp_path):
    path = build("llama", tmp_path)
    with opened(open_model(path, [])) as engine:
        ids = [tuple(engine.encode(one.args[0], add_special_tokens=True)) for one in prompts()]
        (whole,) = engine.generate([PromptRow(ids[0], (), 10)])
        stops = (engine.decode(whole[2:4], skip_special_tokens=False),)
        rows = [PromptRow(one, stops, 10) for one in ids]
        alone = [written for row in rows for written in engine.generate([row])]

        assert list(engine.generate(rows)) == alone
    assert len(alone[0]) < 10 <= max(map(len, alone))


def test_no_rows_give_nothing(tmp_path):
    with opened(open_model(build("llama", tmp_path), [])) as engine:
        assert list(engine.generate([])) == []
        assert list(engine.score([])) == []
