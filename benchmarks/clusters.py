"""What a Ray cluster adds to a run: joining it, asking its nodes, sending a stage to one.

python benchmarks/clusters.py --nodes 2 --stages 40
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # Ray's word for loopback only
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

from gate.distributing.cluster import Demand
from gate.distributing.consignments import Consignment
from gate.distributing.storages import Storage
from gate.executors.ray import Cluster, join_cluster
from gate.jobs import Batch, Done, Job, OnEvent
from gate.terms import Stage, Use


def do_nothing(batch: Batch, log: Path, on_event: OnEvent) -> None:
    """A worker whose stages are done at once."""
    for job in batch.jobs:
        key = job.stage.key
        on_event(Done(key=key, seconds=0, peak_memory_bytes=0, interpreter="none"))


def empty_batch(store: Path, number: int) -> Batch:
    """A stage that reads the store's folder and writes nothing."""
    stage = Stage(
        kind="merge", use=Use(name="none"), inputs={"of": str(number)}, code="", packages={}
    )
    out = store / "tmp" / stage.key / "output"
    out.mkdir(parents=True)
    job = Job(
        stage=stage,
        label=f"merge {number}",
        model=str(store),
        adapters=(),
        task=None,
        out=str(out),
    )
    return Batch(jobs=(job,), options={})


def run_stages(cluster: Cluster, store: Path, stages: int, *, first: int) -> float:
    """Seconds for so many empty stages, one after the other."""
    begun = time.perf_counter()
    for number in range(first, first + stages):
        cluster.run_batch(empty_batch(store, number), store / "log", lambda event: None)
    return time.perf_counter() - begun


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--stages", type=int, default=40)
    parser.add_argument("--storage", help="the URL of what the nodes share in place of a folder")
    asked = parser.parse_args()
    from ray.cluster_utils import Cluster as LocalCluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1"}
    nodes = LocalCluster()
    try:
        nodes.add_node(**node, include_dashboard=False)
        for _ in range(asked.nodes - 1):
            nodes.add_node(**node)
        with tempfile.TemporaryDirectory() as scratch:
            measure(nodes.address, Path(scratch), asked.stages, storage=asked.storage)
    finally:
        nodes.shutdown()


def measure(address: str, store: Path, stages: int, *, storage: str | None) -> None:
    """Join, send the stages three times, leave."""
    begun = time.perf_counter()
    demands = {"base": Demand()}
    with join_cluster(
        demands,
        store=store,
        packages={},
        paths=(),
        run_batch=do_nothing,
        address=address,
        consignment=Consignment(Storage(storage), store, ()) if storage else None,
    ) as cluster:
        took = time.perf_counter() - begun
        print(f"joined {len(cluster.nodes)} nodes and asked them: {took:.2f} s")
        rounds = [run_stages(cluster, store, stages, first=part * stages) for part in range(3)]
        milliseconds = 1000 * min(rounds) / stages
        print(f"an empty stage: {milliseconds:.0f} ms, the best of {len(rounds)} rounds")


if __name__ == "__main__":
    main()
