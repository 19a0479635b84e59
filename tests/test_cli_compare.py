"""gate compare: what it prints, its JSON, its exit statuses, on real runs of lm-eval too."""

import json
import random
import subprocess
import sys
import warnings

import pytest
from builders import pico_base
from sample_builder import write_two_runs

TASKS = {
    "colors": """\
task: colors
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/colors.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: brier_score, higher_is_better: false}}
""",
    "numbers": """\
task: numbers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/numbers.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], do_sample: false, max_gen_toks: 4}}
filter_list:
  - name: strict-match
    filter: [{{function: regex, regex_pattern: "#### ([0-9]+)"}}, {{function: take_first}}]
  - name: flexible-extract
    filter: [{{function: regex, regex_pattern: "([0-9]+)"}}, {{function: take_first}}]
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
""",
}
COLORS, NUMBERS = 40, 8


def gate(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write_tasks(folder):
    words = ("red", "green", "blue", "yes")
    colors = [
        {"question": f"question {i}: color", "choices": words, "answer": i % 4}
        for i in range(COLORS)
    ]
    numbers = [{"question": f"number {i}", "answer": str(i)} for i in range(NUMBERS)]
    for name, documents in (("colors", colors), ("numbers", numbers)):
        lines = (json.dumps(document) + "\n" for document in documents)
        (folder / f"{name}.jsonl").write_text("".join(lines))
        (folder / f"{name}.yaml").write_text(TASKS[name].format(folder=folder))


def run_lm_eval(folder, out, model, tasks, **options):
    """What `lm_eval --model hf ... --log_samples --output_path` does."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # third-party code, run here as its users do
        results = simple_evaluate(
            model="hf",
            model_args=f"pretrained={model},dtype=float32",
            tasks=tasks,
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            evaluation_tracker=tracker,
            log_samples=True,
            device="cpu",
            batch_size=8,
            bootstrap_iters=0,
            **options,
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, logged in samples.items():
            tracker.save_results_samples(task_name=task, samples=logged)
    return samples


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of lm-eval of `one` model and an `other`, and of the other with more options.

    `shuffled` asks the colors in another order and fewer numbers; `few` shows two examples.
    """
    folder = tmp_path_factory.mktemp("runs")
    write_tasks(folder)
    order = random.Random(0).sample(range(COLORS), COLORS)
    one, other = (pico_base(folder / f"model-{seed}", seed=seed) for seed in (0, 1))
    run_lm_eval(folder, folder / "one", one, ["colors", "numbers"])
    run_lm_eval(folder, folder / "other", other, ["colors", "numbers"])
    chosen = {"colors": order, "numbers": [0, 1, 2]}
    run_lm_eval(folder, folder / "shuffled", other, ["colors", "numbers"], samples=chosen)
    run_lm_eval(folder, folder / "few", other, ["colors"], num_fewshot=2)
    return folder


def asked(*extra, task="colors", metric="acc"):
    return ["--task", task, "--metric", metric, "--margin", "0.01", *extra]


# On files of lm-eval


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_real_runs_are_compared_document_by_document(runs, metric):
    done = gate("compare", "one", "other", *asked("--json", metric=metric), cwd=runs)
    assert done.returncode == 4
    (task,) = json.loads(done.stdout)["tasks"]
    estimate = task["result"]["estimate"]
    assert (estimate["n"], task["num_fewshot"], task["filter"]) == (COLORS, 0, "none")
    change = (estimate["flips"]["gains"] - estimate["flips"]["losses"]) / COLORS
    assert task["candidate_mean"] - task["reference_mean"] == pytest.approx(change)


def test_a_shuffled_run_whose_numbers_are_wrong_gives_the_same(runs):
    def result(candidate):
        done = gate("compare", "one", candidate, *asked("--json"), cwd=runs)
        return json.loads(done.stdout)["tasks"][0]["result"]

    def numbers(run):
        (file,) = (runs / run).glob("*/samples_colors_*.jsonl")
        lines = (json.loads(line) for line in file.read_text().splitlines())
        return {line["doc_hash"]: line["doc_id"] for line in lines}

    assert numbers("shuffled") != numbers("other")  # lm-eval issue 4084
    assert result("shuffled") == result("other")


def test_a_filter_of_a_real_run_is_chosen(runs):
    options = asked("--filter", "flexible-extract", task="numbers", metric="exact_match")
    done = gate("compare", "one", "other", *options, cwd=runs)
    assert done.returncode == 4
    assert "exact_match by flexible-extract: " in done.stdout


def test_real_runs_with_other_examples_are_refused(runs):
    done = gate("compare", "one", "few", *asked(), cwd=runs)
    assert done.returncode == 2
    assert "colors: the prompts differ in 40 of 40 documents" in done.stderr
    assert "few-shot examples: 0 in the reference, 2 in the candidate" in done.stderr


def test_real_runs_of_fewer_documents_are_refused(runs):
    options = asked("--filter", "strict-match", task="numbers", metric="exact_match")
    done = gate("compare", "one", "shuffled", *options, cwd=runs)
    assert done.returncode == 2
    assert "5 are only in the reference and 0 only in the candidate" in done.stderr


def test_a_metric_of_a_whole_corpus_of_a_real_run_is_refused(runs):
    done = gate("compare", "one", "other", *asked(metric="brier_score"), cwd=runs)
    assert done.returncode == 2
    assert "brier_score of one document is not a number" in done.stderr


# What is printed


def test_a_pass_is_told_in_a_few_lines(tmp_path):
    write_two_runs(tmp_path, 3, 5, 400)
    done = gate("compare", "ref", "cand", "--metric", "acc", "--margin", "0.02", cwd=tmp_path)
    assert done.stdout == (
        "colors: passed\n"
        "  loses at most 1.9 points (95 % one-sided), within the margin of 2 points; 3 gains,"
        " 5 losses in 400\n"
        "    documents; 1 more loss would undo it\n"
        "  acc: 99.25 % -> 98.75 %\n"
        "  flips: 3 gained, 5 lost, mid-p 0.508\n"
        "PROMOTE: 1 task: 1 passed\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_open_question_tells_the_documents_needed(tmp_path):
    write_two_runs(tmp_path, 10, 12, 400)
    done = gate("compare", "ref", "cand", "--metric", "acc", "--margin", "0.02", cwd=tmp_path)
    assert done.returncode == 4
    assert "  documents: 400; about 2,200 would probably decide\n" in done.stdout
    assert done.stdout.endswith("INCONCLUSIVE: 1 task: 1 inconclusive\n")


def test_a_fail_is_status_1(tmp_path):
    write_two_runs(tmp_path, 1, 60, 400)
    done = gate("compare", "ref", "cand", "--metric", "acc", "--margin", "0.02", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.endswith("BLOCK: 1 task: 1 failed\n")


def test_wrong_input_is_status_2_and_a_sentence(tmp_path):
    write_two_runs(tmp_path, 0, 0, 300)
    done = gate("compare", "ref", "cnad", "--metric", "acc", "--margin", "0.02", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gate: cnad: no such file or directory\n"
        "  hint: lm_eval --log_samples --output_path DIR writes them\n"
    )


def test_json_is_one_object_and_nothing_else(tmp_path):
    write_two_runs(tmp_path, 3, 5, 400)
    options = ["--metric", "acc", "--margin", "0.02", "--json"]
    done = gate("compare", "ref", "cand", *options, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["verdict"] == "promote"
    assert found["tasks"][0]["result"]["outcome"] == "pass"
    assert found["tasks"][0]["result"]["estimate"]["flips"]["gains"] == 3
    assert found["tasks"][0]["reference_file"].startswith("ref/m/samples_colors_")


def test_the_keys_of_the_json_are_in_the_help():
    from gate.file_comparison import FileComparison, TaskComparison
    from gate.result_records import Estimate, Flips

    told = " ".join(gate("compare", "--help", cwd=".").stdout.split())
    for noun in (FileComparison, TaskComparison, Estimate, Flips):
        for key in noun.model_fields:
            assert key in told, key


def test_no_engine_is_loaded(tmp_path):
    write_two_runs(tmp_path, 3, 5, 400)
    code = (
        "import sys\nfrom gate.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'transformers', 'lm_eval') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", "ref", "cand", "--metric=acc", "--margin=0.02"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("[]\n")
