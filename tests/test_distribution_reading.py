"""Texts read by pico models: exact over the full vocabulary, a bound at the top, one convention."""

import json

import numpy as np
import pytest
import torch
from builders import CHAT_TEMPLATE, opened, pico_base, pico_tokenizer

from gate.backends.hf import open_model
from gate.distribution_records import Distribution
from gate.distributions.memory import check_room, free_bytes
from gate.distributions.reading import (
    DISTRIBUTION_FILE,
    READING_FILE,
    TOKENS_FILE,
    compare_candidate,
    keep_reference,
)
from gate.engines.interface import READ_AT_ONCE, ReadRow, TopTokens
from gate.errors import StageError
from gate.jobs import Served
from gate.terms import LocalAdapter, Reading, Text, Use

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

LINES = [
    {"text": "the order is late"},
    {"text": "capital of Paris question answer red blue green yes no " * 8},
    {"text": "é漢 please cancel my parcel where is it"},
    {
        "messages": [
            {"role": "user", "content": "where is my order"},
            {"role": "assistant", "content": "it is shipped"},
        ]
    },
]


class OnlyTop:
    """An engine that tells the most probable tokens and no more, as vLLM does."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def read(self, rows, top):
        for row in rows:
            (lines,) = self._engine.read([row], top)
            values, ids = torch.from_numpy(lines).topk(min(top, lines.shape[1]))
            tokens = np.array([row.ids[place] for place in row.places])
            chosen = lines[np.arange(len(lines)), tokens]
            yield TopTokens(ids.numpy().astype(np.int32), values.numpy(), chosen)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "desk.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    return Text(name="desk", path=str(path))


@pytest.fixture(scope="module")
def reference(base):
    with opened(open_model(base, [])) as engine:
        yield engine


@pytest.fixture(scope="module")
def candidate(base, adapter):
    with opened(open_model(base, [LocalAdapter(name="a", path=adapter)], batch_size=3)) as engine:
        yield engine


def silent(done, total):
    pass


def compared(tmp_path, text, before, after, *, name="one", **reading):
    """A candidate against a reference, as two read stages do it."""
    settings = Reading(**reading)
    kept, out = tmp_path / f"{name}-reference", tmp_path / f"{name}-candidate"
    for folder in (kept, out):
        folder.mkdir()
    against = before
    if settings.vocabulary == "top":
        keep_reference(before, text, settings, kept, on_progress=silent)
        against = kept
    compare_candidate(after, text, settings, out, reference=against, on_progress=silent)
    found = Distribution.model_validate_json((out / DISTRIBUTION_FILE).read_bytes())
    with np.load(out / TOKENS_FILE) as tokens:
        return found, dict(tokens)


def logprobs(engine, ids):
    """Log-probabilities of a whole text in float64, straight from the model."""
    with torch.inference_mode():
        logits = engine._model(input_ids=torch.tensor([ids])).logits[0]
    return torch.log_softmax(logits.double(), dim=-1)


def direct(before, after, ids, places):
    """The full divergence at some places of a text, as the textbook has it."""
    p, q = (logprobs(engine, ids)[[place - 1 for place in places]] for engine in (before, after))
    return (p.exp() * (p - q)).sum(dim=-1).numpy()


def test_over_the_full_vocabulary_it_is_the_textbook_s_divergence(
    tmp_path, text, reference, candidate
):
    found, tokens = compared(tmp_path, text, reference, candidate, vocabulary="full")
    expected = []
    for line in LINES[:3]:
        ids = reference.encode(line["text"], add_special_tokens=True)
        expected.append(direct(reference, candidate, ids, range(1, len(ids))))
    assert tokens["kl"][: sum(map(len, expected))] == pytest.approx(
        np.concatenate(expected), rel=1e-4, abs=1e-6
    )
    sums = [one.kl for one in found.documents[:3]]
    assert sums == pytest.approx([one.sum() for one in expected], rel=1e-5)
    assert (found.top, found.shortfall) == (None, None)


def test_the_bound_is_below_the_full_divergence_at_every_token(
    tmp_path, text, reference, candidate
):
    full, of_full = compared(tmp_path, text, reference, candidate, name="full", vocabulary="full")
    bound, of_bound = compared(tmp_path, text, reference, candidate, name="top", top=16)
    assert (of_bound["kl"] <= of_full["kl"] + 1e-6).all()
    assert 0 < bound.shortfall.bound < bound.shortfall.full
    assert bound.shortfall.full == pytest.approx(
        sum(one.kl for one in full.documents) / full.tokens, rel=0.3
    )
    assert bound.shortfall.tokens == 64


def test_the_whole_vocabulary_as_top_is_the_full_divergence(tmp_path, text, reference, candidate):
    _, full = compared(tmp_path, text, reference, candidate, name="full", vocabulary="full")
    whole, top = compared(tmp_path, text, reference, candidate, name="top", top=1000)
    assert top["kl"] == pytest.approx(full["kl"], rel=1e-4, abs=1e-6)
    assert whole.shortfall.bound == pytest.approx(whole.shortfall.full, rel=1e-6)
    assert whole.top == len(pico_tokenizer())
    for name in ("same_top", "nll_reference", "nll_candidate"):
        assert top[name] == pytest.approx(full[name], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("vocabulary", ["top", "full"])
def test_a_model_does_not_differ_from_itself(tmp_path, text, reference, vocabulary):
    found, _ = compared(tmp_path, text, reference, reference, vocabulary=vocabulary)
    assert {one.kl for one in found.documents} == {0.0}
    assert all(one.same_top == one.tokens for one in found.documents)
    assert {one.delta_p for one in found.documents} == {0.0}
    assert found.delta_p_rms == 0.0


def test_in_other_batches_a_model_hardly_differs_from_itself(tmp_path, base, text, reference):
    with opened(open_model(base, [], batch_size=1)) as again:
        found, _ = compared(tmp_path, text, reference, again)
    assert sum(one.kl for one in found.documents) / found.tokens < 1e-8


def test_of_a_conversation_only_the_answer_counts(tmp_path, text, reference, candidate):
    found, _ = compared(tmp_path, text, reference, candidate)
    assert found.documents[3].tokens == len(
        reference.encode("it is shipped", add_special_tokens=False)
    )
    assert [one.id for one in found.documents] == [0, 1, 2, 3]


def test_sums_are_over_the_tokens_of_each_document(tmp_path, text, reference, candidate):
    found, tokens = compared(tmp_path, text, reference, candidate)
    ends = np.cumsum([one.tokens for one in found.documents])
    parts = np.split(tokens["nll_candidate"].astype(float), ends[:-1])
    assert [one.nll_candidate for one in found.documents] == pytest.approx(
        [part.sum() for part in parts], rel=1e-5
    )
    ids = reference.encode(LINES[0]["text"], add_special_tokens=True)
    lines = logprobs(candidate, ids)[:-1]
    direct_nll = -lines.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()
    assert found.documents[0].nll_candidate == pytest.approx(direct_nll, rel=1e-5)
    change = np.exp(-tokens["nll_candidate"]) - np.exp(-tokens["nll_reference"])
    assert found.delta_p_rms == pytest.approx(np.sqrt((change**2).mean()), rel=1e-4)
    assert found.delta_p_percentiles["50"] == pytest.approx(np.median(change), abs=1e-6)
    assert found.kl_percentiles["100"] == pytest.approx(tokens["kl"].max(), rel=1e-6)


def test_the_worst_places_are_told_with_what_stands_before_them(
    tmp_path, text, reference, candidate
):
    found, tokens = compared(tmp_path, text, reference, candidate, worst=5)
    assert [one.kl for one in found.worst] == pytest.approx(
        np.sort(tokens["kl"])[::-1][:5], rel=1e-5
    )
    first = found.worst[0]
    line = LINES[first.document]["text"]
    assert first.context + first.token in line
    assert len(first.context) == 200
    ids = reference.encode(line, add_special_tokens=True)
    best = logprobs(reference, ids)[first.position - 1].exp().max().item()
    assert first.reference[0].probability == pytest.approx(best, rel=1e-4)
    for guesses in (first.reference, first.candidate):
        shown = [guess.probability for guess in guesses]
        assert shown == sorted(shown, reverse=True)


def test_an_engine_that_tells_the_top_alone_gives_a_bound_too(tmp_path, text, reference, candidate):
    _, full = compared(tmp_path, text, reference, candidate, name="full", vocabulary="full")
    found, tokens = compared(
        tmp_path, text, OnlyTop(reference), OnlyTop(candidate), name="top", top=64
    )
    assert found.shortfall is None
    assert (tokens["kl"] <= full["kl"] + 1e-5).all()
    assert tokens["kl"].mean() > 0.3 * full["kl"].mean()
    assert (tokens["same_top"] == full["same_top"]).all()
    assert tokens["nll_candidate"] == pytest.approx(full["nll_candidate"], rel=1e-4)


def test_an_engine_that_tells_the_top_alone_cannot_give_the_full_divergence(
    tmp_path, text, reference, candidate
):
    with pytest.raises(StageError, match="its engine does not tell the full vocabulary") as found:
        compared(tmp_path, text, reference, OnlyTop(candidate), vocabulary="full")
    assert found.value.hint == "set distributions: {vocabulary: top} in the suite"


def test_an_engine_that_tells_nothing_is_refused(tmp_path, text, reference):
    class Silent:
        name = "silent"

    with pytest.raises(StageError, match="silent: its engine does not tell what it expects of"):
        keep_reference(Silent(), text, Reading(), tmp_path, on_progress=silent)


@pytest.mark.parametrize("vocabulary", ["top", "full"])
def test_other_tokens_are_refused_with_the_text_s_name(tmp_path, base, text, reference, vocabulary):
    with opened(open_model(base, [])) as other:
        other._tokenizer.chat_template = CHAT_TEMPLATE.replace("<|assistant|>", "<|system|>")
        with pytest.raises(StageError, match=r"desk\.jsonl:4: the candidate is not given the tok"):
            compared(tmp_path, text, reference, other, vocabulary=vocabulary)


@pytest.mark.parametrize("vocabulary", ["top", "full"])
def test_another_vocabulary_is_refused(tmp_path, text, reference, vocabulary):
    wide = pico_base(tmp_path / "wide", vocab_size=500)
    with (
        opened(open_model(wide, [])) as other,
        pytest.raises(StageError, match=r"wide has a vocabulary of 500 tokens, and its reference"),
    ):
        compared(tmp_path, text, reference, other, vocabulary=vocabulary)


def test_a_text_longer_than_the_model_is_one_document_in_several_parts(tmp_path, candidate):
    short = pico_base(tmp_path / "short", max_position_embeddings=64)
    path = tmp_path / "long.jsonl"
    path.write_text("".join(f"{json.dumps({'text': 'the order is late ' * 50})}\n" for _ in "ab"))
    text = Text(name="long", path=str(path))
    with opened(open_model(short, [])) as engine:
        tokens = len(engine.encode("the order is late " * 50, add_special_tokens=True))
        found, _ = compared(tmp_path, text, engine, candidate)
    assert tokens > 3 * 64
    assert [one.tokens for one in found.documents] == [tokens - -(-tokens // 64)] * 2


def test_a_candidate_that_attends_to_less_than_its_reference_is_refused(tmp_path, text, reference):
    short = pico_base(tmp_path / "short", max_position_embeddings=64)
    with (
        opened(open_model(short, [])) as engine,
        pytest.raises(StageError, match="short attends to 64 tokens, and its reference was read"),
    ):
        compared(tmp_path, text, reference, engine)


def test_a_long_row_is_run_in_pieces_with_the_same_result(tmp_path, monkeypatch):
    long = pico_base(tmp_path / "long", max_position_embeddings=2 * READ_AT_ONCE + 100)
    with opened(open_model(long, [])) as engine:
        ids = tuple(int(one) % 300 for one in np.arange(2 * READ_AT_ONCE + 50) ** 2)
        places = (1, 5, READ_AT_ONCE - 1, READ_AT_ONCE, READ_AT_ONCE + 1, 2 * READ_AT_ONCE + 49)
        found = np.concatenate(list(engine.read([ReadRow(ids, places)], 1)))
        expected = logprobs(engine, ids)[[place - 1 for place in places]].numpy()
    assert found == pytest.approx(expected, abs=1e-3)


def test_logits_that_are_not_finite_are_refused(tmp_path, text):
    broken = pico_base(tmp_path / "broken")
    with opened(open_model(broken, [])) as engine:
        engine._model.model.norm.weight.data[0] = float("nan")
        with pytest.raises(StageError, match="broken: its logits are not finite"):
            keep_reference(engine, text, Reading(), tmp_path, on_progress=silent)


def test_a_token_without_any_probability_is_refused_with_its_place(tmp_path, text, reference):
    class Certain:
        """An engine that rules out every token but one."""

        def __getattr__(self, name):
            return getattr(reference, name)

        def read(self, rows, top):
            for lines in reference.read(rows, top):
                lines[:, 1:] = -np.inf
                yield lines

    with pytest.raises(StageError, match=r"desk\.jsonl:1: the divergence at token 1 is inf"):
        compared(tmp_path, text, reference, Certain())


def test_progress_is_told_in_documents(tmp_path, text, reference):
    heard = []
    keep_reference(
        reference, text, Reading(), tmp_path, on_progress=lambda *told: heard.append(told)
    )
    assert heard[-1] == (4, 4)
    assert heard == sorted(heard)


def test_a_token_of_the_reference_takes_about_a_kilobyte(tmp_path, reference):
    path = tmp_path / "long.jsonl"
    line = json.dumps({"text": "the order is late " * 40})
    path.write_text(f"{line}\n" * 40)
    text = Text(name="long", path=str(path))
    keep_reference(reference, text, Reading(), tmp_path, on_progress=silent)
    with np.load(tmp_path / READING_FILE) as arrays:
        tokens = len(arrays["chosen"])
        sampled = arrays["full"].nbytes
    size = (tmp_path / READING_FILE).stat().st_size - sampled
    assert size / tokens == pytest.approx(128 * 8, rel=0.05)


def test_two_models_without_room_are_refused_before_they_are_loaded(base, adapter):
    one = Served(
        use=Use(name="hf"),
        model=str(base),
        adapters=(LocalAdapter(name="a", path=adapter),),
    )
    check_room((one, one), available_bytes=None)
    check_room((one, one), available_bytes=1 << 40)
    with pytest.raises(
        StageError, match=r"reference and candidate take 1\.0 GiB together, and 0\.5 GiB are free"
    ) as found:
        check_room((one, one), available_bytes=1 << 29)
    assert "distributions: {vocabulary: top}" in found.value.hint
    assert free_bytes() is None or free_bytes() > 0


def test_the_second_halves_of_windows_give_what_llama_perplexity_prints(
    tmp_path, reference, candidate
):
    """llama.cpp, tools/perplexity: chunks of 512 tokens, of which it scores 256 to 510.

    Per token it sums p_base (ln p_base - ln p) over the vocabulary, compares the arg max, and
    takes the probability of the next token; it prints means over tokens.
    """
    words = LINES[1]["text"] * 9
    ids = reference.encode(words, add_special_tokens=True)
    window = reference.decode(ids[:512], skip_special_tokens=False)
    assert reference.encode(window, add_special_tokens=True) == ids[:512]
    path = tmp_path / "wiki.jsonl"
    path.write_text(f"{json.dumps({'text': window})}\n")
    text = Text(name="wiki", path=str(path))
    _, tokens = compared(tmp_path, text, reference, candidate, vocabulary="full")
    scored = slice(256, 511)
    before, after = (logprobs(engine, ids[:512])[scored] for engine in (reference, candidate))
    kl = (before.exp() * (before - after)).sum(dim=1)
    next_tokens = torch.tensor(ids[257:512])[:, None]
    nll = [-lines.gather(1, next_tokens)[:, 0] for lines in (before, after)]
    assert tokens["kl"][scored].mean() == pytest.approx(kl.mean().item(), rel=1e-5)
    assert tokens["same_top"][scored].mean() == pytest.approx(
        (before.argmax(dim=1) == after.argmax(dim=1)).double().mean().item()
    )
    ratio = (tokens["nll_candidate"] - tokens["nll_reference"])[scored].mean()
    assert ratio == pytest.approx((nll[1] - nll[0]).mean().item(), abs=1e-5)
