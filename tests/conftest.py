"""Fixtures: pico models built once a session, and the interpreters of engines."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base

from gate.environments import find_python

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOYS = str(Path(__file__).parent / "toys")
sys.path.append(TOYS)
os.environ["PYTHONPATH"] = os.pathsep.join(
    part for part in (os.environ.get("PYTHONPATH"), TOYS) if part
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        default=Path(__file__).parent.parent / ".gate" / "store",
        type=Path,
        help="the store in which 'gate env create' made the environments of engines",
    )


@pytest.fixture(scope="session")
def engine_python(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The interpreter of an engine's environment, by its name; skips where there is none."""

    def find(name: str) -> str:
        store = request.config.getoption("--engines")
        found = find_python(name, store=store, given={})
        if found is None:
            pytest.skip(f"{name} has no environment: gate env create {name} --store {store}")
        return found

    return find


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pico base model; read it only."""
    return pico_base(tmp_path_factory.mktemp("base") / "pico-base")


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pico adapter on the pico base; read it only."""
    return pico_adapter(base, tmp_path_factory.mktemp("adapter") / "pico-adapter")


@pytest.fixture
def bucket(tmp_path):
    """The folder behind the storage."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def storage(bucket):
    """A storage that is a folder."""
    from gate.distributing.storages import Storage

    return Storage(bucket.as_uri())
