import importlib
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gate.errors import ConfigError, SourceError, StageError

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))
merging, processes, synthetic = map(importlib.import_module, ("merging", "processes", "synthetic"))
cases, enumeration, judging, sequences, simulation, verdicts = map(
    importlib.import_module,
    ("cases", "enumeration", "judging", "sequences", "simulation", "verdicts"),
)
report_records, reports = map(importlib.import_module, ("report_records", "reports"))

PICO = synthetic.SHAPES["pico"]


def run(work, *arguments):
    command = [sys.executable, FOLDER / "merging.py", "--shape", "pico", "--work", work]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def measured(*command, log):
    return processes.measure(command, name="tool", log=log, environment={})


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    work = tmp_path_factory.mktemp("contest")
    done = run(work, "--runs", "0", "--json", work / "measured.json")
    assert done.returncode == 0, done.stderr
    return work, done.stdout


@pytest.fixture
def model(tmp_path):
    return synthetic.make_base(PICO, tmp_path / "model")


def test_the_benchmark_prints_a_row_for_each_tool(contest):
    rows = [line.split(" | ")[0] for line in contest[1].splitlines() if line.startswith("| ")]
    assert rows == ["| tool", "| ---", "| cp", "| gate merge", "| gate audit", "| peft"]


def test_the_benchmark_says_that_gate_and_peft_agree_to_the_bit(contest):
    assert "* peft and gate: 0 of 94,528 elements differ (0.0000%)\n" in contest[1]


def test_the_benchmark_says_who_did_not_take_part(contest):
    sentence = "mergekit did not take part: --mergekit names the Python that has it"
    assert f"* {sentence}\n" in contest[1]


def test_the_benchmark_writes_each_measurement_as_json(contest):
    (usages,) = json.loads((contest[0] / "measured.json").read_text())["rounds"]
    assert usages["peft"]["cpu_seconds"] > usages["cp"]["cpu_seconds"]


def test_the_benchmark_leaves_no_output_behind(contest):
    kept = {path.name for path in contest[0].iterdir() if path.is_dir()}
    assert kept == {"base-pico", "adapter-pico-r64"}


def test_a_python_without_mergekit_is_refused_before_anything_is_made(tmp_path):
    done = run(tmp_path / "work", "--mergekit", sys.executable)
    assert done.stderr == (
        f"benchmark: {sys.executable}: not a Python that has mergekit\n"
        "  hint: benchmarks/NOTES.md says how to make one\n"
    )
    assert not (tmp_path / "work").exists()


def test_a_disk_without_room_is_refused(tmp_path):
    with pytest.raises(ConfigError) as caught:
        merging.check_disk(tmp_path, 5 * 10**14)
    assert caught.value.problem.startswith(f"{tmp_path}: ")
    assert caught.value.problem.endswith(" are free, and the benchmark needs 500 TB")
    assert caught.value.hint == "make room, or name another directory with --work"


def test_a_tool_that_fails_is_named_with_what_it_said(tmp_path):
    with pytest.raises(StageError) as caught:
        measured("sh", "-c", "echo no such model >&2; exit 3", log=tmp_path / "log")
    assert caught.value.problem == "tool ended with exit status 3"
    assert caught.value.hint == "it said: no such model"


@pytest.mark.skipif(processes.memory_source() is None, reason="this system has no /proc")
def test_the_memory_of_a_child_counts_for_the_process_that_started_it(tmp_path):
    inner = "import time; held = bytearray(10**8); time.sleep(0.5)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    usage = measured(sys.executable, "-c", outer, log=tmp_path / "log")
    assert usage.peak_anonymous_bytes > 10**8
    assert usage.seconds > 0.5


@pytest.mark.skipif(processes.memory_source() is None, reason="this system has no /proc")
def test_what_a_process_leaves_behind_counts_for_it(tmp_path):
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    left = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}])"
    assert measured(sys.executable, "-c", left, log=tmp_path / "log").cpu_seconds > 0.5


def test_a_synthetic_model_has_the_shapes_of_the_real_one():
    assert synthetic.size_bytes(synthetic.SHAPES["3b"]) == 2 * 3_212_749_824
    assert synthetic.size_bytes(synthetic.SHAPES["1b"]) == 2 * 1_235_814_400


