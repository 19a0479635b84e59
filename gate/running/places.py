"""Where the stages of a run are run: on this machine, or on the nodes of a cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gate import extensions
from gate.configuring.config import GateConfig
from gate.distributing.cluster import Demand
from gate.distributing.nodes import OWN
from gate.distributions.memory import needed_bytes
from gate.environments import find_python
from gate.executors.ray import join_cluster
from gate.jobs import RunBatch, Served
from gate.planning.todo import Sources, look_up
from gate.running.slots import Slots, slots_here
from gate.store import Store

_THREADS = "OMP_NUM_THREADS"


class Place(NamedTuple):
    """How a batch is run, and how many of them at once."""

    run_batch: RunBatch
    slots: Slots


@contextmanager
def place_of(
    config: GateConfig, sources: Sources, store: Store, *, run_batch: RunBatch
) -> Iterator[Place]:
    """Where batches run, as gate.yaml says.

    Args:
        config: what was asked.
        sources: the base and adapters.
        store: where outputs go.
        run_batch: runs a batch on a machine.

    Raises:
        ConfigError: the cluster is not there or not fit.
        StageError: one of its nodes does not answer.
        StoreError: one of its nodes does not see the store.
    """
    if config.executor.name == "local" or _is_done(config, sources, store):
        yield Place(run_batch, _slots_here(config, sources))
        return
    executor = config.executor
    with join_cluster(
        _demands(config),
        store=store.root,
        packages=_packages(config, store),
        paths=_paths(config, sources),
        run_batch=run_batch,
        address=executor.address,
        shards=executor.shards,
    ) as cluster:
        workers = cluster.places if config.workers == "auto" else config.workers
        given = os.environ.get(_THREADS, "")
        threads = int(given) if given.isdecimal() and int(given) else executor.cpus
        yield Place(cluster.run_batch, Slots(workers, threads=threads))


def _is_done(config: GateConfig, sources: Sources, store: Store) -> bool:
    """Whether nothing is to run, for which no cluster need be there."""
    return not config.suite.sequential and not look_up(config, sources, store).to_run


def _slots_here(config: GateConfig, sources: Sources) -> Slots:
    """As many batches at once as gate.yaml says, or as the base has room."""
    served = Served(use=config.variants[0].backend, model=sources.base.path, adapters=())
    return slots_here(config.workers, most=len(config.variants), model_bytes=needed_bytes([served]))


def _demands(config: GateConfig) -> dict[str, Demand]:
    """{variant: what its stages ask of a node}."""
    return {
        variant.name: Demand(
            cpus=config.executor.cpus,
            gpus=config.executor.gpus.get(variant.name),
            memory_bytes=config.memory_bytes.get(variant.name),
        )
        for variant in config.variants
    }


def _packages(config: GateConfig, store: Store) -> dict[str, set[str]]:
    """{interpreter: distributions that what runs there stands on}."""
    found: dict[str, set[str]] = {}
    for variant in config.variants:
        uses = {"mergers": variant.merge, "quantizers": variant.quantize}
        for folder, use in {**uses, "backends": variant.backend}.items():
            if use is not None:
                python = find_python(use.name, store=store.root, given=config.interpreters)
                extension = extensions.find(folder, use.name)
                found.setdefault(python or OWN, set()).update(extension.packages)
    return found


def _paths(config: GateConfig, sources: Sources) -> Iterator[str]:
    """The files and folders of the gate that stages read."""
    located = (sources.base, *sources.adapters.values())
    paths = [source.path for source in located]
    paths += [task.path for task in config.suite.tasks if task.path]
    paths += [text.path for text in config.suite.texts]
    paths += [one.path for one in config.suite.calibration]
    yield from (str(Path(path).resolve()) for path in paths)
