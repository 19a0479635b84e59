"""A gate on a Ray cluster of several nodes: the same results, whatever dies on the way."""

import os
import signal
import threading

import pytest
from fates import FatefulWorker
from gates import FakeWorker, write_gate
from ray_clusters import add_node, ray_cluster, wait_until

from gate.configuring.config import load_config
from gate.distributing.cluster import Demand
from gate.errors import ConfigError
from gate.executors.ray import join_cluster
from gate.jobs import Batch, Done, Failed, Job, Progress, Started
from gate.running.children import run_in_child
from gate.running.filling import Watcher
from gate.running.runner import run_gate
from gate.running.worker import run_in_process
from gate.store import Store
from gate.terms import Stage, Task, Use

pytest.importorskip("ray", reason="needs Ray: pip install 'mergegate[ray]'")
pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

GATE = """\
release: v1
candidate:
  base: {base}
  adapters: {{support: {adapter}}}
variants:
  base: {{adapters: []}}
  merged: {{merge: stream}}
backend: {{name: hf, dtype: float32}}
suite: suite.yaml
"""
SUITE = """\
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml}
checks:
  - {of: merged, against: base, compare: delta, margin: 0.02}
noise_floor: false
"""
RIGHT = {"base": 270, "merged": 280}


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture
def worker(tmp_path):
    return FatefulWorker(tmp_path / "fates", RIGHT)


@pytest.fixture
def make(tmp_path, base, adapter):
    """Makes gates; `more` are lines of gate.yaml."""

    def make_gate(name, more=""):
        folder = tmp_path / name
        folder.mkdir()
        write_gate(folder, base, adapter, gate=GATE, suite=SUITE)
        with (folder / "gate.yaml").open("a") as file:
            file.write(more)
        return folder

    return make_gate


def run(folder, run_batch, **options):
    config = load_config(folder / "gate.yaml")
    store, reports = Store(folder / "store"), folder / "reports"
    return run_gate(config, store=store, reports=reports, run_batch=run_batch, **options).record


def on(cluster, more: str = "") -> str:
    return f"executor: {{name: ray, address: '{cluster.address}'{more}}}\n"


def outputs(folder) -> dict[str, bytes]:
    """What the stages gave."""
    files = (folder / "store").glob("*/*/output/**/*")
    return {
        file.relative_to(folder / "store").as_posix(): file.read_bytes()
        for file in files
        if file.is_file()
    }


def errors(record) -> dict[str, str]:
    return {stage.label: stage.error for stage in record.stages if stage.error}


class Listening(Watcher):
    """Keeps the events of each stage."""

    def __init__(self):
        self.heard = {}

    def event(self, planned, event):
        self.heard.setdefault(planned.label, []).append(event)


def test_a_gate_on_a_cluster_gives_what_it_gives_here(make, cluster, worker):
    here, there = make("here"), make("there", on(cluster))

    local = run(here, FakeWorker(RIGHT))
    remote = run(there, worker)

    assert errors(remote) == {}
    assert outputs(there) == outputs(here)
    assert (remote.scores, remote.results) == (local.scores, local.results)
    assert not list((there / "store").glob("seen-*"))


def test_progress_comes_back_as_if_one_worker_had_all_documents(make, cluster, worker):
    watcher = Listening()
    run(make("there", on(cluster, ", shards: 2")), worker, watcher=watcher)

    heard = watcher.heard["evaluate base colors"]
    assert [type(event) for event in heard] == [Started, Progress, Progress, Done]
    assert [(one.done, one.total) for one in heard[1:3]] == [(100, 300), (200, 300)]
    assert heard[-1].seconds == 3.0
    assert [len(worker.times(f"evaluate-base-colors.{part}")) for part in (0, 1)] == [1, 1]


def test_a_node_that_dies_has_its_share_asked_on_another(make, cluster, worker):
    here, there = make("here"), make("there", on(cluster, ", shards: 3"))
    add_node(cluster)
    name = "evaluate-base-colors.1"
    (worker.folder / "hold" / name).touch()
    killer = threading.Thread(target=kill_node_of, args=(cluster, worker, name))
    killer.start()

    record = run(there, worker)

    killer.join()
    (_, first), (_, second) = worker.times(name)
    assert first != second
    assert errors(record) == {}
    run(here, FakeWorker(RIGHT))
    assert outputs(there) == outputs(here)


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


