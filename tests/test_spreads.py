"""Models that are spread over several GPUs: counted, asked for, refused where there are fewer."""

import pytest
from gates import GATE, write_gate

from gate.configuring.capacity import spread_of
from gate.configuring.config import load_config
from gate.distributing.cluster import Demand
from gate.engines.vllm_models import check_spread
from gate.errors import ConfigError
from gate.executors.ray import demand_of
from gate.running.places import check_spreads
from gate.terms import Use

BACKEND = "backend: {{name: hf, dtype: float32}}"
SPREAD = "backend: {{name: vllm, tensor_parallel_size: 4, pipeline_parallel_size: 2}}"


@pytest.fixture
def load(tmp_path):
    """The config of a gate that vLLM serves over eight GPUs, with more lines in its gate.yaml."""

    def load_gate(more):
        path = write_gate(
            tmp_path, tmp_path / "base", tmp_path / "adapter", gate=GATE.replace(BACKEND, SPREAD)
        )
        path.write_text(path.read_text() + more)
        return load_config(path)

    return load_gate


def test_both_kinds_of_parallelism_multiply():
    use = Use(name="vllm", params={"tensor_parallel_size": 4, "pipeline_parallel_size": 2})
    assert spread_of(use) == 8
    assert spread_of(Use(name="hf")) == 1


def test_a_cluster_is_asked_for_as_many_gpus_as_a_model_is_spread_over(load):
    assert load("executor: ray\n").executor.gpus["merged"] == 8
    assert load("executor: {name: ray, gpus: {merged: 9}}\n").executor.gpus["merged"] == 9


def test_a_variant_that_is_spread_over_more_gpus_than_it_is_given_is_refused(load):
    with pytest.raises(ConfigError) as caught:
        load("executor: {name: ray, gpus: {merged: 2}}\n")
    problem = "executor.gpus.merged: 2, and its backend spreads its model over 8 GPUs"
    assert problem in caught.value.problem
    assert caught.value.hint == "give it 8, or leave it out"


def test_a_machine_with_fewer_gpus_is_refused_before_any_work(load):
    with pytest.raises(ConfigError) as caught:
        check_spreads(load(""), gpus=2)
    assert caught.value.problem == (
        "variant base: vllm spreads its model over 8 GPUs, and this machine has 2"
    )


@pytest.mark.parametrize("gpus", [0, 8])
def test_a_machine_with_enough_or_unknown_gpus_is_taken(load, gpus):
    check_spreads(load(""), gpus=gpus)


def test_a_variant_that_the_plan_adds_asks_for_what_its_runtime_does():
    demands = {"w8a8": Demand(gpus=4), "": Demand(gpus=1)}
    assert demand_of("w8a8", demands).gpus == 4
    assert demand_of("merged@w8a8", demands).gpus == 4
    assert demand_of("adapter@support", demands).gpus == 1


@pytest.mark.parametrize("name", ["tensor_parallel_size", "pipeline_parallel_size"])
def test_a_size_below_one_is_refused(name):
    with pytest.raises(ConfigError, match=f"vllm.{name}: 0 is below 1"):
        check_spread({name: 0})


def test_more_gpus_than_a_process_sees_are_refused():
    with pytest.raises(ConfigError) as caught:
        check_spread({"tensor_parallel_size": 4, "pipeline_parallel_size": 2}, gpus=1)
    assert caught.value.problem == (
        "vllm: tensor_parallel_size 4 x pipeline_parallel_size 2 asks for 8 GPUs, and this "
        "machine has 1"
    )
