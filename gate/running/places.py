"""Where the stages of a run are run: on this machine, or on the nodes of a cluster."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from gate import extensions
from gate.configuring.capacity import spread_of
from gate.configuring.config import GateConfig
from gate.distributing.cluster import Demand
from gate.distributing.consignments import Consignment
from gate.distributing.nodes import OWN
from gate.distributing.storages import Storage
from gate.distributions.memory import needed_bytes
from gate.environments import find_python
from gate.errors import ConfigError
from gate.executors.ray import join_cluster
from gate.jobs import RunBatch, Served
from gate.planning.todo import Sources, look_up
from gate.running.children import forked_children, run_in_child
from gate.running.inputs import inputs_of
from gate.running.servers import runs_in_torch
from gate.running.slots import Slots, find_gpus, slots_here
from gate.store import Store

_THREADS = "OMP_NUM_THREADS"


class Place(NamedTuple):
    """How a batch is run, and how many of them at once."""

    run_batch: RunBatch
    slots: Slots


@contextmanager
def place_of(
    config: GateConfig, sources: Sources, store: Store, *, run_batch: RunBatch | None
) -> Iterator[Place]:
    """Where batches run, as gate.yaml says.

    Args:
        config: what was asked.
        sources: the base and adapters.
        store: where outputs go.
        run_batch: runs a batch on a machine; None for a child process, forked where that can be.

    Raises:
        ConfigError: the cluster is not there or not fit, or this machine has fewer GPUs than a
            model is spread over.
        StageError: one of its nodes does not answer.
        StoreError: one of its nodes does not see the store, or cannot use the storage.
    """
    if config.executor.name == "local" or _is_done(config, sources, store):
        slots = _slots_here(config, sources)
        forked = forked_children(expected=_expected(config, store, slots))
        with nullcontext(run_batch) if run_batch else forked as runs:
            yield Place(runs, slots)
        return
    executor = config.executor
    with join_cluster(
        _demands(config),
        store=store.root,
        packages=_packages(config, store),
        paths=_paths(config, sources),
        run_batch=run_batch or run_in_child,
        address=executor.address,
        shards=executor.shards,
        consignment=_consignment(config, sources, store),
    ) as cluster:
        workers = cluster.places if config.workers == "auto" else config.workers
        given = os.environ.get(_THREADS, "")
        threads = int(given) if given.isdecimal() and int(given) else executor.cpus
        yield Place(cluster.run_batch, Slots(workers, threads=threads))
        store.file_digest.save()


def _consignment(config: GateConfig, sources: Sources, store: Store) -> Consignment | None:
    """What brings files to the nodes, where they share no folder.

    Raises:
        ConfigError: the storage's URL is of no known kind, or a package is missing.
    """
    if config.executor.storage is None:
        return None
    return Consignment(
        Storage(config.executor.storage),
        store.root,
        inputs_of(config, sources),
        file_digest=store.file_digest,
    )


def check_spreads(config: GateConfig, *, gpus: int) -> None:
    """Refuse a variant that is spread over more GPUs than there are.

    Args:
        config: what was asked.
        gpus: of this machine; 0 where it has none, or they cannot be counted.

    Raises:
        ConfigError: a variant asks for more.
    """
    for variant in config.variants:
        wanted = spread_of(variant.backend)
        if 0 < gpus < wanted:
            raise ConfigError(
                f"variant {variant.name}: {variant.backend.name} spreads its model over {wanted} "
                f"GPUs, and this machine has {gpus}",
                hint="set a smaller tensor_parallel_size or pipeline_parallel_size, or run it on "
                "a cluster: executor: ray",
            )


def _is_done(config: GateConfig, sources: Sources, store: Store) -> bool:
    """Whether nothing is to run, for which no cluster need be there."""
    return not config.suite.sequential and not look_up(config, sources, store).to_run


def _expected(config: GateConfig, store: Store, slots: Slots) -> dict[str, str] | None:
    """Variables of what will load a model into the torch of here; None where nothing will."""
    for variant in config.variants:
        name = variant.backend.name
        python = find_python(name, store=store.root, given=config.interpreters)
        if python is None and runs_in_torch(variant.backend):
            return {} if slots.threads is None else {_THREADS: str(slots.threads)}
    return None


def _slots_here(config: GateConfig, sources: Sources) -> Slots:
    """As many batches at once as gate.yaml says, or as the base has room.

    Raises:
        ConfigError: fewer GPUs than a model is spread over.
    """
    if config.executor.name == "local" and any(
        spread_of(one.backend) > 1 for one in config.variants
    ):
        check_spreads(config, gpus=len(find_gpus(os.environ)))
    served = Served(use=config.variants[0].backend, model=sources.base.path, adapters=())
    return slots_here(config.workers, most=len(config.variants), model_bytes=needed_bytes([served]))


def _demands(config: GateConfig) -> dict[str, Demand]:
    """{variant: what its stages ask of a node}; '' is one that the plan adds."""
    named = {
        variant.name: Demand(
            cpus=config.executor.cpus,
            gpus=config.executor.gpus.get(variant.name),
            memory_bytes=config.memory_bytes.get(variant.name),
        )
        for variant in config.variants
    }
    return {**named, "": Demand(cpus=config.executor.cpus)}


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
