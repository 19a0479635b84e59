"""Children forked from a process that has imported what they need: the parent's end.

Importing torch, transformers and lm-eval takes longer than many a stage; a fork takes milliseconds.
"""

import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from types import TracebackType
from typing import IO, NamedTuple, Protocol, Self

from gate.errors import StageError

_MESSAGE_BYTES = 1 << 16


class Child(AbstractContextManager["Child"], Protocol):
    """A process that runs a batch, as `subprocess.Popen` shows one; it leads a session of its own.

    Leaving it as a context closes its pipes and waits for its end.

    Attributes:
        pid: its number, which its group has too.
        returncode: how it ended, once it was waited for: its exit status, or minus the signal.
    """

    pid: int
    returncode: int | None

    @property
    def stdin(self) -> IO[str] | None:
        """Takes the batch."""

    @property
    def stdout(self) -> IO[str] | None:
        """Gives its events."""

    def wait(self, timeout: float | None = None) -> int:
        """How it ended; raises subprocess.TimeoutExpired when it has not in so many seconds."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class CannotFork(StageError):
    """No child can be forked here; one can still be started."""


class Forked:
    """A child of a server; see Child."""

    def __init__(self, control: socket.socket, variables: Mapping[str, str], log: int) -> None:
        """Have a server fork a child.

        Args:
            control: the socket to the server.
            variables: of its environment, set where they differ from the server's.
            log: the file that takes what it says.

        Raises:
            CannotFork: the server has ended.
        """
        self.returncode: int | None = None
        self._reading = threading.Lock()  # who stops it waits for it beside who began it
        with ExitStack() as ours, ExitStack() as theirs:
            self._told, telling = sockets()
            ours.callback(self._told.close)
            theirs.callback(telling.close)
            read_in, write_in = os.pipe()
            theirs.callback(os.close, read_in)
            self.stdin = ours.enter_context(os.fdopen(write_in, "w", encoding="utf-8"))
            read_out, write_out = os.pipe()
            theirs.callback(os.close, write_out)
            self.stdout = ours.enter_context(os.fdopen(read_out, encoding="utf-8"))
            _ask(control, [read_in, write_out, log, telling.fileno()], variables=variables)
            theirs.close()
            word, _, number = self._told.recv(_MESSAGE_BYTES).decode().partition(" ")
            if word != "begun":
                raise CannotFork("it ended before it forked")
            self.pid = int(number)
            ours.pop_all()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its pipes and wait for its end."""
        self.stdout.close()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.wait()
        self._told.close()

    def wait(self, timeout: float | None = None) -> int:
        """How it ended: its exit status, or minus the signal.

        Raises:
            subprocess.TimeoutExpired: it has not in so many seconds.
        """
        if not self._reading.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired("a forked child", timeout or 0)
        try:
            if self.returncode is None:
                if not _is_readable(self._told, timeout):
                    raise subprocess.TimeoutExpired("a forked child", timeout or 0)
                word, _, number = self._told.recv(_MESSAGE_BYTES).decode().partition(" ")
                # nobody tells it where who watches it was killed too
                self.returncode = int(number) if word == "ended" else -signal.SIGKILL
            return self.returncode
        finally:
            self._reading.release()

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Server(NamedTuple):
    """A process that forks children, by the socket to it."""

    control: socket.socket

    def fork(self, variables: Mapping[str, str], log: int) -> Forked:
        """A child of it, with variables of its own and a file that takes what it says.

        Raises:
            CannotFork: it has ended.
        """
        return Forked(self.control, variables, log)

    def prepare(self, modules: Sequence[str]) -> "Server":
        """Another server, which begins as a fork of this one and imports more.

        Raises:
            CannotFork: it has ended.
        """
        ours, theirs = sockets()
        with theirs:
            _ask(self.control, [theirs.fileno()], modules=modules)
        return Server(ours)

    def is_ready(self, seconds: float) -> bool:
        """Whether it can fork, waiting for it so long at most.

        Raises:
            CannotFork: it has ended.
        """
        if not _is_readable(self.control, seconds):
            return False
        # only looked at: it says so once, and all who wait for it read it
        with suppress(ConnectionError):
            if self.control.recv(_MESSAGE_BYTES, socket.MSG_PEEK):
                return True
        raise CannotFork("it ended while it imported")


def sockets() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that keeps messages apart, and tells when the other end is gone."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _ask(
    control: socket.socket,
    files: list[int],
    *,
    modules: Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    request = {"modules": modules, "variables": dict(variables or {})}
    try:
        socket.send_fds(control, [json.dumps(request).encode()], files)
    except ConnectionError as error:
        raise CannotFork("it has ended") from error


def _is_readable(place: socket.socket, seconds: float | None) -> bool:
    """Whether there is a message, or nobody who could send one, waiting for it so long at most."""
    asked = select.poll()
    asked.register(place, select.POLLIN)
    return bool(asked.poll(None if seconds is None else 1000 * seconds))