def test_a_synthetic_model_loads_with_its_tokenizer(model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded, info = AutoModelForCausalLM.from_pretrained(
        model, dtype="auto", output_loading_info=True
    )
    assert not info["missing_keys"] | info["unexpected_keys"]
    assert loaded.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.decode(tokenizer.encode("Grüße, 3.5")) == "Grüße, 3.5"


def test_a_synthetic_model_is_made_once(model):
    before = {file.name: file.stat().st_mtime_ns for file in model.iterdir()}
    synthetic.make_base(PICO, model)
    assert {file.name: file.stat().st_mtime_ns for file in model.iterdir()} == before


def test_a_synthetic_model_that_was_damaged_is_refused(model):
    file = model / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(SourceError, match="truncated"):
        synthetic.make_base(PICO, model)


def test_a_changed_element_and_a_missing_tensor_are_counted(model, tmp_path):
    other = Path(shutil.copytree(model, tmp_path / "other"))
    file = other / "model-00002-of-00002.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.self_attn.q_proj.weight"][0, :3] += 1
    del tensors["model.norm.weight"]
    save_file(tensors, file)
    index = json.loads((other / "model.safetensors.index.json").read_text())
    del index["weight_map"]["model.norm.weight"]
    (other / "model.safetensors.index.json").write_text(json.dumps(index))
    assert merging.count_differing(model, other) == (3 + PICO.hidden, 94_528)
    assert merging.count_differing(model, model) == (0, 94_528)


# How often the gate errs


def at_margin(method, n, margin, times):
    most = enumeration.most_gains(n, times * margin)
    where = enumeration.region(n, method(n, margin), gains=range(min(most, n) + 1))
    return enumeration.rates(where, flip_rate=times * margin, change=-margin).passed


@pytest.mark.parametrize(
    ("times", "gate", "wald"),
    [(1, 0.049, 0.199), (1.5, 0.040, 0.118), (2, 0.041, 0.085), (4, 0.046, 0.061)],
)
def test_false_promotions_at_the_margin_are_no_more_than_published_of_tango(times, gate, wald):
    assert at_margin(enumeration.tango_outcomes, 149, 0.02, times) == pytest.approx(gate, abs=6e-4)
    assert at_margin(enumeration.judged_outcomes, 149, 0.02, times) <= gate + 6e-4
    assert at_margin(enumeration.wald_outcomes, 149, 0.02, times) == pytest.approx(wald, abs=6e-4)


def test_the_gate_never_promotes_below_the_floor_where_tango_alone_would():
    assert at_margin(enumeration.judged_outcomes, 133, 0.02, 1) == 0
    assert at_margin(enumeration.tango_outcomes, 133, 0.02, 1) == pytest.approx(0.068, abs=6e-4)


def test_the_regions_of_the_enumeration_are_what_the_judge_says_of_every_table():
    n, margin = 160, 0.02
    outcome = enumeration.judged_outcomes(n, margin)
    where = enumeration.region(n, outcome, gains=range(7))
    for gains in range(7):
        for losses in range(30):
            expected = "pass" if losses <= where.passing[gains] else "inconclusive"
            expected = "fail" if losses >= where.failing[gains] else expected
            assert outcome(gains, losses) == expected


def test_paths_end_as_whole_runs_through_the_judge_do():
    paths = sequences.Paths(400)
    assert paths.looks == (50, 100, 200, 400)
    candidate = sequences.Candidate(0.2, -0.15, 0.02)
    assert paths.agreement(candidate, runs=5, seed=1) == 5
    stopped = paths.follow(candidate, paths=200, seed=1)
    assert stopped.blocked.value > 0.9
    assert set(np.unique(stopped.documents)) <= set(paths.looks)


def test_a_share_is_told_with_its_monte_carlo_error():
    assert str(simulation.Share(0.05, 1900)) == "5.0 ± 0.5"
    assert str(simulation.Share(0.0, 100)) == "0.0 ± 1.0"


@pytest.mark.parametrize("case", [*cases.cases()], ids=lambda case: f"{case.data}, {case.size}")
def test_every_simulated_case_is_judged_without_error(case):
    result = case.draw(np.random.default_rng(1), case.beyond)
    assert result.outcome in ("fail", "inconclusive")


