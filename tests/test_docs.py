"""The README is true: its gate.yaml loads, its extension works, its commands exist."""

import configparser
import doctest
import json
import re
import subprocess
import sys
import types
from pathlib import Path

from gates import write_task
from sample_builder import arms, write_run, written
from typer.main import get_command

from gate.cli import app
from gate.configuring.config import load_config
from gate.configuring.suites import shipped_suites
from gate.digest import digest_json
from gate.errors import ConfigError
from gate.evaluation_records import Sample, Score
from gate.result_records import EXIT_STATUS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERDICTS = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_gate_and_suite_of_the_readme_load(tmp_path):
    gate, suite, *_ = blocks("yaml")
    (tmp_path / "gate.yaml").write_text(gate)
    (tmp_path / "suite.yaml").write_text(suite)
    write_task(tmp_path / "tasks", "desk_intent")
    config = load_config(tmp_path / "gate.yaml")
    assert config.ship == ("q8_0", "q4_k_m")
    assert len(config.suite.checks) == 4


def test_the_artifact_name_of_the_readme_is_the_one_that_is_made(tmp_path):
    from gate.planning.plan import artifact_name

    gate, suite, *_ = blocks("yaml")
    (tmp_path / "gate.yaml").write_text(gate)
    (tmp_path / "suite.yaml").write_text(suite)
    write_task(tmp_path / "tasks", "desk_intent")
    config = load_config(tmp_path / "gate.yaml")
    q8_0 = next(variant for variant in config.variants if variant.name == "q8_0")
    name = artifact_name(q8_0, base=config.candidate.base, release=config.release)
    assert f"`{name}`" in README


def test_the_extension_of_the_readme_works():
    module = types.ModuleType("gains")
    exec(blocks("python")[0], module.__dict__)

    def score(variant, values):
        samples = tuple(
            Sample(id=i, hash=digest_json(i), value=value, answer="", request_hash="r")
            for i, value in enumerate(values)
        )
        return Score(
            variant=variant,
            task="t",
            metric="acc",
            higher_is_better=True,
            is_binary=True,
            samples=samples,
        )

    estimate = module.compare(score("a", [0, 0, 1, 1]), score("b", [1, 0, 1, 0]), confidence=0.95)
    assert (estimate.value, estimate.n) == (0.25, 4)


def test_the_comparison_of_the_readme_prints_what_it_shows(tmp_path):
    shown = next(block for block in blocks("console") if block.startswith("$ gate compare"))
    command, _, printed = shown.partition("\n")
    before, after = arms(gains=20, losses=24, documents=1_319, wrong=878)
    for name, values in (("merged", before), ("q4_k_m", after)):
        samples = [
            written(i, value, filter_name=one)
            for one in ("strict-match", "flexible-extract")
            for i, value in enumerate(values)
        ]
        write_run(tmp_path / "results" / name, samples, task="gsm8k")
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *command.split()[2:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == printed


def test_every_command_is_in_the_readme():
    named = {row.split()[0] for row in re.findall(r"^\| `gate ([a-z ]+)", README, flags=re.M)}
    assert named == set(get_command(app).commands)


def test_the_two_commands_of_the_readme_are_environments_of_tox():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert "pip install tox && tox run -e demo" in README
    assert "testenv:demo" in tox
    assert "tests" in tox["tox"]["env_list"]


def test_ci_runs_the_test_command_of_the_readme():
    assert "pip install tox && tox run\n" in (ROOT / ".ci" / "run").read_text()


def test_the_exit_statuses_are_documented():
    rows = re.findall(r"^\| (\d) \| ([a-z]+)", README, flags=re.M)
    documented = {word: int(status) for status, word in rows}
    for verdict in ("promote", "block", "inconclusive"):
        assert documented[verdict] == EXIT_STATUS[verdict]
    assert documented["could"] == EXIT_STATUS["error"]
    assert documented["wrong"] == ConfigError.exit_status


def test_pictures_that_the_readme_shows_are_there():
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_links_to_files_lead_somewhere():
    pages = ("README.md", "evalsuites/README.md", "docs/verdicts.md", "docs/reports.md")
    for document in (ROOT / name for name in (*pages, "docs/promotion.md")):
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), target


