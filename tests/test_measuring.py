"""measure_speed on an engine whose time is known, and on a pico model; peak memory of a family."""

import subprocess
import sys
from itertools import pairwise

import pytest
from builders import opened, pico_base

from gate.backends.hf import open_model
from gate.engines.interface import PromptRow
from gate.errors import StageError
from gate.measuring import measure_speed
from gate.provenance import _held_by, peak_memory_bytes

READ, WRITE = 1 / 64, 1 / 16
"""Seconds for each token of a prompt, and for each round of new tokens."""

MEBIBYTE = 2**20


class ToyEngine:
    """An engine that takes exact times by a clock of its own, and remembers what it was asked."""

    name = "toy"
    prefix_token_id = 0

    def __init__(self, *, max_length=4096, stumbles_at=None, ids=60, read=READ, write=WRITE):
        self.max_length = max_length
        self.now = 0.0
        self.calls: list[list[PromptRow]] = []
        self._stumbles_at, self._ids = stumbles_at, ids
        self._read, self._write = read, write

    def encode(self, text, *, add_special_tokens):
        assert not add_special_tokens
        return [ord(letter) % self._ids for letter in text]

    def generate(self, rows):
        self.calls.append(list(rows))
        self.now += self._read * sum(len(row.ids) for row in rows)
        self.now += self._write * (rows[0].max_tokens - 1)
        if len(self.calls) == self._stumbles_at:
            self.now += 1000.0
        for row in rows:
            yield tuple(range(self.length(row)))

    def length(self, row):
        return row.max_tokens

    def clock(self):
        return self.now


class HastyEngine(ToyEngine):
    """It ends each answer early, whatever it is asked."""

    def length(self, row):
        return min(row.max_tokens, 3)


class ForgetfulEngine(ToyEngine):
    """It answers all prompts but the last."""

    def generate(self, rows):
        return list(super().generate(rows))[: max(1, len(rows) - 1)]


def measure(engine, **settings):
    asked = {"prompt_tokens": 32, "new_tokens": 16, "batch_size": 4, "repeat": 1} | settings
    return measure_speed(engine, load_seconds=2.5, clock=engine.clock, **asked)


def test_speeds_are_tokens_over_the_seconds_they_took():
    run = measure(ToyEngine())
    assert run.one.prefill_seconds == 32 * READ == run.first_token_seconds
    assert run.one.prefill_tokens_per_second == 1 / READ
    assert run.one.decode_seconds == 16 * WRITE
    assert run.one.decode_tokens_per_second == 1 / WRITE
    assert run.many.prefill_seconds == 4 * 32 * READ
    assert run.many.prefill_tokens_per_second == 1 / READ
    assert run.many.decode_tokens_per_second == 4 / WRITE
    assert (run.repeat, run.load_seconds, run.settings) == (1, 2.5, (32, 16, 4))


@pytest.mark.parametrize("call", range(1, 13))
def test_no_one_call_that_stumbles_changes_anything(call):
    told, usual = measure(ToyEngine(stumbles_at=call)), measure(ToyEngine())
    assert (told.one, told.many) == (usual.one, usual.many)


def test_the_most_at_once_is_asked_first_and_everything_three_times():
    engine = ToyEngine()
    measure(engine)
    asked = [(len(rows), rows[0].max_tokens) for rows in engine.calls]
    assert asked == [(4, 17), (4, 1)] * 3 + [(1, 17), (1, 1)] * 3


def test_an_end_token_cannot_cut_an_answer_short():
    engine = ToyEngine()
    measure(engine)
    rows = [row for call in engine.calls for row in call]
    assert all(row.min_tokens == row.max_tokens and row.stops == () for row in rows)
    assert {len(row.ids) for row in rows} == {32}


def test_no_prompt_begins_as_another_did_in_any_repeat():
    rows = []
    for repeat in range(1, 6):
        engine = ToyEngine(ids=40)
        measure(engine, repeat=repeat, batch_size=16)
        for call in engine.calls:
            assert len({row.ids[0] for row in call}) == len(call)
        rows += [row.ids for call in engine.calls for row in call]
    assert len({ids[:4] for ids in rows}) == len(rows) == 5 * 6 * (16 + 1)
    assert all(one[0] != other[0] for one, other in pairwise(rows))


