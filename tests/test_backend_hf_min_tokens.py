import json
import shutil
from pathlib import Path

import pytest
from builders import opened

from gate.backends.hf import open_model
from gate.engines.interface import PromptRow

IDS = (5, 9, 31, 40, 12)


@pytest.fixture(scope="module")
def ended(base, tmp_path_factory):
    """A copy of the pico base whose first greedy token after IDS ends the answer."""
    out = Path(shutil.copytree(base, tmp_path_factory.mktemp("ended") / "ended"))
    with opened(open_model(out, (), device="cpu")) as engine:
        first = next(engine.generate([PromptRow(IDS, (), 8)]))[0]
    file = out / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": first}))
    return out


def test_an_end_token_before_the_least_length_does_not_end_the_answer(ended):
    rows = [PromptRow(IDS, (), 8), PromptRow(IDS, (), 8, 8), PromptRow(IDS, (), 8, 3)]
    with opened(open_model(ended, (), device="cpu")) as engine:
        none, all_of_them, some = engine.generate(rows)
    assert (none, len(all_of_them)) == ((), 8)
    assert 3 <= len(some) <= 8
    assert all_of_them[:3] == some[:3]


def test_the_best_token_that_ends_nothing_is_written(base, ended):
    with opened(open_model(base, (), device="cpu")) as engine:
        end = next(engine.generate([PromptRow(IDS, (), 1)]))[0]
    with opened(open_model(ended, (), device="cpu")) as engine:
        written = next(engine.generate([PromptRow(IDS, (), 8, 8)]))
    assert end not in written