def test_the_readme_counts_what_the_conformance_test_covers():
    from conformance import ARCHITECTURES, KINDS

    told = f"over {len(ARCHITECTURES)} architectures and {len(KINDS)} kinds of adapter"
    assert told in README


def test_the_gate_of_two_adapters_loads():
    from gate.planning.resolution import resolve_checks

    config = load_config(shipped_suites() / "demo" / "two_adapters" / "gate.yaml")
    references = {one.name for one in resolve_checks(config).references}
    assert references == {"adapter@intent", "adapter@extract"}


def test_the_demo_gate_loads():
    config = load_config(shipped_suites() / "demo" / "gate.yaml")
    assert {variant.kind for variant in config.variants} == {
        "base",
        "adapter",
        "merged",
        "quantized",
    }


def test_the_gate_of_every_engine_loads_and_calibrates_on_what_no_task_judges():
    config = load_config(shipped_suites() / "demo" / "engines" / "gate.yaml")
    assert {variant.backend.name for variant in config.variants} == {"hf", "llamacpp", "vllm"}
    assert len(config.suite.calibration) == 1
    assert config.suite.speed is not None


def test_every_quantizer_and_backend_is_in_the_readme():
    from gate import extensions

    toys = {"endless", "erase", "full_disk", "mortal", "wordless"}
    for folder in ("quantizers", "backends"):
        for name in set(extensions.names(folder)) - toys:
            assert re.search(rf"^\| `{name}\b", README, flags=re.M), name


def test_every_example_of_the_verdicts_is_what_the_code_computes():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    printed = []
    runner.run(parser.get_doctest(VERDICTS, {}, "docs/verdicts.md", None, 0), out=printed.append)
    assert runner.tries > 20
    assert not runner.failures, "".join(printed)


def test_the_script_of_the_verdicts_finds_every_binary_interval_of_a_record_again(tmp_path):
    script = tmp_path / "again.py"
    script.write_text(re.findall(r"```python\n(.*?)```", VERDICTS, flags=re.DOTALL)[0])
    records = (ROOT / "reports").glob("example-*/record.json")
    printed = [line for record in records for line in again(script, record)]
    assert len(printed) > 10
    assert [line for line in printed if ", as recorded; " not in line] == []


def again(script, record):
    command = [sys.executable, "-I", str(script), str(record)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_script_of_the_verdicts_notices_a_changed_interval(tmp_path):
    script, forged = tmp_path / "again.py", tmp_path / "record.json"
    script.write_text(re.findall(r"```python\n(.*?)```", VERDICTS, flags=re.DOTALL)[0])
    record = json.loads((ROOT / "reports" / "example-engines" / "record.json").read_text())
    tango = [one for one in record["results"] if "Tango" in one["estimate"]["method"]]
    tango[0]["estimate"]["low"] += 0.001
    forged.write_text(json.dumps(record))
    assert [line for line in again(script, forged) if "NOT as recorded" in line]


def test_the_verdicts_lead_to_their_own_headings():
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", VERDICTS, flags=re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", VERDICTS)) <= headings


def test_every_table_of_the_verdicts_has_been_written():
    tables = re.findall(
        r"<!-- (\w+): by benchmarks/verdicts.py -->\n(.*?)<!-- end -->", VERDICTS, re.S
    )
    assert len(tables) == 7
    assert all("| --- |" in table for _, table in tables)


def test_reports_name_the_page_that_explains_verdicts():
    from gate.reporting.formulas import DOCUMENTATION

    assert (ROOT / DOCUMENTATION).read_text(encoding="utf-8") == VERDICTS
