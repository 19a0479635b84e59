"""The order of stages under a budget: what settles the verdict in the least time comes first."""

from datetime import UTC, datetime, timedelta

from gates import GATE, SUITE, write_gate

from gate.configuring.config import load_config
from gate.planning.plan import Plan
from gate.planning.soonest import expected_seconds, questions, soonest_first
from gate.planning.stages import PlannedStage
from gate.planning.todo import locate_sources, look_up
from gate.store import Finished, StageCost, Store
from gate.terms import Stage, Use


def stage(label: str, **needs: str) -> PlannedStage:
    return PlannedStage(
        stage=Stage(
            kind="evaluate", use=Use(name="hf"), inputs={"label": label}, code="", packages={}
        ),
        label=label,
        variant=label,
        needs=needs,
    )


def after(label: str, *needed: PlannedStage) -> PlannedStage:
    return stage(label, **{f"role{at}": one.stage.key for at, one in enumerate(needed)})


def keys(*stages: PlannedStage) -> frozenset[str]:
    return frozenset(one.stage.key for one in stages)


def labels(batches) -> list[str]:
    return [one.label for batch in batches for one in batch]


def finished(planned: PlannedStage, seconds: float, *, days: float = 0) -> Finished:
    return Finished(
        stage=planned.stage,
        label=planned.label,
        cost=StageCost(seconds=seconds, peak_memory_bytes=None),
        digest="",
        size_bytes=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days),
    )


def test_what_answers_a_question_soonest_comes_first_and_after_what_it_needs():
    merge = stage("merge")
    slow, quick = after("slow", merge), after("quick", merge)
    idle = stage("idle")
    batches = [(merge,), (idle,), (slow,), (quick,)]
    expected = {one.stage.key: 1.0 for one in (merge, quick, idle)} | {slow.stage.key: 60.0}
    order = soonest_first(batches, [keys(slow), keys(quick)], expected)
    assert labels(order) == ["merge", "quick", "slow", "idle"]


def test_what_is_shared_is_paid_once():
    """Two steps of 3 s are behind what costs 5 s, until one of them has been taken for another."""
    shared = stage("shared")
    one, other, alone = after("one", shared), after("other", shared), stage("alone")
    seconds = {"shared": 3.0, "one": 1.0, "other": 3.0, "alone": 5.0}
    batches = [(shared,), (one,), (other,), (alone,)]
    expected = {batch[0].stage.key: seconds[batch[0].label] for batch in batches}
    asked = [keys(other), keys(alone), keys(one)]
    order = soonest_first(batches, asked, expected)
    assert labels(order) == ["shared", "one", "other", "alone"]


def test_stages_of_one_batch_stay_together():
    first, second, third = stage("first"), stage("second"), stage("third")
    order = soonest_first([(first, second), (third,)], [keys(third), keys(second)], {})
    assert labels(order) == ["third", "first", "second"]


def test_without_questions_the_order_is_the_plans():
    batches = [(stage("a"),), (stage("b"),)]
    assert soonest_first(batches, [], {}) == tuple(batches)


def test_a_stage_takes_what_the_last_of_its_name_took_else_what_its_like_take():
    known, new = stage("evaluate q8 facts"), stage("evaluate q4 facts")
    past = [finished(known, 10.0, days=2), finished(known, 90.0), finished(stage("other"), 20.0)]
    expected = expected_seconds([known, new], past)
    assert expected == {known.stage.key: 10.0, new.stage.key: 20.0}


def test_nothing_is_expected_of_what_nothing_alike_has_run():
    assert expected_seconds([stage("evaluate q8 facts")], []) == {}


def plan_of(folder, base, adapter, *, suite: str = SUITE, gate: str = GATE) -> Plan:
    config = load_config(write_gate(folder, base, adapter, suite=suite, gate=gate))
    store = Store(folder / "store")
    return look_up(config, locate_sources(config, store), store).plan


def answered(plan: Plan, ship: list[str]) -> set[str]:
    named = {one.stage.key: one.label for one in plan.stages}
    return {named[key] for keys in questions(plan, ship) for key in keys}


def test_questions_are_of_what_ships_and_of_what_it_is_made_from(tmp_path, base, adapter):
    plan = plan_of(tmp_path, base, adapter)
    assert "evaluate rtn colors" not in answered(plan, ["merged"])
    assert answered(plan, ["merged"]) == {
        "audit merge merged",
        "evaluate base colors",
        "evaluate adapter colors",
        "evaluate merged colors",
    }
    assert {"audit quantize rtn", "evaluate rtn colors"} <= answered(plan, ["rtn"])


def test_a_check_that_warns_asks_nothing(tmp_path, base, adapter):
    warns = SUITE.replace("margin: 0.03}", "margin: 0.03, level: warn}")
    assert warns != SUITE
    gate = GATE + "ship: [merged]\n"
    plan = plan_of(tmp_path, base, adapter, suite=warns, gate=gate)
    assert "evaluate rtn colors" not in answered(plan, ["rtn"])


def test_the_second_run_that_tells_the_noise_belongs_to_the_question(tmp_path, base, adapter):
    noisy = SUITE.replace("noise_floor: false\n", "")
    plan = plan_of(tmp_path, base, adapter, suite=noisy)
    assert {one.again for one in plan.noise} <= frozenset().union(*questions(plan, ["merged"]))
