"""Real servers, started for a test on this machine and killed with all their children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx2

LLAMA_SERVER = """\
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.warmup = 1024, 2, 1, False
server = xllamacpp.Server(params)
threading.Event().wait()
"""
"""llama-server is a binary; xllamacpp is its code in a wheel."""


class Running(NamedTuple):
    """A server that answers, and what it logs."""

    url: str
    process: subprocess.Popen
    log: Path

    def kill(self) -> None:
        """End it and its children, as a crash would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    within: float = 300,
    asked: str = "/v1/models",
    **environment,
):
    """A server that has begun to answer `asked`; killed at the end, whatever it does."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment,
        )
    server = Running(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server, within, asked)
        yield server
    finally:
        server.kill()


def _wait(server: Running, within: float, asked: str) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{server.url}{asked}", trust_env=False, timeout=5).is_success:
                return
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(0.2)
            break
    raise AssertionError(f"the server did not start:\n{server.log.read_text()[-3000:]}")
