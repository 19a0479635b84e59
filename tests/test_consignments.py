"""Batches that go to machines which share no folder with the caller, and come back."""

from pathlib import Path

import pytest

from gate.distributing.consignments import Consignment, Input
from gate.distributing.mirrored import work_mirrored
from gate.errors import StageError, StoreError
from gate.jobs import Batch, Done, Failed, Job, Progress, Share, failed
from gate.store import Store
from gate.terms import Stage, Task, Use


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("[]")
    return folder


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_in(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


class Far:
    """A machine that shares no folder with the caller: it takes parcels and tells."""

    def __init__(self, run_batch):
        self.run_batch = run_batch
        self.seen = []

    def work(self, parcel):
        def run(batch, log, on_event):
            self.seen.append(batch)
            self.run_batch(batch, log, on_event)

        return list(work_mirrored(parcel, node="node-7", run_batch=run))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def job(store, model, tmp_path):
    stage = Stage(kind="evaluate", use=Use(name="hf"), inputs={}, code="c", packages={})
    task = tmp_path / "tasks" / "colors.yaml"
    task.parent.mkdir()
    task.write_text("task: colors")
    (tmp_path / "colors.jsonl").write_text("[]")
    return Job(
        stage=stage,
        label="evaluate base colors",
        model=str(model),
        adapters=(),
        task=Task(name="colors", metric="acc", path=str(task)),
        out=str(store.workspace(stage) / "output"),
        partial=str(store.partial(stage)),
    )


@pytest.fixture
def consignment(storage, store, model, tmp_path):
    names = tuple(f"llama/{name}" for name in files_in(model))
    task = str(tmp_path / "tasks" / "colors.yaml")
    return Consignment(
        storage,
        store.root,
        [
            Input(path=str(model), root=tmp_path, inside="llama", names=names),
            Input(
                path=task,
                root=tmp_path,
                inside="tasks/colors.yaml",
                names=("tasks/colors.yaml", "colors.jsonl"),
            ),
        ],
    )


def done(job):
    return Done(key=job.stage.key, seconds=1, peak_memory_bytes=1, interpreter="3.11")


def answering(batch, log, on_event):
    (job,) = batch.jobs
    Path(job.out, "evaluation.json").write_text(job.task.name)
    Path(job.partial, "00000050.json").write_text("[2]")
    log.write_text("it went well")
    on_event(done(job))


def test_a_batch_goes_there_and_back(consignment, store, job, cache, tmp_path):
    Path(job.partial, "00000000.json").write_text("[1]")
    far, log = Far(answering), tmp_path / "logs" / "evaluate.log"
    parcel = consignment.send(Batch(jobs=(job,), options={}), log, name="1")

    (begun, told) = far.work(parcel)
    consignment.adopt(job, parcel, told)
    consignment.end(parcel, is_lost=False)

    assert (begun.node, told.event) == ("node-7", done(job))
    assert files_in(Path(job.out)) == {"evaluation.json": "colors"}
    assert files_in(Path(job.partial)) == {"00000000.json": "[1]", "00000050.json": "[2]"}
    assert log.read_text() == "it went well"
    (there,) = far.seen[0].jobs
    places = (there.model, there.out, there.partial, there.task.path)
    assert all(place.startswith(str(cache)) for place in places)
    assert Path(there.model).name == "llama"


def test_a_task_keeps_its_files_as_they_lie_to_each_other(consignment, job, cache, tmp_path):
    def reading(batch, log, on_event):
        data = Path(batch.jobs[0].task.path).parent / ".." / "colors.jsonl"
        assert data.read_text() == "[]"
        answering(batch, log, on_event)

    parcel = consignment.send(Batch(jobs=(job,), options={}), tmp_path / "log", name="1")
    assert Far(reading).work(parcel)[-1].event == done(job)


def test_what_a_stage_gave_is_read_by_the_next_one(consignment, store, job, cache, tmp_path):
    merge = Stage(kind="merge", use=Use(name="stream"), inputs={}, code="c", packages={})
    folder = store.workspace(merge)
    (folder / "output" / "model.safetensors").write_text("merged")
    (folder / "report.json").write_text("beside")
    (store.root / "merge").mkdir()
    folder.rename(store.root / "merge" / merge.key)
    (store.root / "merge" / merge.key / "stage.json").write_text("{}")
    job = job.model_copy(update={"model": str(store.path(merge))})

    def reading(batch, log, on_event):
        model = Path(batch.jobs[0].model)
        assert (model / "model.safetensors").read_text() == "merged"
        assert (model.parent / "report.json").read_text() == "beside"
        answering(batch, log, on_event)

    batch = Batch(jobs=(job,), options={"converted": str(store.path(merge))})
    parcel = consignment.send(batch, tmp_path / "log", name="1")
    far = Far(reading)
    assert far.work(parcel)[-1].event == done(job)
    assert far.seen[0].options["converted"] == far.seen[0].jobs[0].model


def test_what_was_kept_of_a_share_is_there_for_the_next_machine(
    consignment, job, cache, tmp_path, monkeypatch
):
    batch = Batch(jobs=(job,), options={}, share=Share(part=0, of=2))
    parcel = consignment.send(batch, tmp_path / "log", name="1")

    def dying(batch, log, on_event):
        Path(batch.jobs[0].partial, "00000000.json").write_text("[1]")
        on_event(Progress(key=job.stage.key, done=50, total=300))
        on_event(Progress(key=job.stage.key, done=60, total=300))

    answers = work_mirrored(parcel, node="node-7", run_batch=dying)
    assert isinstance(next(one.event for one in answers if one.event), Progress)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))

    def going_on(batch, log, on_event):
        assert files_in(Path(batch.jobs[0].partial)) == {"00000000.json": "[1]"}
        on_event(done(job))

    (_, told) = Far(going_on).work(parcel)
    assert (told.event, told.tree) == (done(job), None)


