"""Fixtures: pico models built once a session."""

import os
import sys
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOYS = str(Path(__file__).parent / "toys")
sys.path.append(TOYS)
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (os.environ.get("PYTHONPATH"), TOYS) if part
)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pico base model; read it only."""
    return pico_base(tmp_path_factory.mktemp("base") / "pico-base")


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pico adapter on the pico base; read it only."""
    return pico_adapter(base, tmp_path_factory.mktemp("adapter") / "pico-adapter")