def test_a_table_is_written_at_its_mark_and_nowhere_else(tmp_path):
    file = tmp_path / "page.md"
    begin = "<!-- binary: by benchmarks/verdicts.py -->\n"
    file.write_text(f"before\n{begin}old\n<!-- end -->\nafter\n<!-- end -->\n")
    verdicts.write_at_mark(file, "binary", "| new |")
    assert file.read_text() == f"before\n{begin}\n| new |\n\n<!-- end -->\nafter\n<!-- end -->\n"


def test_a_page_without_the_mark_is_refused(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("nothing")
    with pytest.raises(SystemExit, match=r"has no <!-- wald: by benchmarks/verdicts\.py -->"):
        verdicts.write_at_mark(file, "wald", "| new |")


def test_where_every_flip_is_a_loss_the_error_is_exactly_held():
    found = dict(enumeration.losses_only(0.02, range(149, 1000, 7)))
    assert max(found.values()) <= 0.05
    assert found[149] == pytest.approx(0.98**149)


def test_the_benchmark_of_judging_judges_ten_checks_of_which_none_fails():
    usage = judging.measure(judging.make_run(1_000))
    outcomes = [result.outcome for result in usage.results]
    assert len(outcomes) == 10
    assert set(outcomes) <= {"pass", "inconclusive"}


def test_the_table_of_the_documentation_is_what_the_judge_gives():
    shares = [
        100 * at_margin(enumeration.judged_outcomes, 149, 0.02, times)
        for times in (1, 1.5, 2, 4, 8)
    ]
    told = " / ".join(f"{share:.1f}" for share in shares)
    page = (FOLDER.parent / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert f"| 0.02 | 149 | {told} |" in page


# What a report takes


@pytest.fixture(scope="module")
def small_record():
    return report_records.make_record(report_records.Size(documents=60, changed=0.1))


def test_the_benchmark_of_reports_has_documents_of_the_size_that_it_tells(small_record):
    documents = [one for corpus in small_record.corpora for one in corpus.documents]
    assert len(documents) == 60
    assert {len(document.choices) for document in documents} == {4}
    assert 550 < sum(len(document.prompt) for document in documents) / 60 < 650


def test_the_benchmark_of_reports_changes_the_share_of_documents_that_it_tells():
    record = report_records.make_record(report_records.Size(documents=4_000, changed=0.05))
    arms = [score.samples for score in record.scores if score.task == report_records.TASKS[0]]
    assert len(arms) == len(report_records.ARMS) == 6
    for before, after in pairwise(arms):
        changed = sum(a.value != b.value for a, b in zip(before, after, strict=True))
        assert changed / len(before) == pytest.approx(0.05, abs=0.02)


def test_the_benchmark_of_reports_renders_a_page_in_processes_of_their_own(tmp_path):
    page = tmp_path / "report.html"
    found = reports.measure_render(report_records.Size(documents=20, changed=0.1), page)
    assert found.size_bytes == page.stat().st_size > 0
    assert 0 < found.best <= found.first
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_benchmark_of_reports_marks_a_target_that_is_not_kept():
    size = report_records.Size(documents=1_000, changed=0.05)
    slow = reports.Rendered(first_ever=9.0, first=2.0, best=1.5, size_bytes=2_000_000)
    assert reports.render_row(size, slow) == "| 1,000 | 5% | 2 MB | 1.5 s ! | 2.0 s | 9.0 s |"
    large = slow._replace(size_bytes=16_000_000)
    assert "| 16 MB ! | 1.5 s |" in reports.render_row(size._replace(documents=20_000), large)


def test_the_benchmark_of_reports_says_what_was_not_measured_without_a_browser():
    size = report_records.Size(documents=1_000, changed=0.4)
    assert reports.page_row(size, None) == (
        "| 1,000 | 40% | not measured | not measured | not measured |"
    )


def test_a_rendering_that_fails_is_told_with_what_it_said(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(StageError) as caught:
        reports.render_there(tmp_path / "record.json", tmp_path / "page.html", str(tmp_path))
    assert caught.value.problem == "rendering ended with exit status 1"
    assert "record.json is cut off" in caught.value.hint
