"""What machines must have in common, and documents shared out among them: without a cluster."""

import sys
from pathlib import Path

import pytest

from gate.distributing.attempts import adopt, own_folders
from gate.distributing.cluster import Demand, Machine, check_room, joined
from gate.distributing.nodes import OWN, Node, asking, check_nodes, describe_node, source_id
from gate.distributing.shares import Sharing, share_out
from gate.distributing.work import Told, sizes, work
from gate.errors import ConfigError, StoreError
from gate.jobs import Batch, Done, Failed, Job, Progress, Started
from gate.terms import Stage, Task, Use


def job(folder: Path, *, kind="evaluate", task="colors", limit: int | None = None) -> Job:
    stage = Stage(kind=kind, use=Use(name="hf"), inputs={"task": task}, code="c", packages={})
    out = folder / "tmp" / stage.key / "output"
    out.mkdir(parents=True, exist_ok=True)
    return Job(
        stage=stage,
        label=f"{kind} base {task}",
        model=str(folder),
        adapters=(),
        task=Task(name=task, metric="acc", limit=limit),
        out=str(out),
        partial=str(folder) if kind == "evaluate" else None,
    )


def batch(*jobs: Job) -> Batch:
    return Batch(jobs=jobs, options={})


def done(one: Job, seconds=1.0, peak=10) -> Done:
    key = one.stage.key
    return Done(key=key, seconds=seconds, peak_memory_bytes=peak, interpreter="3.11 (here)")


def node(here: Node, **changes) -> Node:
    return here.model_copy(update={"name": "node-7", **changes})


@pytest.fixture
def asked(tmp_path):
    """A question to nodes, and what this machine answers."""
    with asking(tmp_path / "store", {OWN: ("torch",)}, [str(tmp_path)]) as question:
        yield question, describe_node("here", question)


def test_an_installed_gate_has_the_source_of_its_checkout(tmp_path):
    for name, files in {
        "checkout": {"judge.py": "one"},
        "installed": {"judge.py": "one", "evalsuites/demo/prepare_base.py": "two"},
        "edited": {"judge.py": "three"},
    }.items():
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    checkout, installed, edited = (
        source_id(tmp_path / name) for name in ("checkout", "installed", "edited")
    )
    assert checkout == installed != edited


def test_a_node_like_this_machine_is_taken(asked):
    question, here = asked
    check_nodes([node(here)], here, question)


def test_a_node_that_does_not_see_the_store_is_named(asked, tmp_path):
    question, here = asked
    gone = question.model_copy(update={"mark": str(tmp_path / "elsewhere" / "seen-1")})
    blind = describe_node("node-7", gone)

    with pytest.raises(StoreError, match="node node-7 cannot read and write the store") as caught:
        check_nodes([blind], here, question)

    assert caught.value.hint.startswith("put it on a folder that every node mounts")


def test_a_node_whose_files_do_not_arrive_here_is_named(asked, tmp_path):
    question, here = asked
    with pytest.raises(StoreError, match="node node-7 cannot read and write the store"):
        check_nodes([node(here, mark=str(tmp_path / "its-own-disk"))], here, question)


def test_a_node_that_lacks_the_model_is_named(asked, tmp_path):
    question, here = asked
    more = question.model_copy(update={"paths": (str(tmp_path / "gone"),)})
    with pytest.raises(ConfigError, match=r"node node-7 does not see .*/gone"):
        check_nodes([describe_node("node-7", more)], here, question)


def test_a_node_of_other_versions_is_named_with_both(asked):
    question, here = asked
    theirs = {OWN: here.versions[OWN] | {"torch": "1.0"}}
    with pytest.raises(ConfigError) as caught:
        check_nodes([node(here, versions=theirs, python="3.9.0", code="other")], here, question)

    ours = here.versions[OWN]["torch"]
    assert caught.value.problem == (
        f"node node-7 would give other results: Python 3.9.0 there, {here.python} here; "
        f"torch 1.0 there, {ours} here; the gate's own source differs"
    )


def test_an_engine_that_a_node_does_not_have_is_named(tmp_path):
    with asking(tmp_path, {sys.executable: ("torch",)}, []) as question:
        here = describe_node("here", question)
    lost = here.versions | {sys.executable: {"torch": "no such interpreter"}}
    with asking(tmp_path, {}, []) as again:
        there = node(here, versions=lost, mark=describe_node("there", again).mark)
        with pytest.raises(ConfigError, match=sys.executable):
            check_nodes([there], here, again)


def test_the_store_is_left_as_it_was(tmp_path):
    with asking(tmp_path, {}, []) as question:
        describe_node("here", question)
    assert list(tmp_path.iterdir()) == []


