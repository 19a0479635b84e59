"""Which children are forked, from what, and the servers for it: started when first needed."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, NamedTuple, Self

from gate import extensions
from gate.jobs import Batch, Job
from gate.running.forks import CannotFork, Forked, Server, sockets
from gate.terms import Use

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 120.0
_KILOBYTE = 1024

_OWN = frozenset({"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"})
"""Variables that a forked child may have of its own: nothing reads them while it is imported."""

_WEIGHTS = ("gate.running.worker", "torch", "safetensors.torch")
"""What merges and quantizers import."""

_LAYOUTS = (
    "gate.auditing.artifacts",
    "transformers.conversion_mapping",
    "transformers.activations",
    "transformers.models.auto.tokenization_auto",
)
"""What audits import beside it; transformers imports activations for the config of most models."""

_MODELS = ("gate.backends.hf", "gate.evaluate", "lm_eval.evaluator", "transformers.modeling_utils")
"""What stages that load a model into torch import beside that."""

_ADAPTERS = ("peft",)
"""What those of them import that load an adapter too."""

_TASKS = ("gate.running.worker", "gate.evaluate", "lm_eval.evaluator")
"""What stages import whose model runs elsewhere than in torch."""

_WITH_MODEL = ("evaluate", "read", "speed")
_TORCH = "torch"
_ALL = 3
"""The last of the imports of what works with torch."""


class Imports(NamedTuple):
    """What is imported before a fork, by what a batch does; each on top of the one before it.

    Attributes:
        weights: for what makes weights.
        layouts: for what audits them.
        models: for what loads a model into torch.
        adapters: for what loads a model and adapters.
        tasks: for what has its model elsewhere; on top of nothing.
    """

    weights: Sequence[str] = _WEIGHTS
    layouts: Sequence[str] = _LAYOUTS
    models: Sequence[str] = _MODELS
    adapters: Sequence[str] = _ADAPTERS
    tasks: Sequence[str] = _TASKS


class _Servers:
    """Servers of one environment, each forked from the one before it and with more imported.

    What several import is imported once, and no child has memory of what it does not ask for.
    """

    def __init__(self, environment: Mapping[str, str], courses: Sequence[Sequence[str]]) -> None:
        """Start the first, which is not waited for."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the servers)
        ours, theirs = sockets()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gate.running.forking", *courses[0]],
                stdin=theirs.fileno(),
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
                env=dict(environment),
            )
        self._courses = courses
        self._servers = [Server(ours)]
        self._lock = threading.Lock()

    def server(self, number: int) -> Server:
        """The one that has imported so many courses more than the first; not waited for.

        Raises:
            CannotFork: there is nothing to fork it from.
        """
        with self._lock:
            for course in self._courses[len(self._servers) : number + 1]:
                self._servers.append(self._servers[-1].prepare(course))
            return self._servers[number]

    def last_words(self) -> str:
        """The last line that any has said; empty where there is none."""
        size = os.fstat(self._said.fileno()).st_size
        # the servers write where the file stands, so that it must not be moved
        tail = os.pread(self._said.fileno(), _KILOBYTE, max(0, size - _KILOBYTE))
        lines = tail.decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """End all; their children have ended."""
        for server in self._servers:
            server.control.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()


def runs_in_torch(backend: Use) -> bool:
    """Whether a backend loads a model into torch, by the packages that it names."""
    return _TORCH in extensions.find("backends", backend.name).packages


class _Key(NamedTuple):
    """What servers have in common: variables, and whether torch is among what they import."""

    variables: frozenset[tuple[str, str]]
    has_torch: bool


class Forks:
    """Forks children for batches, as a context; leaving it ends what they are forked from."""

    def __init__(
        self, expected: Mapping[str, str] | None = None, *, imports: Imports | None = None
    ) -> None:
        """Nothing is started yet.

        Args:
            expected: the environment in which models will be loaded into torch, for which a server
                gets ready while the first batch runs; None where none will be.
            imports: what is imported before a fork.
        """
        self._expected = expected
        self._imports = imports or Imports()
        self._servers: dict[_Key, _Servers] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the servers."""
        for servers in self._servers.values():
            servers.close()

    def fork(
        self,
        batch: Batch,
        log: IO[bytes],
        *,
        environment: Mapping[str, str],
        is_over: Callable[[], bool],
    ) -> Forked:
        """A child for a batch.

        Args:
            batch: what it will be given to do.
            log: the file that takes what it says.
            environment: its variables.
            is_over: whether it is not to be waited for any longer.

        Raises:
            CannotFork: not on this system, the server has ended, or is not waited for any longer.
        """
        if not sys.platform.startswith("linux"):
            raise CannotFork(f"no fork is safe on {sys.platform}")
        variables = {name: environment[name] for name in _OWN & environment.keys()}
        with self._lock:
            if not self._servers and self._expected is not None:
                with suppress(CannotFork):  # the batch that needs it tells why
                    self._of(self._expected, has_torch=True).server(_ALL)
            stage = batch.jobs[0].stage
            has_torch = stage.kind not in _WITH_MODEL or runs_in_torch(stage.use)
            servers = self._of(environment, has_torch=has_torch)
        try:
            server = servers.server(_course(batch.jobs[0]) if has_torch else 0)
            _wait(server, is_over)
            return server.fork(variables, log.fileno())
        except CannotFork as error:
            raise CannotFork(f"{error.problem}: {servers.last_words()}") from error

    def _of(self, environment: Mapping[str, str], *, has_torch: bool) -> _Servers:
        """The servers of an environment, started where there are none."""
        here = {name: value for name, value in os.environ.items() if name in _OWN}
        shared = {name: value for name, value in environment.items() if name not in _OWN} | here
        key = _Key(frozenset(shared.items()), has_torch)
        if key not in self._servers:
            *courses, tasks = self._imports
            courses = courses if has_torch else [tasks]
            self._servers[key] = _Servers(shared, courses)
        return self._servers[key]


def _course(job: Job) -> int:
    """Which of the imports that a batch with torch needs is the last."""
    if job.stage.kind in _WITH_MODEL:
        return _ALL if job.adapters else 2
    return 1 if job.stage.kind == "audit" else 0


def _wait(server: Server, is_over: Callable[[], bool]) -> None:
    """Wait until a server can fork.

    Raises:
        CannotFork: it has ended, or is not waited for any longer.
    """
    for _ in range(int(_PATIENCE_SECONDS / _POLL_SECONDS)):
        if server.is_ready(_POLL_SECONDS):
            return
        if is_over():
            break
    raise CannotFork("the process to fork from takes too long to import")
