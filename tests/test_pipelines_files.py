"""action.yml and ci/gitlab.yml keep to what GitHub and GitLab know, and to what is documented."""

import re
import subprocess

import pytest
from pipelines import ACTION, JOB, LAB_SPEC, ROOT
from ruamel.yaml import YAML

STEPS = ACTION["runs"]["steps"]
STEP_KEYS = {"name", "id", "if", "env", "continue-on-error", "working-directory"}
LAB_TEXT = (ROOT / "ci" / "gitlab.yml").read_text()
SCRIPTS = [
    *(pytest.param(one["run"], id=one["name"]) for one in STEPS if "run" in one),
    *(
        pytest.param(line, id=f"{section}-{i}")
        for section in ("before_script", "script", "after_script")
        for i, line in enumerate(JOB[section])
    ),
]


def examples(page: str) -> list[dict[str, object]]:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    return [YAML(typ="safe").load(block) for block in blocks]


PAGES = ("README.md", "docs/reports.md")
WORKFLOWS = [(page, one) for page in PAGES for one in examples(page) if "jobs" in one]
INCLUDES = [(page, one) for page in PAGES for one in examples(page) if "include" in one]


def expressions() -> list[str]:
    return re.findall(r"\$\{\{(.*?)\}\}", (ROOT / "action.yml").read_text()) + [
        one["if"] for one in STEPS if "if" in one
    ]


def test_the_action_has_the_keys_of_a_composite_action_and_no_others():
    assert set(ACTION) == {"name", "description", "branding", "inputs", "outputs", "runs"}
    assert set(ACTION["runs"]) == {"using", "steps"}
    assert ACTION["runs"]["using"] == "composite"
    assert all(set(one) == {"description", "default"} for one in ACTION["inputs"].values())
    assert all(set(one) == {"description", "value"} for one in ACTION["outputs"].values())


def test_every_input_of_the_action_defaults_to_a_text():
    assert all(isinstance(one["default"], str) for one in ACTION["inputs"].values())


@pytest.mark.parametrize("one", STEPS, ids=lambda one: one["name"])
def test_a_step_is_a_shell_script_or_an_action_of_one_version(one):
    own = {"run", "shell"} if "run" in one else {"uses", "with"}
    assert own <= set(one) <= own | STEP_KEYS
    assert one.get("shell", "bash") == "bash"
    assert re.fullmatch(r"actions/[a-z/-]+@v\d+", one.get("uses", "actions/none@v1"))


def test_every_input_of_the_action_is_used_and_no_other():
    used = set(re.findall(r"inputs\.([a-z-]+)", " ".join(expressions())))
    assert used == set(ACTION["inputs"])


def test_steps_refer_to_outputs_that_steps_before_them_write():
    written = {
        f"{one['id']}.{name}"
        for one in STEPS
        if "id" in one
        for name in re.findall(r"echo \"([a-z]+)=.*GITHUB_OUTPUT", one["run"])
    }
    used = re.findall(r"steps\.([a-z]+)\.outputs\.([a-z]+)", " ".join(expressions()))
    assert {f"{name}.{output}" for name, output in used} == written


def test_no_script_of_the_action_has_an_expression_in_it():
    assert [one["name"] for one in STEPS if "${{" in one.get("run", "")] == []


def test_a_blocked_run_is_cached_told_and_uploaded_and_still_ends_as_blocked():
    behind = STEPS[[one.get("id") for one in STEPS].index("run") + 1 :]
    assert all(one["if"].startswith("always()") for one in behind)
    assert behind[-1]["name"] == "Verdict"


def test_the_store_is_saved_from_where_it_is_restored():
    restore, save = (one["with"] for one in STEPS if "actions/cache/" in one.get("uses", ""))
    assert (restore["path"], restore["key"]) == (save["path"], save["key"])
    assert restore["key"].startswith(restore["restore-keys"].strip())


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read_every_script(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_input_of_the_template_is_described_and_used_and_no_other():
    inputs = LAB_SPEC["spec"]["inputs"]
    assert all("description" in one for one in inputs.values())
    assert [name for name, one in inputs.items() if "default" not in one] == ["package"]
    assert set(re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", LAB_TEXT)) == set(inputs)


def test_no_script_of_the_template_has_an_input_in_it():
    scripts = (*JOB["before_script"], *JOB["script"], *JOB["after_script"])
    assert "$[[" not in " ".join(scripts)


def test_the_template_caches_a_blocked_run_too():
    assert JOB["cache"]["when"] == JOB["artifacts"]["when"] == "always"


def test_both_pipelines_are_shown_where_a_newcomer_looks():
    assert {page for page, _ in WORKFLOWS} == {page for page, _ in INCLUDES} == set(PAGES)


@pytest.mark.parametrize(("page", "workflow"), WORKFLOWS)
def test_a_workflow_of_the_documentation_may_do_what_the_action_does(page, workflow):
    (job,) = workflow["jobs"].values()
    (used,) = [one for one in job["steps"] if "mergegate@" in one.get("uses", "")]
    assert set(used.get("with", {})) <= set(ACTION["inputs"])
    comments = {"pull-requests": "write"} if workflow["on"] == "pull_request" else {}
    assert job["permissions"] == {"contents": "read"} | comments
    outputs = re.findall(rf"steps\.{used.get('id')}\.outputs\.(\w+)", str(job))
    assert set(outputs) <= set(ACTION["outputs"])


@pytest.mark.parametrize(("page", "pipeline"), INCLUDES)
def test_an_include_of_the_documentation_gives_inputs_that_the_template_has(page, pipeline):
    (included,) = pipeline["include"]
    assert included["local"] == "ci/gitlab.yml"
    assert {"package"} <= set(included["inputs"]) <= set(LAB_SPEC["spec"]["inputs"])


def test_every_input_of_the_action_is_documented():
    reports = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]*)` \|", reports, flags=re.M)
    given = {name: one["default"] for name, one in ACTION["inputs"].items()}
    assert {name: default.strip('"') for name, default in rows} == given
