"""A gate on a Ray cluster of several nodes: the same results, whatever dies on the way."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fates import FatefulWorker
from gates import FakeWorker
from ray_clusters import add_node, kill_node_of, ray_cluster, wait_until
from ray_gates import RIGHT, Listening, errors, make_gate, on, outputs, run

from gate.distributing.cluster import Demand
from gate.errors import ConfigError
from gate.executors.ray import join_cluster
from gate.jobs import Batch, Done, Failed, Job, Progress, Started
from gate.running.children import run_in_child
from gate.running.filling import Watcher
from gate.running.worker import run_in_process
from gate.terms import Stage, Task, Use

pytest.importorskip("ray", reason="needs Ray: pip install 'mergegate[ray]'")
pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


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
    return lambda name, more="": make_gate(tmp_path / name, base, adapter, more)


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


RUN = """\
import signal
import sys
from pathlib import Path
from fates import FatefulWorker
from ray_gates import RIGHT, run

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell left behind
    run(Path(sys.argv[1]), FatefulWorker(Path(sys.argv[2]), RIGHT))
"""


def test_ctrl_c_stops_what_runs_elsewhere_and_a_second_run_goes_on(make, cluster, worker):
    there = make("there", on(cluster))
    hold = worker.folder / "hold" / "evaluate-merged-colors"
    hold.touch()
    tests = str(Path(__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(there), str(worker.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((tests, os.environ["PYTHONPATH"]))},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        wait_until(lambda: worker.times(hold.name))
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)

    assert told.rstrip().endswith("KeyboardInterrupt")
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