def test_the_prompts_of_a_repeat_are_the_same_for_every_engine():
    one, other = ToyEngine(), ToyEngine(read=0.5)
    assert measure(one).one != measure(other).one
    assert one.calls == other.calls


def test_a_prompt_longer_than_the_text_goes_round_again():
    engine = ToyEngine(max_length=100_000)
    measure(engine, prompt_tokens=5000)
    assert {len(row.ids) for call in engine.calls for row in call} == {5000}


@pytest.mark.parametrize(
    ("engine", "settings", "problem"),
    [
        (HastyEngine(), {}, "toy: wrote 3 tokens where 17 were asked for, so that its speed is "),
        (ForgetfulEngine(), {}, "toy: gave 3 answers to 4 prompts"),
        (
            ToyEngine(write=0.0),
            {},
            r"toy: writing 16 tokens in batches of 4 took no time that the clock can tell \(0 s\)",
        ),
        (
            ToyEngine(read=1e-12),
            {},
            r"toy: reading in batches of 4 took no time that the clock can tell",
        ),
        (
            ToyEngine(max_length=48),
            {},
            "a prompt of 32 tokens with 17 new ones takes 49, more than the 48 of toy",
        ),
        (ToyEngine(ids=1), {}, "toy: its tokenizer gives 1 ids for a whole text"),
    ],
)
def test_what_cannot_be_measured_is_refused(engine, settings, problem):
    with pytest.raises(StageError, match=problem):
        measure(engine, **settings)


def test_a_pico_model_is_measured_whole(tmp_path):
    with opened(open_model(pico_base(tmp_path / "base"), [], device="cpu")) as engine:
        run = measure_speed(
            engine, load_seconds=1.0, prompt_tokens=16, new_tokens=8, batch_size=3, repeat=2
        )
    assert run.settings == (16, 8, 3)
    assert run.one.batch_size == 1
    speeds = [run.one, run.many]
    assert all(one.prefill_tokens_per_second > 0 for one in speeds)
    assert all(one.decode_tokens_per_second > 0 for one in speeds)
    assert run.peak_memory_bytes > 50 * MEBIBYTE
    assert run.peak_gpu_bytes is None


@pytest.mark.gpu
def test_the_memory_of_a_gpu_is_told_where_one_is_used(tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    with opened(open_model(pico_base(tmp_path / "base"), [], device="cuda")) as engine:
        run = measure_speed(
            engine, load_seconds=1.0, prompt_tokens=16, new_tokens=8, batch_size=3, repeat=1
        )
    assert run.peak_gpu_bytes > 0


HOLD = "held = b'x' * {size}; print('ready', flush=True); input()"


def test_peak_memory_includes_living_descendants_and_not_the_dead():
    nested = (
        "import subprocess, sys;"
        f"c = subprocess.Popen([sys.executable, '-c', {HOLD.format(size=200 * MEBIBYTE)!r}],"
        " stdin=sys.stdin, stdout=sys.stdout); c.wait()"
    )
    before = peak_memory_bytes()
    with subprocess.Popen([sys.executable, "-c", nested], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        during = peak_memory_bytes()
        child.communicate("\n")
    assert during - before > 200 * MEBIBYTE
    assert peak_memory_bytes() - before < 100 * MEBIBYTE


def test_peak_memory_does_not_begin_with_what_the_parent_held():
    told = "from gate.provenance import peak_memory_bytes; print(peak_memory_bytes())"
    parent = (
        f"import subprocess, sys; held = b'x' * {400 * MEBIBYTE};"
        f"subprocess.run([sys.executable, '-c', {told!r}], check=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", parent], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300 * MEBIBYTE


def test_the_drivers_table_of_gpu_memory_is_read_for_the_family_alone():
    table = "17, 512\n18, 1024\n19, 4096\n20, [N/A]\n"
    assert _held_by([17, 18, 20], table) == 1536 * MEBIBYTE
    assert _held_by([17], "") == 0
