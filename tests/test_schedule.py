"""Which batches start when: after what they need, where there is room, and speed alone."""

import pytest
from test_soonest import after, labels, stage

from gate.planning.soonest import is_alone, longest_first
from gate.running.schedule import Schedule
from gate.running.slots import Demand, Gpu, Slots

GIB = 1 << 30
MERGE = stage("merge")
QUANTIZE = after("quantize", MERGE)
ONE, OTHER = after("one", MERGE), after("other", QUANTIZE)


def speed(label: str):
    planned = stage(label)
    measured = planned.stage.model_copy(update={"kind": "speed"})
    return planned.model_copy(update={"stage": measured})


def schedule(*stages, slots, sizes=None):
    """Each stage in a batch of its own; `sizes` says in GiB what a label takes."""

    def demand(batch):
        size = (sizes or {}).get(batch[0].label, 1)
        return Demand(memory_bytes=int(size * GIB), is_alone=is_alone(batch))

    return Schedule([(one,) for one in stages], slots, demand)


def all_that_may_start(schedule) -> list:
    return list(iter(schedule.take, None))


def started(schedule) -> list[str]:
    return labels(placed.batch for placed in all_that_may_start(schedule))


def rounds(schedule) -> list[list[str]]:
    """What starts at once, when all that runs ends at the same time."""
    found = []
    while begun := all_that_may_start(schedule):
        found.append(labels(placed.batch for placed in begun))
        for placed in begun:
            schedule.end(placed)
    return found


def test_a_batch_starts_when_all_that_it_needs_is_there():
    graph = schedule(MERGE, QUANTIZE, ONE, OTHER, slots=Slots(4))
    assert rounds(graph) == [["merge"], ["quantize", "one"], ["other"]]


def test_what_needs_nothing_does_not_wait():
    alone = stage("alone")
    assert started(schedule(MERGE, ONE, alone, slots=Slots(4))) == ["merge", "alone"]


def test_no_more_run_than_there_are_workers():
    stages = [stage(label) for label in "abc"]
    assert rounds(schedule(*stages, slots=Slots(2))) == [["a", "b"], ["c"]]


def test_one_worker_keeps_to_the_order():
    graph = schedule(MERGE, QUANTIZE, ONE, OTHER, slots=Slots())
    assert rounds(graph) == [["merge"], ["quantize"], ["one"], ["other"]]


def test_a_measurement_of_speed_runs_alone():
    stages = [stage("a"), speed("fast"), stage("b")]
    assert rounds(schedule(*stages, slots=Slots(3))) == [["a"], ["fast"], ["b"]]


def test_models_run_at_once_as_far_as_memory_reaches():
    stages = [stage(label) for label in "abc"]
    slots = Slots(3, memory_bytes=10 * GIB)
    assert rounds(schedule(*stages, slots=slots, sizes={"a": 6, "b": 6, "c": 4})) == [
        ["a", "c"],
        ["b"],
    ]


def test_a_model_for_which_there_is_no_memory_is_tried_alone():
    slots = Slots(2, memory_bytes=GIB)
    assert rounds(schedule(stage("a"), stage("b"), slots=slots, sizes={"a": 9, "b": 9})) == [
        ["a"],
        ["b"],
    ]


def two_gpus(workers: int = 4) -> Slots:
    return Slots(workers, gpus=[Gpu("0", 80 * GIB), Gpu("1", 80 * GIB)])


def named(slot) -> str | None:
    return slot and ",".join(gpu.name for gpu in slot.gpus)


def test_a_gpu_holds_one_model():
    slots = two_gpus()
    assert [named(slots.take(Demand(GIB))) for _ in range(3)] == ["0", "1", None]


def test_a_gpu_that_is_given_back_is_taken_again():
    slots = two_gpus()
    first = slots.take(Demand(GIB))
    slots.take(Demand(GIB))
    slots.give_back(first)
    assert named(slots.take(Demand(GIB))) == "0"


def test_models_share_a_gpu_where_their_memory_is_declared_and_fits():
    slots = two_gpus()
    declared = Demand(35 * GIB, is_declared=True)
    assert [named(slots.take(declared)) for _ in range(4)] == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    "third", [Demand(46 * GIB, is_declared=True), Demand(GIB), Demand(GIB, True, gpus=2)]
)
def test_a_gpu_is_not_shared_beyond_its_memory_or_without_a_declaration(third):
    slots = two_gpus()
    for _ in range(2):
        slots.take(Demand(35 * GIB, is_declared=True))
    assert slots.take(third) is None


def test_a_model_that_is_spread_takes_several_gpus():
    slots = two_gpus()
    assert named(slots.take(Demand(GIB, gpus=2))) == "0,1"
    assert slots.take(Demand(GIB)) is None


def test_a_child_is_kept_to_its_gpu(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    slots = two_gpus()
    slot = slots.take(Demand(GIB))
    assert slots.variables(slot) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}


def test_a_single_worker_sees_all_gpus():
    slots = two_gpus(workers=1)
    assert slots.variables(slots.take(Demand(GIB))) == {}


def test_what_most_work_waits_for_comes_first():
    long, short = after("long", QUANTIZE), after("short", MERGE)
    batches = [(MERGE,), (short,), (QUANTIZE,), (long,)]
    seconds = {"merge": 5.0, "quantize": 5.0, "short": 8.0, "long": 60.0}
    expected = {one.stage.key: seconds[one.label] for (one,) in batches}
    assert labels(longest_first(batches, expected)) == ["merge", "quantize", "long", "short"]


def test_measurements_of_speed_come_last():
    batches = [(speed("fast"),), (stage("a"),)]
    assert labels(longest_first(batches, {})) == ["a", "fast"]


def test_what_is_not_known_keeps_the_plans_order():
    batches = [(stage("b"),), (stage("a"),)]
    assert longest_first(batches, {}) == tuple(batches)
