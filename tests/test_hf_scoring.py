"""Contexts that are run once for all their choices, held against lm-eval's own HFLM."""

import logging

import pytest
from builders import opened
from hf_architectures import ATTENTIVE, NAMES, build, prompts, put_adapter, questions
from lm_eval.api.instance import Instance

from gate.backends.hf import open_model
from gate.engines.hf_caches import CachedModel
from gate.engines.hf_models import load_model
from gate.engines.hf_scoring import make_questions, question_parts
from gate.engines.interface import ScoreRow
from gate.engines.language_models import GateLM
from gate.terms import LocalAdapter

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    # HFLM, the oracle, is built on names that transformers deprecates
    "ignore::DeprecationWarning:lm_eval",
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    made = {}

    def checkpoint(name):
        if name not in made:
            made[name] = build(name, tmp_path_factory.mktemp(name))
        return made[name]

    return checkpoint


def hflm(path, **options):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(path), dtype="float32", batch_size=1, device="cpu", **options)


def assert_alike(found, expected):
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    scores = [score for score, _ in found]
    assert scores == pytest.approx([score for score, _ in expected], abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_choices_are_scored_as_by_lm_evals_own_model(checkpoints, name):
    path = checkpoints(name)
    expected = hflm(path).loglikelihood(questions())

    for batch_size in (1, 16):
        with opened(open_model(path, [], batch_size=batch_size)) as engine:
            assert_alike(GateLM(engine).loglikelihood(questions()), expected)


@pytest.mark.parametrize("name", ["llama", "mistral-window-6", "gpt2", "opt"])
def test_choices_without_a_shared_opening_are_scored_alike_too(checkpoints, name):
    path = checkpoints(name)
    expected = hflm(path).loglikelihood(questions(opening=""))

    with opened(open_model(path, [])) as engine:
        assert_alike(GateLM(engine).loglikelihood(questions(opening="")), expected)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "opt"])
def test_choices_are_scored_with_an_adapter_as_by_lm_evals_own_model(checkpoints, name, tmp_path):
    path = checkpoints(name)
    adapter = put_adapter(name, path, tmp_path / "adapter")
    expected = hflm(path, peft=str(adapter)).loglikelihood(questions())

    with opened(open_model(path, [LocalAdapter(name="own", path=adapter, weight=1.0)])) as engine:
        assert_alike(GateLM(engine).loglikelihood(questions()), expected)


@pytest.mark.parametrize("name", ["llama", "mistral-window-6", "opt", "mamba"])
def test_whole_texts_are_scored_as_by_lm_evals_own_model(checkpoints, name):
    path = checkpoints(name)
    requests = [
        Instance("loglikelihood_rolling", {}, (one.args[0],), 0, ("task", place, 1))
        for place, one in enumerate(prompts())
    ]
    expected = hflm(path).loglikelihood_rolling(requests)

    with opened(open_model(path, [])) as engine:
        assert GateLM(engine).loglikelihood_rolling(requests) == pytest.approx(expected, abs=1e-3)


def test_a_cache_that_cannot_be_shared_is_told_once_with_its_reason(checkpoints, caplog):
    path = checkpoints("mamba")
    with (
        caplog.at_level(logging.WARNING, logger="gate"),
        opened(open_model(path, [])) as engine,
    ):
        GateLM(engine).loglikelihood(questions())

    (told,) = [one.getMessage() for one in caplog.records if one.name.startswith("gate")]
    assert told == f"{path.name}: each choice runs its whole prompt again: it gives no cache"


def test_positions_that_depend_on_the_length_are_told_once(checkpoints, caplog):
    with (
        caplog.at_level(logging.WARNING, logger="gate"),
        opened(open_model(checkpoints("phi3-longrope"), [])) as engine,
    ):
        GateLM(engine).loglikelihood(questions())
        GateLM(engine).generate_until(prompts())

    (told,) = [one.getMessage() for one in caplog.records if one.name.startswith("gate")]
    assert told == (
        "what is longer than 24 tokens is run whole and alone: there the model's positions depend "
        "on how long a text is"
    )


@pytest.mark.parametrize("name", ATTENTIVE)
def test_models_that_attend_share_what_they_ran(checkpoints, name):
    model = load_model(
        checkpoints(name), dtype="auto", trust_remote_code=False, allow_pickle=False
    ).eval()

    assert CachedModel(model, token=1).unshared is None


def rows(lengths, *, choices=4):
    """Questions whose contexts have these lengths, and choices of three tokens."""
    return [
        ScoreRow((document + 10,) * length + (choice, choice), ((choice, choice, 7),))
        for document, length in enumerate(lengths)
        for choice in range(choices)
    ]


@pytest.fixture(scope="module")
def llama(checkpoints):
    path = checkpoints("llama")
    model = load_model(path, dtype="auto", trust_remote_code=False, allow_pickle=False)
    return CachedModel(model.eval(), token=1)


@pytest.fixture(scope="module")
def windowed(checkpoints):
    path = checkpoints("mistral-window-6")
    model = load_model(path, dtype="auto", trust_remote_code=False, allow_pickle=False)
    return CachedModel(model.eval(), token=1)


def parts(model, lengths, *, batch_size=16):
    found = question_parts(make_questions(rows(lengths)), 0, model, batch_size=batch_size)
    return [len(part) for part in found]


def test_contexts_of_one_length_are_run_together(llama):
    assert parts(llama, [40] * 12) == [12]


def test_contexts_of_other_lengths_are_run_apart(llama):
    assert parts(llama, [90, 90, 30, 30]) == [2, 2]


def test_contexts_of_nearly_one_length_are_run_together(llama):
    assert parts(llama, [41, 40, 40, 39]) == [4]


def test_a_run_has_no_more_tokens_than_batch_size_allows(llama):
    assert parts(llama, [40] * 12, batch_size=2) == [3] * 4


def test_half_the_batch_size_gives_other_batches(llama):
    lengths = sorted((20 + 7 * place % 41 for place in range(200)), reverse=True)
    assert parts(llama, lengths, batch_size=16) != parts(llama, lengths, batch_size=8)


def test_beyond_a_sliding_window_only_contexts_of_one_length_are_run_together(windowed):
    assert parts(windowed, [9, 9, 8, 5, 4]) == [2, 1, 2]
