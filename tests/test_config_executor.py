"""Where stages run, as gate.yaml says it."""

import pytest
from gates import write_gate

from gate.configuring.config import load_config
from gate.errors import ConfigError


@pytest.fixture
def load(tmp_path):
    """The config of a gate with more lines in its gate.yaml."""

    def load_gate(more):
        path = write_gate(tmp_path, tmp_path / "base", tmp_path / "adapter")
        path.write_text(path.read_text() + more)
        return load_config(path)

    return load_gate


def test_stages_run_here_unless_it_is_said(load):
    config = load("")
    assert (config.executor.name, config.workers) == ("local", 1)


def test_a_name_alone_takes_the_cluster_of_this_machine(load):
    config = load("executor: ray\n")
    assert (config.executor.name, config.executor.address) == ("ray", "auto")
    assert config.workers == "auto"


def test_how_many_run_at_once_on_a_cluster_can_be_said(load):
    assert load("executor: ray\nworkers: 3\n").workers == 3


def test_what_a_variant_asks_of_a_node_is_read(load):
    config = load("executor: {name: ray, address: 'head:6379', shards: 4, gpus: {merged: 2}}\n")
    assert (config.executor.shards, config.executor.gpus) == (4, {"merged": 2})


def test_a_storage_is_read(load):
    config = load("executor: {name: ray, storage: 's3://bucket/gate/'}\n")
    assert config.executor.storage == "s3://bucket/gate"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("executor: slurm\n", "Input should be 'local' or 'ray'"),
        ("executor: {name: ray, adress: auto}\n", "adress"),
        ("executor: {name: ray, shards: 0}\n", "shards"),
        ("executor: {name: local, shards: 2}\n", "only ray takes address, shards, cpus, gpus and"),
        ("executor: {name: local, storage: 's3://b'}\n", "only ray takes address"),
        ("executor: {name: ray, storage: /shared}\n", "give a URL such as s3://bucket/prefix"),
        ("executor: {name: ray, storage: 'simplecache::s3://b'}\n", "give a URL such as"),
        ("executor: {name: ray, storage: 'sftp://me:word@host/x'}\n", "a password does not belong"),
        ("executor: {name: ray, gpus: {mergd: 2}}\n", "no variant 'mergd'"),
    ],
)
def test_what_is_wrong_with_it_is_said(load, written, problem):
    with pytest.raises(ConfigError) as caught:
        load(written)
    assert problem in caught.value.problem


@pytest.mark.ray
@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265"])
def test_an_address_that_cannot_be_joined_is_refused(address):
    pytest.importorskip("ray", reason="needs Ray: pip install 'mergegate[ray]'")
    from gate.distributing.cluster import joined

    with pytest.raises(ConfigError, match="is neither auto nor HOST:PORT"), joined(address):
        pass
