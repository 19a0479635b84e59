"""Ray clusters of several nodes on this machine, on loopback alone."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

# Ray reads these when it is imported
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its own word for loopback only
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"

_PATIENCE_SECONDS = 60.0
_SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
_QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 10,
}


@contextmanager
def ray_cluster(*, nodes: int):
    """A cluster of a head and other nodes, each with one CPU, that can import these tests."""
    from ray.cluster_utils import Cluster

    tests = str(Path(__file__).parent)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (tests, before)))
    cluster = Cluster()
    try:
        cluster.add_node(**_SMALL, include_dashboard=False, _system_config=_QUICK)
        for _ in range(nodes - 1):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()
        os.environ["PYTHONPATH"] = before


def add_node(cluster, **settings):
    """One more node with one CPU."""
    return cluster.add_node(**(_SMALL | settings))


def wait_until(is_so):
    """Wait for what other processes do, but not for ever."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came to it"
        time.sleep(0.05)
