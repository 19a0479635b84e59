"""A Ray cluster as the gate knows it: joined, its nodes, what they say, what they have room for."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from gate.distributing.nodes import Node, Question, describe_node
from gate.errors import ConfigError, StageError

_START = (
    "start one with 'ray start --head' on one machine and 'ray start --address=HOST:6379' on the "
    "others, and run the gate on one of them"
)
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 120.0
_NAME_LENGTH = 8
_GIBIBYTE = 1 << 30


class Demand(NamedTuple):
    """What a stage asks of a node.

    Attributes:
        cpus: cores.
        gpus: for a stage that loads a model; None for one where the cluster has any.
        memory_bytes: what its variant takes; None where nobody says.
    """

    cpus: int = 1
    gpus: int | None = None
    memory_bytes: int | None = None

    def fits(self, node: "Machine") -> bool:
        """Whether a node that does nothing else has as much."""
        is_enough = self.cpus <= node.cpus and (self.gpus or 0) <= node.gpus
        return is_enough and (self.memory_bytes or 0) <= node.memory_bytes

    def __str__(self) -> str:
        """As people say it."""
        memory = f", {self.memory_bytes / _GIBIBYTE:g} GiB" if self.memory_bytes else ""
        return f"{self.cpus} CPUs, {self.gpus or 0} GPUs{memory}"


class Machine(NamedTuple):
    """A living node and what it has in all."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory_bytes: float


@contextmanager
def joined(address: str) -> Iterator[None]:
    """While this lasts, this process is a driver of the cluster at an address.

    Args:
        address: auto for the one that this machine belongs to, or HOST:PORT of its head.

    Raises:
        ConfigError: Ray is not installed, there is no cluster, or it is of another version.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "executor ray: Ray is not installed", hint="pip install 'mergegate[ray]'"
        ) from error
    if ray.is_initialized():
        yield
        return
    _check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(f"executor ray: no cluster at {address}: {why}", hint=_START) from error
    _silence()
    try:
        yield
    finally:
        ray.shutdown()


def machines() -> tuple[Machine, ...]:
    """The nodes that live, the head among them."""
    import ray

    found = []
    for node in ray.nodes():
        if node["Alive"]:
            has, address = node["Resources"], node["NodeManagerAddress"]
            found.append(
                Machine(
                    id=node["NodeID"],
                    name=f"{address} ({node['NodeID'][:_NAME_LENGTH]})",
                    cpus=has.get("CPU", 0.0),
                    gpus=has.get("GPU", 0.0),
                    memory_bytes=has.get("memory", 0.0),
                )
            )
    return tuple(found)


def check_room(demands: Iterable[tuple[str, Demand]], nodes: Sequence[Machine]) -> None:
    """Refuse what no node could ever run.

    Args:
        demands: pairs of what asks, and how much of a node.
        nodes: those there are.

    Raises:
        ConfigError: there is no node with as much.
    """
    for label, demand in demands:
        if not any(demand.fits(node) for node in nodes):
            has = "; ".join(f"{one.name}: {one.cpus:g} CPUs, {one.gpus:g} GPUs" for one in nodes)
            raise ConfigError(
                f"{label} asks for {demand} on one node, and the cluster has {has or 'no node'}",
                hint="ask for less under 'executor' or 'memory_gib', or add such a node",
            )


def ask_nodes(
    question: Question,
    nodes: Sequence[Machine],
    *,
    describe: Callable[[str, Question], Node] = describe_node,
) -> tuple[Node, ...]:
    """What every node says of itself; one that dies meanwhile is none any more.

    Args:
        question: what they are asked.
        nodes: whom.
        describe: what runs there.

    Raises:
        StageError: a node does not answer, or not as one that has this gate installed.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0, max_retries=0)(describe)
    there = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
    asked = [
        remote.options(scheduling_strategy=where).remote(node.name, question)
        for node, where in zip(nodes, there, strict=True)
    ]
    end = time.monotonic() + _ANSWER_SECONDS
    answers = []
    for node, answer in zip(nodes, asked, strict=True):
        try:
            answers.append(ray.get(answer, timeout=max(1.0, end - time.monotonic())))
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            continue
        except ray.exceptions.RayError as error:
            raise StageError(
                f"node {node.name} does not answer as one that runs the gate: {last_line(error)}",
                hint="install mergegate and its engines on every node, in the same versions",
            ) from error
    return tuple(answers)


def last_line(error: BaseException) -> str:
    """The last line of what an error says: in a traceback, the cause."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _check_address(address: str) -> None:
    """Refuse what Ray would try for minutes.

    Raises:
        ConfigError: nothing listens there, or it is of a form that tells no progress.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ConfigError(
            f"executor ray: address {address!r} is neither auto nor HOST:PORT",
            hint="run the gate on a machine of the cluster; Ray's client (ray://) cannot tell "
            "progress",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"executor ray: nothing listens at {address}: {error.strerror or error}", hint=_START
        ) from error


def _silence() -> None:
    """Keep Ray from printing the deaths of nodes to stdout, where the gate's result goes."""
    with suppress(ImportError, AttributeError):
        from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

        dispatcher.remove_handler("ray_print_logs")