def test_what_no_node_has_is_told_with_what_there_is():
    nodes = [Machine("1", "10.0.0.1", cpus=8, gpus=1, memory_bytes=2**34)]
    check_room([("variant base", Demand(cpus=8, gpus=1, memory_bytes=2**34))], nodes)
    with pytest.raises(ConfigError) as caught:
        check_room([("variant w8a8", Demand(cpus=1, gpus=4, memory_bytes=2**30))], nodes)
    assert caught.value.problem == (
        "variant w8a8 asks for 1 CPUs, 4 GPUs, 1 GiB on one node, and the cluster has 10.0.0.1: "
        "8 CPUs, 1 GPUs"
    )


def test_without_ray_it_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match="executor ray: Ray is not installed") as caught,
        joined("auto"),
    ):
        pass
    assert caught.value.hint == "pip install 'mergegate[ray]'"


def test_evaluations_are_shared_out_in_parts_that_have_documents(tmp_path):
    few = batch(job(tmp_path, limit=150), job(tmp_path, task="shapes", limit=450))
    assert [one.share.part for one in share_out(few, shards=8)] == [0, 1, 2]
    many = batch(job(tmp_path))
    assert [one.share.of for one in share_out(many, shards=8)] == [8] * 8


def test_what_keeps_no_documents_is_not_shared_out(tmp_path):
    merge = batch(job(tmp_path, kind="merge"))
    assert share_out(merge, shards=4) == (merge,)
    small = batch(job(tmp_path, limit=200))
    assert share_out(small, shards=4) == (small,)


def test_shares_are_heard_as_one_worker(tmp_path):
    one = job(tmp_path)
    key, heard = one.stage.key, []
    sharing = Sharing([one], heard.append, shards=2)
    for part in (0, 1):
        sharing.hear(part, Started(key=key))
        sharing.hear(part, Progress(key=key, done=100 + part, total=300))
        sharing.hear(part, done(one, seconds=2.0, peak=20 - part))

    assert sharing.whole() == (one,)
    for event in (Started(key=key), Progress(key=key, done=300, total=300), done(one)):
        sharing.assembled(event)

    assert heard == [
        Started(key=key),
        Progress(key=key, done=100, total=300),
        Progress(key=key, done=201, total=300),
        done(one, seconds=5.0, peak=20),
    ]


def test_one_share_that_failed_takes_its_task_alone(tmp_path):
    one, other = job(tmp_path), job(tmp_path, task="shapes")
    heard = []
    sharing = Sharing([one, other], heard.append, shards=3)
    broken = Failed(key=one.stage.key, problem="it broke", hint="mend it", exit_status=3)
    sharing.hear(1, broken)
    sharing.hear(2, done(other))

    assert sharing.whole() == (other,)
    problem = "part 2 of 3 of its documents: it broke"
    assert heard == [broken.model_copy(update={"problem": problem})]


def test_every_try_writes_where_no_other_does(tmp_path):
    wanted = job(tmp_path)
    lost, (tried,) = own_folders(batch(wanted), "1"), own_folders(batch(wanted), "2").jobs
    Path(tried.out, "evaluation.json").write_text("2")
    Path(tried.out).with_name("report.json").write_text("beside")

    adopt(wanted, tried, sizes(Path(tried.out).parent))
    Path(lost.jobs[0].out, "evaluation.json").write_text("a machine given up for dead")

    assert Path(wanted.out, "evaluation.json").read_text() == "2"
    assert Path(wanted.out).with_name("report.json").read_text() == "beside"


def test_a_batch_tells_what_it_wrote(tmp_path):
    one = job(tmp_path)

    def run_batch(batch, log, on_event):
        Path(one.out, "evaluation.json").write_text("12345")
        on_event(done(one))

    told = list(work(batch(one), tmp_path / "log", node="node-7", run_batch=run_batch))

    assert told == [
        Told(node="node-7"),
        Told(node="node-7", event=done(one), files={"output/evaluation.json": 5}),
    ]


def test_a_node_that_does_not_see_what_a_stage_reads_is_named(tmp_path):
    one = job(tmp_path).model_copy(update={"model": str(tmp_path / "gone")})
    told = work(
        batch(one),
        tmp_path / "log",
        node="node-7",
        run_batch=lambda *_: pytest.fail("it was run"),
        patience_seconds=0,
    )
    (event,) = (one.event for one in told if one.event)
    assert event.problem == f"node node-7 does not see {tmp_path / 'gone'}"


def test_what_a_worker_raises_is_raised_where_it_is_heard(tmp_path):
    def run_batch(batch, log, on_event):
        raise OSError("no log")

    told = work(batch(job(tmp_path)), tmp_path / "log", node="7", run_batch=run_batch)
    with pytest.raises(OSError, match="no log"):
        list(told)
