"""A gate on a Ray cluster whose nodes share no folder: all goes through a storage."""

import sys
import tempfile
import threading
from pathlib import Path

import pytest
from fates import KeepingWorker, Secluded
from gates import FakeWorker
from ray_clusters import add_node, kill_node_of, ray_cluster
from ray_gates import RIGHT, errors, make_gate, on, outputs, run
from running_servers import free_port, running

from gate.errors import StoreError
from gate.running.children import run_in_child
from gate.running.worker import run_in_process

pytest.importorskip("ray", reason="needs Ray: pip install 'mergegate[ray]'")
pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and processes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BUCKET = "releases"


@pytest.fixture(scope="module")
def port():
    """Where S3 will listen: nodes and callers know it from their environment, as from a profile."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield port


@pytest.fixture(scope="module")
def disks():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(port, disks):
    with ray_cluster(nodes=2, disks=disks) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def s3(port, tmp_path_factory):
    """A bucket of a server that speaks S3."""
    pytest.importorskip("moto", reason="needs moto: pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install s3fs")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = tmp_path_factory.mktemp("s3") / "log"
    with running(command, port=port, log=log, asked="/moto-api/"):
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}/gate"


@pytest.fixture
def bucket(tmp_path):
    """A folder that all nodes mount: the storage that needs nothing else."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder.as_uri()


@pytest.fixture
def make(tmp_path, base, adapter):
    """Makes gates; `more` are lines of gate.yaml."""
    return lambda name, more="": make_gate(tmp_path / name, base, adapter, more)


def through(cluster, url, more=""):
    return on(cluster, f", storage: '{url}'{more}")


def test_through_a_folder_a_gate_gives_what_it_gives_here(make, cluster, bucket):
    here, there = make("here"), make("there", through(cluster, bucket))

    local = run(here, FakeWorker(RIGHT))
    remote = run(there, Secluded(FakeWorker(RIGHT)))

    assert errors(remote) == {}
    assert outputs(there) == outputs(here)
    assert (remote.scores, remote.results) == (local.scores, local.results)


def test_a_share_goes_on_on_another_node_from_what_the_dead_one_kept(
    make, cluster, bucket, disks, tmp_path
):
    there = make("there", through(cluster, bucket, ", shards: 2"))
    add_node(cluster, env_vars={"XDG_CACHE_HOME": str(disks / "late")})
    name = "evaluate-base-colors.1"
    worker = KeepingWorker(tmp_path / "fates", RIGHT, held=name)
    (worker.folder / "hold" / name).touch()
    killer = threading.Thread(target=kill_node_of, args=(cluster, worker.answering, name))
    killer.start()

    record = run(there, worker)

    killer.join()
    before, after = worker.found()  # of the other share, too, where that was done by then
    assert "00000000.json" not in before
    assert "00000000.json" in after
    assert errors(record) == {}
    here = make("here")
    run(here, FakeWorker(RIGHT))
    assert outputs(there) == outputs(here)


def test_real_models_through_s3_give_the_same_bytes(make, cluster, s3):
    here, there = make("here"), make("there", through(cluster, s3, ", shards: 2"))

    local, remote = run(here, run_in_process), run(there, Secluded(run_in_child))

    assert errors(local) == errors(remote) == {}
    assert outputs(there) == outputs(here)
    assert remote.scores == local.scores
    assert list((there / "store" / "partial").glob("*/*.json"))
    assert list((there / "store" / "logs").glob("*.part-2.log"))


def test_a_bucket_that_is_not_there_is_named_before_any_work(make, cluster, s3):
    url = s3.replace(BUCKET, "no-such-bucket")
    with pytest.raises(StoreError, match=f"storage {url}: cannot write tried-"):
        run(make("there", through(cluster, url)), Secluded(FakeWorker(RIGHT)))


def test_a_node_that_cannot_keep_its_copy_is_named_before_any_work(make, cluster, bucket, tmp_path):
    (tmp_path / "full").write_text("")
    odd = add_node(cluster, env_vars={"XDG_CACHE_HOME": str(tmp_path / "full")})
    try:
        with pytest.raises(StoreError, match=r"node 127\.0\.0\.1 .*: cannot write .*full"):
            run(make("there", through(cluster, bucket)), Secluded(FakeWorker(RIGHT)))
    finally:
        cluster.remove_node(odd)
