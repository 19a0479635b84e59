"""A process that has imported heavy packages, and forks a child whenever it is asked for one.

It does nothing but import: no threads, no CUDA. It ends when the socket to its parent closes.
"""

import gc
import importlib
import json
import os
import select
import socket
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple, NoReturn

READY = b"ready"
"""What a server says once it can fork."""

MESSAGE_BYTES = 1 << 16
_MOST_FILES = 4
_COUNTING = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""Has torch count GPUs without initialising CUDA; a library that asks while it is imported may."""


class _Request(NamedTuple):
    """What is asked: a worker with its pipes, log and telling socket, or another server.

    Attributes:
        modules: what another server imports; None for a worker.
        variables: of the environment, as they are set for a worker.
        files: stdin, stdout, log and telling socket of a worker; the socket of a server.
    """

    modules: list[str] | None
    variables: dict[str, str]
    files: list[int]


def main() -> None:
    """Import what the arguments name, then fork; as a forked child, run a worker's batch."""
    control = socket.socket(fileno=os.dup(0))
    _redirect(os.open(os.devnull, os.O_RDONLY), 0)
    given = os.environ.get(_COUNTING)
    os.environ[_COUNTING] = "1"
    _serve(control, sys.argv[1:])
    if given is None:
        del os.environ[_COUNTING]
    else:
        os.environ[_COUNTING] = given
    from gate.running.worker import main as run_worker

    run_worker()


def _serve(control: socket.socket, modules: Iterable[str]) -> None:
    """Serve until the parent is gone; returns in each forked worker."""
    while True:
        _import_all(modules, control)
        _refuse_cuda()
        gc.collect()
        gc.freeze()  # children neither look through what was imported nor copy it
        with suppress(ConnectionError):  # the parent is gone, as the next request will tell
            control.send(READY)
        other = _fork_for_requests(control)
        control.close()
        if other is None:
            return
        control, modules = other


def _import_all(modules: Iterable[str], control: socket.socket) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # noqa: BLE001 (process edge: a worker that needs it tells in its own words)
            traceback.print_exc()
        hung_up = select.poll()
        hung_up.register(control, 0)
        if hung_up.poll(0):
            os._exit(0)


def _refuse_cuda() -> None:
    """End where an import has initialised CUDA: it would not work in a forked child.

    torch tells it in a forked child alone.
    """
    probe = os.fork()
    if probe == 0:
        torch = sys.modules.get("torch")
        os._exit(int(torch is not None and torch.cuda._is_in_bad_fork()))
    _, status = os.waitpid(probe, 0)
    if status:
        sys.exit("an import has initialised CUDA")


def _fork_for_requests(control: socket.socket) -> tuple[socket.socket, list[str]] | None:
    """Fork for each request; gives None in a worker, and in a server its socket and modules."""
    while True:
        request = _next_request(control)
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            for file in request.files:
                os.close(file)
            _reap()
            continue
        if request.modules is not None:
            return socket.socket(fileno=request.files[0]), request.modules
        control.close()
        _begin_worker(request)
        return None


def _next_request(control: socket.socket) -> _Request:
    message, files = b"", list[int]()
    with suppress(ConnectionError):
        message, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES, _MOST_FILES)
    if not message:  # the parent is gone, or has no more to ask
        os._exit(0)
    asked = json.loads(message)
    return _Request(asked["modules"], asked["variables"], files)


def _reap() -> None:
    """Take leave of those that watched workers which have ended."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            return


def _begin_worker(request: _Request) -> None:
    """Fork once more: what returns is the worker, the other waits for its end and tells it.

    Each tells the parent in two words: `begun` with the worker's number, once it can be killed with
    all that it will start, and `ended` with its exit status, or minus the signal.
    """
    *streams, telling = request.files
    worker = os.fork()
    if worker:
        _watch(worker, streams, socket.socket(fileno=telling))
    os.setsid()
    with socket.socket(fileno=telling) as parent:
        parent.send(f"begun {os.getpid()}".encode())
    for stream, place in zip(streams, (0, 1, 2), strict=True):
        _redirect(stream, place)
    os.environ.update(request.variables)
    importlib.invalidate_caches()


def _watch(worker: int, streams: Iterable[int], telling: socket.socket) -> NoReturn:
    """Wait for a worker's end, tell it, and end."""
    for stream in streams:  # who reads what the worker writes must see its end
        os.close(stream)
    _, status = os.waitpid(worker, 0)
    with suppress(OSError):  # the parent is gone
        telling.send(f"ended {os.waitstatus_to_exitcode(status)}".encode())
    os._exit(0)


def _redirect(file: int, place: int) -> None:
    os.dup2(file, place)
    os.close(file)


if __name__ == "__main__":
    main()