def test_a_share_that_dies_everywhere_is_named_and_the_others_are_kept(make, cluster, worker):
    there = make("there", on(cluster, ", shards: 2"))
    (worker.folder / "die" / "evaluate-base-colors.1").touch()

    broken = run(there, worker)

    assert list(errors(broken)) == ["evaluate base colors"]
    error = errors(broken)["evaluate base colors"]
    assert error.startswith("part 2 of 2 of its documents: its worker died 3 times, on node 127.")
    assert len(list((there / "store" / "partial").glob("*/share-*.json"))) == 3
    assert len(worker.times("evaluate-merged-colors.gathered")) == 1

    (worker.folder / "die" / "evaluate-base-colors.1").unlink()
    assert errors(run(there, worker)) == {}
    assert not list((there / "store" / "tmp").glob("*"))


def test_a_run_that_is_stopped_stops_what_runs_elsewhere(make, cluster, worker):
    there = make("there", on(cluster))
    hold = worker.folder / "hold" / "evaluate-base-colors"
    hold.touch()

    class Impatient(Watcher):
        def event(self, planned, event):
            if isinstance(event, Done) and planned.label == "merge merged":
                wait_until(lambda: worker.times(hold.name))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(there, worker, watcher=Impatient())

    ((process, _),) = worker.times(hold.name)
    wait_until(lambda: not is_alive(process))
    hold.unlink()
    assert errors(run(there, worker)) == {}
    assert len(worker.times("merge-merged")) == 1


def is_alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_of_other_versions_is_named_before_any_work(make, cluster, worker, tmp_path):
    other = tmp_path / "other"
    (other / "peft-0.0.1.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: peft\nVersion: 0.0.1\n"
    (other / "peft-0.0.1.dist-info" / "METADATA").write_text(metadata)
    path = os.pathsep.join((str(other), os.environ["PYTHONPATH"]))
    odd = add_node(cluster, env_vars={"PYTHONPATH": path})
    try:
        with pytest.raises(ConfigError, match=r"node 127\.0\.0\.1 .* peft 0\.0\.1 there") as caught:
            run(make("there", on(cluster)), worker)
    finally:
        cluster.remove_node(odd)
    assert odd.node_id[:8] in caught.value.problem
    assert list((worker.folder / "ran").iterdir()) == []


def test_what_no_node_has_is_refused_before_any_work(make, cluster, worker):
    with pytest.raises(ConfigError) as caught:
        run(make("there", on(cluster, ", gpus: {merged: 4}")), worker)

    asked = "variant merged asks for 1 CPUs, 4 GPUs on one node, and the cluster has 127.0.0.1"
    assert caught.value.problem.startswith(asked)
    assert list((worker.folder / "ran").iterdir()) == []


def test_a_run_with_nothing_to_do_asks_for_no_cluster(make, cluster, worker):
    there = make("there", on(cluster))
    run(there, worker)
    config = (there / "gate.yaml").read_text().replace(cluster.address, "127.0.0.1:9")
    (there / "gate.yaml").write_text(config)

    assert errors(run(there, worker)) == {}


def test_what_the_budget_has_no_time_for_is_stopped(cluster, worker, tmp_path):
    (worker.folder / "hold" / "evaluate-base-colors").touch()
    batch = Batch(jobs=(evaluation_of(tmp_path),), options={}, limit_seconds=0.1)
    heard = []

    with join_cluster(
        {"base": Demand()},
        store=tmp_path / "store",
        packages={},
        paths=(),
        run_batch=worker,
        address=cluster.address,
    ) as joined:
        joined.run_batch(batch, tmp_path / "log", heard.append)

    assert [one.problem for one in heard] == [
        "it was stopped when the time for its stages was over"
    ]


def evaluation_of(folder) -> Job:
    stage = Stage(kind="evaluate", use=Use(name="hf"), inputs={}, code="c", packages={})
    out = folder / "store" / "tmp" / stage.key / "output"
    out.mkdir(parents=True)
    return Job(
        stage=stage,
        label="evaluate base colors",
        model=str(folder),
        adapters=(),
        task=Task(name="colors", metric="acc"),
        out=str(out),
    )


def test_real_models_on_a_cluster_give_the_same_bytes(make, cluster):
    here, there = make("here"), make("there", on(cluster, ", shards: 2"))

    local, remote = run(here, run_in_process), run(there, run_in_child)

    assert errors(local) == errors(remote) == {}
    assert outputs(there) == outputs(here)
    assert remote.scores == local.scores


def test_a_failure_on_a_node_is_told_in_its_own_words(make, cluster):
    watcher = Listening()
    run(make("there", on(cluster)), FakeWorker(RIGHT, fails="merge"), watcher=watcher)

    failed = watcher.heard["merge merged"][-1]
    assert isinstance(failed, Failed)
    assert (failed.problem, failed.hint) == ("it broke", "mend it")
