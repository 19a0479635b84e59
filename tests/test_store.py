"""The store: what is found is whole, what crashed is gone, what changed is named."""

import errno
import os
import threading
from datetime import timedelta

import pytest

from gate.errors import StoreError
from gate.store import StageCost, Store
from gate.terms import Source, Stage, Task, Use

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


def evaluation(**changes) -> Stage:
    task = Task(name="colors", metric="acc", **changes)
    return make_stage(kind="evaluate", task=task)


def test_scored_documents_are_kept_in_one_folder_whatever_the_limit(store):
    folder = store.partial(evaluation(limit=50))
    assert folder.is_dir()
    assert store.partial(evaluation(limit=100)) == store.partial(evaluation()) == folder


def test_scored_documents_of_another_order_or_model_are_not_shared(store):
    other = evaluation().model_copy(update={"inputs": {"base": "b1"}})
    folders = {store.partial(one) for one in (evaluation(), evaluation(seed=1), other)}
    assert len(folders) == 3


def test_scored_documents_are_no_finished_stage(store):
    (store.partial(evaluation()) / "0.json").write_text("{}")
    assert store.find(evaluation()) is None


def test_pruning_removes_scored_documents_that_no_run_used_lately(store):
    folder = store.partial(evaluation())
    (folder / "0.json").write_text("scored")
    kept = store.prune(unused_for=timedelta(days=1))
    told = store.prune(unused_for=timedelta(0), is_dry_run=True)
    assert (kept.partials, told.partials, told.size_bytes) == (0, 1, 6)
    assert folder.exists()
    assert store.prune(unused_for=timedelta(0)) == told
    assert not folder.exists()


def test_a_run_that_reads_scored_documents_uses_them(store):
    folder = store.partial(evaluation())
    os.utime(folder, (0, 0))
    store.partial(evaluation(limit=50))
    assert store.prune(unused_for=timedelta(days=1)).partials == 0


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
