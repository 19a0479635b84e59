"""The engine hf, which counts what it is asked, and is killed where a file says so."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

from gate.backends import hf

READS = hf.READS
PACKAGES = hf.PACKAGES


@contextmanager
def open_model(weights: Path, adapters, *, notes: str, dtype: str = "float32"):
    """Open hf; each row asked is a line of NOTES/asked, and row number NOTES/dies_at the last."""
    asked, dies_at = Path(notes, "asked"), Path(notes, "dies_at")

    def score(rows):
        for likelihoods in ask(rows):
            with asked.open("a") as file:
                file.write(f"{weights.name}\n")
            if dies_at.exists() and len(asked.read_text().split()) == int(dies_at.read_text()):
                os.kill(os.getpid(), signal.SIGKILL)
            yield likelihoods

    with hf.open_model(weights, adapters, dtype=dtype) as lm:
        ask = lm.engine.score
        lm.engine.score = score
        yield lm
