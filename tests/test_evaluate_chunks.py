"""Chunks of documents that are kept: a stage that was killed, a longer run, files gone wrong."""

import json

import pytest
from builders import opened
from task_builder import CHOICE, WRITTEN, Roomy, evaluate, metric_list, rows, write_task

from gate.backends.hf import open_model
from gate.engines.language_models import GateLM
from gate.errors import StageError
from gate.evaluate import CHUNK, evaluate_share, evaluate_task, gather_shares
from gate.jobs import Batch, Done, Job, Progress, Share
from gate.running.worker import EVALUATION_FILE, run_in_process
from gate.terms import Stage, Use


class Failing(Roomy):
    """The toy engine, which breaks when it has been asked so many rows."""

    def __init__(self, rows):
        super().__init__()
        self.left = rows

    def score(self, rows):
        for row, found in zip(rows, super().score(rows), strict=True):
            self.left -= 1
            if self.left < 0:
                raise StageError("killed", hint=str(row))
            yield found


class Counting(Roomy):
    """Counts how many rows it is asked at once."""

    def __init__(self):
        super().__init__()
        self.asked_at_once = []

    def score(self, rows):
        rows = list(rows)
        self.asked_at_once.append(len(rows))
        return super().score(rows)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path, rows(120), **CHOICE)


def asked(task, partial, **options):
    """How many documents the engine was asked, and what was found."""
    engine = Roomy()
    evaluation = evaluate(task, engine, partial=partial, **options)
    return len({row.context for row in engine.rows}), evaluation


def test_looks_at_more_and_more_documents_find_what_one_run_finds(tmp_path):
    task = write_task(tmp_path, rows(260), **CHOICE)
    whole = evaluate(task)

    for limit, new in ((50, 50), (100, 50), (200, 100), (None, 60)):
        look = task.model_copy(update={"limit": limit})
        found, evaluation = asked(look, tmp_path / "partial")
        assert found == new
    assert evaluation == whole


def test_looks_that_begin_at_50_and_double_end_where_chunks_end():
    assert all(look % CHUNK == 0 for look in (50, 100, 200, 400, 800, 1600))


def test_a_finished_chunk_is_kept_and_not_asked_again(task, tmp_path):
    whole = evaluate(task)
    assert asked(task, tmp_path / "partial") == (120, whole)

    assert names(tmp_path / "partial") == ["00000000.json", "00000050.json", "00000100.json"]
    assert asked(task, tmp_path / "partial") == (0, whole)


def test_a_stage_that_was_killed_goes_on_in_the_middle(tmp_path):
    task = write_task(tmp_path, rows(260), **CHOICE)
    with pytest.raises(StageError, match="killed"):
        evaluate(task, Failing(3 * 230), partial=tmp_path / "partial")
    assert len(names(tmp_path / "partial")) == 4

    assert asked(task, tmp_path / "partial") == (60, evaluate(task))


def test_a_longer_run_asks_only_what_is_new(task, tmp_path):
    shorter, longer = (task.model_copy(update={"limit": limit}) for limit in (50, 100))
    assert asked(shorter, tmp_path / "partial")[0] == 50

    assert asked(longer, tmp_path / "partial") == (50, evaluate(longer))


def test_a_shorter_run_takes_a_part_of_what_was_kept(task, tmp_path):
    evaluate(task, partial=tmp_path / "partial")
    shorter = task.model_copy(update={"limit": 61})

    assert asked(shorter, tmp_path / "partial") == (0, evaluate(shorter))


def test_a_chunk_that_a_limit_cuts_short_is_kept_as_far_as_it_goes(task, tmp_path):
    cut, longer = (task.model_copy(update={"limit": limit}) for limit in (75, 80))

    assert asked(cut, tmp_path / "partial")[0] == 75

    assert asked(cut, tmp_path / "partial") == (0, evaluate(cut))
    assert asked(longer, tmp_path / "partial") == (30, evaluate(longer))


def test_parts_begin_at_the_same_documents_whatever_was_kept(tmp_path):
    task = write_task(tmp_path, rows(500), **CHOICE)
    evaluate(task.model_copy(update={"limit": 100}), partial=tmp_path / "partial")
    engine = Counting()

    evaluate(task, engine, partial=tmp_path / "partial")

    assert engine.asked_at_once == [3 * 100, 3 * 200, 3 * 100]


