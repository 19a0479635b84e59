"""The parts of a machine: its GPUs as the driver tells them, its cores and memory divided."""

import os

import pytest

from gate.running.slots import Gpu, gpus_of, slots_here

MIB = 1 << 20
TABLE = "0, GPU-aa, 81559\n1, GPU-bb, 40960\n"


def test_all_gpus_are_used_unless_some_are_hidden():
    assert gpus_of(TABLE, visible=None) == (Gpu("0", 81559 * MIB), Gpu("1", 40960 * MIB))


@pytest.mark.parametrize("visible", ["1", " 1 ", "1,-1"])
def test_only_the_visible_gpus_are_used(visible):
    assert gpus_of(TABLE, visible=visible) == (Gpu("1", 40960 * MIB),)


def test_a_gpu_may_go_by_its_uuid():
    assert gpus_of(TABLE, visible="GPU-bb") == (Gpu("GPU-bb", 40960 * MIB),)


@pytest.mark.parametrize("visible", ["", "-1"])
def test_a_user_may_hide_all_gpus(visible):
    assert gpus_of(TABLE, visible=visible) == ()


def test_memory_that_the_driver_does_not_tell_is_not_known():
    assert gpus_of("0, GPU-aa, [N/A]\n", visible=None) == (Gpu("0"),)


@pytest.fixture
def own_cores(monkeypatch):
    """A machine without GPUs, and nothing said about threads."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return len(os.sched_getaffinity(0))


def test_several_workers_divide_the_cores(own_cores):
    slots = slots_here(2, most=5, model_bytes=MIB)
    assert (slots.workers, slots.threads) == (2, max(1, own_cores // 2))


def test_one_worker_computes_with_as_many_threads_as_its_engine_likes(own_cores):
    assert slots_here(1, most=5, model_bytes=MIB).threads is None


def test_threads_that_a_user_has_set_stay(own_cores, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots_here(2, most=5, model_bytes=MIB).threads == 3


def test_auto_is_a_worker_a_core_as_far_as_there_are_variants(own_cores):
    assert slots_here("auto", most=99, model_bytes=MIB).workers == own_cores
    assert slots_here("auto", most=1, model_bytes=MIB).workers == 1


def test_auto_is_one_worker_where_memory_holds_no_two_models(own_cores):
    assert slots_here("auto", most=99, model_bytes=1 << 60).workers == 1
