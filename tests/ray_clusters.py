"""Ray clusters of several nodes on this machine, on loopback alone."""

import os
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import gate

# Ray reads these when it is imported
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its own word for loopback only
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

_PATIENCE_SECONDS = 60.0
_SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
_UNHURRIED = {"memory_monitor_refresh_ms": 0}
"""Other tests fill the memory of this machine, for which Ray would kill workers of these."""


@contextmanager
def ray_cluster(*, nodes: int, disks: Path | None = None):
    """A cluster of a head and other nodes, each with one CPU, that can import these tests.

    Nodes have a copy of the gate that nobody edits while tests run: one with other sources would
    be refused. With `disks` each node keeps what is its own in a folder of its own there.
    """
    from ray.cluster_utils import Cluster

    tests = Path(__file__).parent
    before, folder = os.environ.get("PYTHONPATH", ""), Path.cwd()
    copy = tempfile.TemporaryDirectory()
    shutil.copytree(Path(gate.__file__).parent, Path(copy.name, "gate"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (copy.name, str(tests), before)))
    os.chdir(copy.name)  # Ray lets nodes import from where the driver is, before all else
    cluster = Cluster()

    def disk(number):
        return {"env_vars": {"XDG_CACHE_HOME": str(disks / f"node-{number}")}} if disks else {}

    try:
        cluster.add_node(**_SMALL, include_dashboard=False, _system_config=_UNHURRIED, **disk(0))
        for number in range(1, nodes):
            add_node(cluster, **disk(number))
        yield cluster
    finally:
        cluster.shutdown()
        os.environ["PYTHONPATH"] = before
        os.chdir(folder)
        copy.cleanup()


def add_node(cluster, **settings):
    """One more node with one CPU."""
    return cluster.add_node(**(_SMALL | settings))


def wait_until(is_so):
    """Wait for what other processes do, but not for ever."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came to it"
        time.sleep(0.05)


def kill_node_of(cluster, worker, name):
    """Kill the node that a batch runs on; the head, without which is no cluster, by its worker."""
    wait_until(lambda: worker.times(name))
    ((process, where),) = worker.times(name)
    nodes = {node.node_id: node for node in cluster.worker_nodes}
    if where in nodes:
        cluster.remove_node(nodes[where], allow_graceful=False)
    else:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: len(worker.times(name)) == 2)
    (worker.folder / "hold" / name).unlink()
