"""Which gates a pytest session was asked for, by name, and the folder that its processes share."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_GATE = re.compile(r"(?:.*[._-])?gate(?:[._-].*)?\.ya?ml")
_WORKER_INPUT = "gate"


class Asked(NamedTuple):
    """What a session was asked for.

    Attributes:
        gates: each gate.yaml, resolved; none in a session that is about something else.
        folder: where the processes of the session find each other's runs.
        is_owner: whether this process made the folder, and takes it away again.
    """

    gates: tuple[Path, ...]
    folder: Path
    is_owner: bool

    def close(self) -> None:
        """Take the folder away, where it is this process's."""
        if self.is_owner:
            shutil.rmtree(self.folder, ignore_errors=True)

    def for_worker(self) -> dict[str, Any]:
        """What a worker of pytest-xdist has to know, as it can be sent to one."""
        sent = {"gates": [str(gate) for gate in self.gates], "folder": str(self.folder)}
        return {_WORKER_INPUT: sent}


def find_asked(config: pytest.Config) -> Asked | None:
    """The gates that the command line names; None where it names none.

    Those of `--gate` are added to what pytest collects. A worker of pytest-xdist is told by the
    process that started it. A gate.yaml that is only found in a folder, or named in `testpaths`,
    is not asked for: a plain `pytest` never starts a model.

    Raises:
        pytest.UsageError: `--gate` names what is not a file.
    """
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is None:
        gates = tuple(dict.fromkeys((*_named(config), *_by_option(config))))
        asked = Asked(gates, Path(tempfile.mkdtemp(prefix="gate-")), True) if gates else None
    else:
        sent = worker.get(_WORKER_INPUT)
        asked = sent and Asked(tuple(map(Path, sent["gates"])), Path(sent["folder"]), False)
    if asked is not None:
        known = set(_paths(config))
        config.args += [str(gate) for gate in asked.gates if gate not in known]
    return asked


def _named(config: pytest.Config) -> Iterator[Path]:
    """The arguments that are gates by their names: gate.yaml, v3.gate.yaml, gate-nightly.yml."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        for path in _paths(config):
            if _GATE.fullmatch(path.name) and path.is_file():
                yield path


def _paths(config: pytest.Config) -> Iterator[Path]:
    """The files and folders that pytest is to collect, without the names of tests in them."""
    for argument in config.args:
        yield (config.invocation_params.dir / argument.partition("::")[0]).resolve()


def _by_option(config: pytest.Config) -> Iterator[Path]:
    for given in config.getoption("gate"):
        path = config.invocation_params.dir / given
        if not path.is_file():
            raise pytest.UsageError(f"--gate {given}: there is no such file")
        yield path.resolve()