def test_shares_of_a_task_put_together_are_the_whole_of_it(tmp_path):
    task = write_task(tmp_path, rows(650), **CHOICE).model_copy(update={"limit": 620})
    whole, found = evaluate(task), []
    for part in (2, 0, 1):
        engine = Roomy()
        evaluate_share(
            GateLM(engine),
            task,
            Share(part=part, of=3),
            on_progress=lambda done, total: None,
            partial=tmp_path / "partial",
        )
        found.append(len({row.context for row in engine.rows}))

    assert found == [200, 220, 200]
    gathered = gather_shares(task, partial=tmp_path / "partial")
    assert gathered.model_dump_json() == whole.model_dump_json()


def test_shares_of_which_one_is_missing_are_not_put_together(tmp_path):
    task = write_task(tmp_path, rows(300), **CHOICE)
    share = Share(part=1, of=2)
    told = {"on_progress": lambda done, total: None, "partial": tmp_path / "partial"}
    evaluate_share(GateLM(Roomy()), task, share, **told)

    with pytest.raises(StageError, match="task toy: documents that were shared out are not there"):
        gather_shares(task, partial=tmp_path / "partial")


def test_the_tasks_last_chunk_is_kept_though_it_is_shorter(task, tmp_path):
    beyond = task.model_copy(update={"limit": 999})
    asked(beyond, tmp_path / "partial")

    assert "00000100.json" in names(tmp_path / "partial")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"value":1.0', '"value":"much"'),
    ],
)
def test_a_file_that_was_not_written_to_its_end_is_written_again(task, tmp_path, spoil):
    whole = evaluate(task, partial=tmp_path / "partial")
    file = tmp_path / "partial" / "00000050.json"
    before = file.read_text()
    file.write_text(spoil(before))

    assert asked(task, tmp_path / "partial") == (50, whole)
    assert file.read_text() == before


def test_chunks_of_another_seed_are_not_taken(task, tmp_path):
    evaluate(task, partial=tmp_path / "partial")
    other = task.model_copy(update={"seed": 7})

    assert asked(other, tmp_path / "partial") == (120, evaluate(other))


def test_chunks_of_another_metric_are_not_taken(tmp_path):
    both = [*metric_list("acc", "mean"), *metric_list("acc_norm", "mean")]
    task = write_task(tmp_path, rows(60), **CHOICE | {"metric_list": both})
    evaluate(task, partial=tmp_path / "partial")
    other = task.model_copy(update={"metric": "acc_norm"})

    assert asked(other, tmp_path / "partial") == (60, evaluate(other))


def test_chunks_of_another_cluster_field_are_not_taken(tmp_path):
    task = write_task(tmp_path, rows(60), **CHOICE)
    evaluate(task, partial=tmp_path / "partial")
    other = task.model_copy(update={"cluster": "answer"})

    assert asked(other, tmp_path / "partial") == (60, evaluate(other))


def test_chunks_of_documents_that_changed_are_not_taken(tmp_path):
    documents = rows(120)
    evaluate(write_task(tmp_path, documents, **CHOICE), partial=tmp_path / "partial")
    documents[17]["question"] = "the offer 17"
    changed = write_task(tmp_path, documents, **CHOICE)

    found, evaluation = asked(changed, tmp_path / "partial")

    assert found == 50
    assert evaluation == evaluate(changed)


def test_a_chunk_in_another_ones_place_is_not_taken(task, tmp_path):
    whole = evaluate(task, partial=tmp_path / "partial")
    first, second = (tmp_path / "partial" / f"000000{place}.json" for place in ("00", "50"))
    second.write_text(first.read_text())

    assert asked(task, tmp_path / "partial") == (50, whole)


def test_a_task_at_another_path_is_the_same_task(task, tmp_path):
    evaluate(task, partial=tmp_path / "partial")
    (tmp_path / "elsewhere").mkdir()
    moved = write_task(tmp_path / "elsewhere", rows(120), **CHOICE)

    assert asked(moved, tmp_path / "partial")[0] == 0


def test_what_a_killed_writer_left_is_no_chunk(task, tmp_path):
    whole = evaluate(task, partial=tmp_path / "partial")
    file = tmp_path / "partial" / "00000050.json"
    file.rename(file.with_name("00000050.json.4711"))

    assert asked(task, tmp_path / "partial") == (50, whole)