def test_a_stage_that_fails_far_away_is_told_in_its_own_words(consignment, job, cache, tmp_path):
    broken = StageError("it broke", hint="mend it")
    far = Far(lambda batch, log, on_event: on_event(failed(batch.jobs[0], broken)))
    parcel = consignment.send(Batch(jobs=(job,), options={}), tmp_path / "log", name="1")
    assert far.work(parcel)[-1].event == failed(job, broken)


def test_a_storage_that_goes_away_is_named_with_the_node(consignment, job, cache, bucket, tmp_path):
    def losing(batch, log, on_event):
        for file in (*bucket.glob("*/*"), *bucket.glob("*")):
            file.rmdir() if file.is_dir() else file.unlink()
        bucket.rmdir()
        bucket.write_text("a file")
        answering(batch, log, on_event)

    parcel = consignment.send(Batch(jobs=(job,), options={}), tmp_path / "log", name="1")
    told = Far(losing).work(parcel)[-1].event
    assert isinstance(told, Failed)
    assert told.problem.startswith(f"node node-7: storage {bucket.as_uri()}: cannot write partial/")


def test_a_model_that_changes_while_it_is_read_does_not_pass_for_another(
    consignment, job, model, cache, tmp_path
):
    parcel = consignment.send(Batch(jobs=(job,), options={}), tmp_path / "log", name="1")
    (model / "config.json").write_text("changed")
    far = Far(answering)
    far.work(parcel)
    assert Path(far.seen[0].jobs[0].model, "config.json").read_text() == "{}"


def test_what_moves_away_while_it_is_sent_is_told(consignment, job, model, tmp_path):
    (model / "config.json").unlink()
    with pytest.raises(StoreError, match="evaluate base colors: what it reads cannot be sent"):
        consignment.send(Batch(jobs=(job,), options={}), tmp_path / "log", name="1")
