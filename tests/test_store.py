"""The store: what is found is whole, what crashed is gone, what changed is named."""

import errno
import threading
from datetime import timedelta

import pytest

from gate.errors import StoreError
from gate.store import StageCost, Store
from gate.terms import Source, Stage, Use

COST = StageCost(seconds=1.5, peak_memory_bytes=1000)


def make_stage(**changes) -> Stage:
    fields = {
        "kind": "merge",
        "use": Use(name="peft"),
        "inputs": {"base": "b0", "adapter:support": "a0"},
        "code": "c0",
        "packages": {"torch": "2.13.0"},
    }
    return Stage(**(fields | changes))


def finish(store: Store, stage: Stage, *, label: str = "merge merged", content: str = "weights"):
    folder = store.workspace(stage)
    (folder / "output" / "model.safetensors").write_text(content)
    return store.commit(stage, label=label, cost=COST)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_a_committed_stage_is_found_with_its_cost(store):
    finish(store, make_stage())
    found = store.find(make_stage())
    assert (found.label, found.cost, found.size_bytes) == ("merge merged", COST, 7)
    assert (store.path(make_stage()) / "model.safetensors").read_text() == "weights"


def test_the_output_digest_follows_the_bytes(store):
    one = finish(store, make_stage(), content="one")
    two = finish(store, make_stage(code="c1"), content="two")
    assert one.digest != two.digest


def test_an_uncommitted_stage_is_not_found(store):
    (store.workspace(make_stage()) / "output" / "model.safetensors").write_text("half")
    assert store.find(make_stage()) is None


def test_a_crashed_workspace_is_swept_by_the_next_run(store):
    folder = store.workspace(make_stage())
    with store.lock(on_wait=print):
        assert not folder.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"use": Use(name="peft", params={"dtype": "float32"})},
        {"inputs": {"base": "b0", "adapter:support": "a1"}},
        {"code": "c1"},
        {"packages": {"torch": "2.14.0"}},
    ],
)
def test_whatever_can_change_the_output_changes_the_key(store, changes):
    finish(store, make_stage())
    assert store.find(make_stage(**changes)) is None


def test_the_reason_names_the_file_that_changed(store):
    for digest, weights in (("a0", "1"), ("a1", "2")):
        manifest = {"adapter_config.json": "0", "adapter_model.safetensors": weights}
        store.remember(Source(given="a", path="/a", digest=digest, manifest=manifest))
    finish(store, make_stage())
    changed = make_stage(inputs={"base": "b0", "adapter:support": "a1"})
    reason = store.reason(changed, label="merge merged")
    assert reason == "support changed (adapter_model.safetensors)"


def test_the_reason_names_parameters_code_and_packages(store):
    finish(store, make_stage())
    changed = make_stage(
        use=Use(name="peft", params={"dtype": "float32"}), code="c1", packages={"torch": "2.14.0"}
    )
    assert store.reason(changed, label="merge merged") == (
        "peft became peft(dtype=float32); the code behind peft changed; torch 2.13.0 -> 2.14.0"
    )


def test_a_stage_without_a_past_was_never_run(store):
    assert store.reason(make_stage(), label="merge merged") == "never run"


def test_pruning_frees_what_was_not_used_and_says_how_much(store):
    finish(store, make_stage())
    finish(store, make_stage(code="c1"), label="merge other")
    pruned = store.prune(unused_for=timedelta(0))
    assert pruned.labels == ("merge merged", "merge other")
    assert pruned.size_bytes > 14
    assert store.find(make_stage()) is None


def test_a_dry_run_of_pruning_removes_nothing(store):
    finish(store, make_stage())
    assert store.prune(unused_for=timedelta(0), is_dry_run=True).labels == ("merge merged",)
    assert store.find(make_stage()) is not None


def test_pruning_keeps_what_was_used_lately(store):
    finish(store, make_stage())
    assert store.prune(unused_for=timedelta(days=1)).labels == ()


def test_a_second_run_waits_for_the_first_and_says_so(store):
    told: list[str] = []
    entered = threading.Event()
    said = threading.Event()

    def second():
        with Store(store.root).lock(on_wait=lambda text: (told.append(text), said.set())):
            entered.set()

    with store.lock(on_wait=print):
        other = threading.Thread(target=second)
        other.start()
        assert said.wait(10)
        assert not entered.is_set()
    other.join(10)
    assert entered.is_set()
    assert "another run is using it" in told[0]


def test_a_damaged_entry_is_an_error_that_says_what_to_delete(store):
    finish(store, make_stage())
    stage_file = store.path(make_stage()).with_name("stage.json")
    stage_file.write_text("{")
    with pytest.raises(StoreError, match=r"stage\.json is damaged") as caught:
        store.find(make_stage())
    assert f"delete {stage_file.parent}" in caught.value.hint


def test_a_full_disk_is_told_and_leaves_the_place_empty(store):
    folder = store.workspace(make_stage())
    (folder / "stage.json").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="no space left for the store") as caught:
        store.commit(make_stage(), label="merge merged", cost=COST)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert "gate store prune" in caught.value.hint
    assert store.find(make_stage()) is None


def test_a_store_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the store"):
        Store(tmp_path / "file" / "store").workspace(make_stage())