def test_progress_counts_what_is_read_back(task, tmp_path):
    heard = []
    evaluate(task.model_copy(update={"limit": 50}), partial=tmp_path / "partial")

    evaluate(
        task,
        partial=tmp_path / "partial",
        on_progress=lambda done, total: heard.append((done, total)),
    )

    assert heard == sorted(heard)
    assert heard[0] == (50, 120)
    assert {(51, 120), (119, 120), (120, 120)} <= set(heard)


def test_generations_are_kept_too(tmp_path):
    task = write_task(tmp_path, rows(60), metric="exact_match", **WRITTEN)
    whole = evaluate(task, partial=tmp_path / "partial")

    engine = Roomy()
    assert evaluate(task, engine, partial=tmp_path / "partial") == whole
    assert engine.rows == []


def test_metrics_that_are_named_when_they_are_computed_are_kept(tmp_path):
    (tmp_path / "own.py").write_text(
        "def judge(references, predictions):\n    return {'pass@1': 1.0}\n"
    )
    task = write_task(tmp_path, rows(60), metric="pass@1", **WRITTEN)
    path = tmp_path / "toy.yaml"
    path.write_text(path.read_text().replace("metric: exact_match", "metric: !function own.judge"))

    whole = evaluate(task, partial=tmp_path / "partial")

    assert whole.is_binary
    assert evaluate(task, Failing(0), partial=tmp_path / "partial") == whole


def test_a_second_run_is_asked_from_the_last_row_to_the_first(task, tmp_path):
    forwards, backwards = Roomy(), Roomy()
    lm = GateLM(backwards)
    lm.is_reversed = True

    again = evaluate_task(lm, task, on_progress=lambda done, total: None)

    assert again == evaluate(task, forwards)
    assert backwards.rows == forwards.rows[::-1]


def test_scores_of_a_model_do_not_depend_on_where_a_run_was_cut(base, tmp_path):
    task = write_task(tmp_path, rows(70), chat=True, **CHOICE)
    with opened(open_model(base, [], dtype="float32")) as engine:
        whole = evaluate(task, engine)
        evaluate(task.model_copy(update={"limit": 50}), engine, partial=tmp_path / "partial")
        resumed = evaluate(task, engine, partial=tmp_path / "partial")

    assert resumed.documents == whole.documents
    for one, other in zip(resumed.samples, whole.samples, strict=True):
        assert one.request_hash == other.request_hash
        assert one.loglikelihoods == pytest.approx(other.loglikelihoods, abs=1e-4)


def test_a_worker_keeps_chunks_in_the_folder_of_its_job(base, tmp_path):
    task = write_task(tmp_path, rows(70), **CHOICE)
    (tmp_path / "out").mkdir()
    stage = Stage(
        kind="evaluate", use=Use(name="hf"), inputs={"weights": "w"}, code="c", packages={}
    )
    job = Job(
        stage=stage,
        label="evaluate base toy",
        model=str(base),
        adapters=(),
        task=task,
        out=str(tmp_path / "out"),
        partial=str(tmp_path / "partial" / stage.key),
    )
    events = []

    run_in_process(Batch(jobs=(job,), options={}), tmp_path / "log", events.append)

    assert isinstance(events[-1], Done)
    assert isinstance(events[-2], Progress)
    assert (events[-2].done, events[-2].total) == (70, 70)
    assert names(tmp_path / "partial" / stage.key) == ["00000000.json", "00000050.json"]
    assert len(json.loads((tmp_path / "out" / "evaluation.json").read_text())["samples"]) == 70


def test_shares_of_a_real_model_put_together_are_the_same_bytes(base, tmp_path):
    task = write_task(tmp_path, rows(290), **CHOICE)
    stage = Stage(
        kind="evaluate", use=Use(name="hf"), inputs={"weights": "w"}, code="c", packages={}
    )

    def evaluated(name, *batches):
        (tmp_path / name).mkdir()
        job = Job(
            stage=stage,
            label="evaluate base toy",
            model=str(base),
            adapters=(),
            task=task,
            out=str(tmp_path / name),
            partial=str(tmp_path / f"{name}-partial"),
        )
        events = []
        for settings in batches:
            batch = Batch(jobs=(job,), options={}, **settings)
            run_in_process(batch, tmp_path / "log", events.append)
        assert len([one for one in events if isinstance(one, Done)]) == len(batches)
        return (tmp_path / name / EVALUATION_FILE).read_bytes()

    shares = [{"share": Share(part=part, of=2)} for part in (1, 0)]
    assert evaluated("shared", *shares, {"is_answered": True}) == evaluated("whole", {})
