"""Whether the commands that a report prints do what they say, and say so where there is none."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from builders import pico_adapter
from gates import FakeWorker, write_gate
from records_builder import HOSTILE, build_record

from gate.configuring.config import load_config
from gate.digest import digest_file, digest_manifest, digest_tree
from gate.mergers import stream
from gate.records import Artifact, Record, RunCommand, WeightReport
from gate.reporting.reproduction import installs, make_again, merges, run_again
from gate.running.runner import run_gate
from gate.store import Store
from gate.terms import Adapter, Candidate, LocalAdapter, Source, Use, Variant

RUN = RunCommand(
    config="gates/it's mine/gate.yaml",
    config_digest="c" * 64,
    suite="gates/suite.yaml",
    store=".gate/store",
)

MOMENT = "20261122T150400Z"


def with_merge(
    *,
    params=None,
    merger="stream",
    adapters=None,
    weights=None,
    base="../base",
    run=RUN,
    chosen=None,
) -> Record:
    """A record of one merge, of adapters {name: path}."""
    adapters = adapters or {"intents": "runs/0212"}
    weights = weights or {}
    record = build_record()
    artifact = record.artifacts[0].model_copy(
        update={"report": record.artifacts[0].report.model_copy(update={"base_precision": chosen})}
    )
    return record.model_copy(
        update={
            "run": run,
            "base": Source(given=base, path="/there/base", digest="b" * 64),
            "adapters": {
                name: Source(given=path, path=f"/there/{name}", digest="a" * 64)
                for name, path in adapters.items()
            },
            "candidate": Candidate(
                base=base,
                adapters=tuple(
                    Adapter(name=name, source=path, weight=weights.get(name, 1.0))
                    for name, path in adapters.items()
                ),
            ),
            "variants": (
                Variant(
                    name="merged",
                    adapters=tuple(adapters),
                    merge=Use(name=merger, params=params or {}),
                    backend=Use(name="hf"),
                ),
            ),
            "artifacts": (artifact,),
        }
    )


def words(record: Record) -> list[str]:
    (block,) = merges(record)
    return shlex.split(block.lines[0])


def test_a_merge_is_told_with_the_parameters_of_its_variant():
    record = with_merge(
        params={"method": "ties", "density": 0.5, "seed": 3, "double_quant": False},
        adapters={"a": "runs/a", "b": "/abs/b"},
        weights={"b": 0.25},
    )
    assert words(record) == [
        "gate", "merge", "gates/it's mine/../base", "gates/it's mine/runs/a", "/abs/b",
        "--out", f"merged-again/{record.artifacts[0].digest[:12]}",
        "--weight", "b=0.25", "--method", "ties", "--density", "0.5", "--seed", "3",
        "--no-double-quant",
    ]  # fmt: skip


def test_a_hub_model_is_named_by_its_commit():
    record = with_merge(base="org/model@main")
    base = record.base.model_copy(update={"commit": "c0ffee"})
    assert words(record.model_copy(update={"base": base}))[2] == "org/model@c0ffee"


def test_what_the_merger_chose_is_asked_for_by_name():
    found = words(with_merge(params={"base_precision": "auto"}, chosen="nf4"))
    assert found[-2:] == ["--base-precision", "nf4"]


def test_permissions_of_the_run_are_given_again():
    run = RUN.model_copy(update={"allow_pickle": True, "trust_remote_code": True})
    assert words(with_merge(run=run))[-2:] == ["--allow-pickle", "--trust-remote-code"]


def test_an_old_record_gives_the_paths_of_its_machine_and_says_so():
    record = with_merge(run=None)
    assert words(record)[2:4] == ["/there/base", "/there/intents"]
    assert merges(record)[0].notes[0] == (
        "How the run was started is not recorded: these are paths on the machine that merged."
    )
    assert run_again(record).lines == ()
    assert run_again(record).notes == ("how the run was started is not recorded.",)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"merger": "peft"},
            "gate merge has no option for the merger peft: run the gate again.",
        ),
        ({"params": {"alpha": 2}}, "gate merge has no option for alpha: run the gate again."),
        (
            {"params": {"base_precision": "auto"}},
            "which base_precision was chosen is not recorded.",
        ),
        (
            {"adapters": {"a": "one/last", "b": "two/last"}},
            "two adapters lie in folders of one name, which gate merge cannot tell apart.",
        ),
        (
            {"adapters": {"a": "rank=8"}, "weights": {"a": 0.5}},
            "--weight cannot name the folder rank=8.",
        ),
        (
            {"adapters": {"a": "runs/0212"}, "params": {"method": "dare_ties"}},
            "dare draws by the adapter's name, a, and gate merge goes by its folder's, 0212: "
            "copy it into a folder of that name.",
        ),
        (
            {"base": "weights\x1b[2J"},
            "a path or name in the command has characters that cannot be shown here.",
        ),
    ],
)
def test_where_there_is_no_command_it_is_said_why(settings, reason):
    (block,) = merges(with_merge(**settings))
    assert (block.lines, block.notes) == ((), (reason,))


def test_a_merge_of_an_adapter_that_the_record_lacks_has_no_command():
    record = with_merge().model_copy(update={"adapters": {}})
    assert merges(record)[0].notes == ("the record does not say where adapter intents is.",)


@pytest.mark.parametrize("path", ["-rf", "$(id)", "a b;c", "`x`\n'", "~root", '"', "*"])
def test_a_hostile_path_stays_one_word_and_no_option(path):
    found = words(with_merge(base=path, run=RUN.model_copy(update={"config": "gate.yaml"})))
    assert found[2] == {"-rf": "./-rf", "~root": "/there/base"}.get(path, path)
    assert found[3] == "runs/0212"


def test_the_run_is_told_from_the_root_of_its_repository():
    record = build_record().model_copy(update={"run": RUN})
    assert list(map(shlex.split, run_again(record).lines)) == [
        ["git", "checkout", "4f1c9d2e7a50b6c8814d09a1f2c3e4d5b6a79881"],
        ["gate", "run", "gates/it's mine/gate.yaml"],
    ]
    away = RUN.model_copy(update={"config": "/here/gate.yaml", "store": "/here/store"})
    found = run_again(record.model_copy(update={"run": away}))
    assert found.lines == ("gate run /here/gate.yaml --store /here/store",)
    assert found.notes[0] == "The git commit is not known: compare the content ids above."


def test_what_was_judged_is_made_again_by_one_command_from_the_same_root():
    record = build_record().model_copy(update={"run": RUN})
    assert make_again(record, run=MOMENT).lines == (
        "gate reproduce reports/support-bot-v3/20261122T150400Z",
    )
    allowed = RUN.model_copy(update={"store": "/s t", "trust_remote_code": True})
    assert make_again(record.model_copy(update={"run": allowed}), run=MOMENT).lines == (
        "gate reproduce reports/support-bot-v3/20261122T150400Z --store '/s t' --trust-remote-code",
    )
    assert (
        make_again(record.model_copy(update={"run": None}), run=MOMENT).lines
        == make_again(record, run=MOMENT).lines
    )


def test_a_run_that_made_no_files_has_nothing_to_make_again():
    record = build_record().model_copy(update={"artifacts": ()})
    assert make_again(record, run=MOMENT).lines == ()
    assert make_again(record, run=MOMENT).notes == ("the run made no files.",)


def with_packages(**packages: str) -> Record:
    record = build_record()
    provenance = record.provenance.model_copy(update={"packages": packages})
    return record.model_copy(update={"provenance": provenance, "stages": ()})


def test_what_to_install_is_pinned_and_torch_comes_from_where_its_build_is():
    (block,) = installs(with_packages(torch="2.13.0+cpu", peft="0.21.2", vllm="not installed"))
    assert block.lines == (
        "pip install --extra-index-url https://download.pytorch.org/whl/cpu "
        "mergegate==0.1.0 torch==2.13.0+cpu peft==0.21.2",
    )


def test_a_package_whose_name_is_an_option_is_left_out():
    (block,) = installs(with_packages(**{"--index-url=evil": "1", "peft": "1; rm -rf /"}))
    assert block.lines == ("pip install mergegate==0.1.0",)
    assert block.notes == ("left out, as it is no version of a package: --index-url=evil, peft.",)


def test_an_interpreter_with_other_versions_has_packages_of_its_own():
    record = with_packages(torch="2.13.0")
    stage = (
        build_record()
        .stages[0]
        .model_copy(
            update={"interpreter": "3.12.1 (/envs/vllm/bin/python)", "packages": {"vllm": "0.32.0"}}
        )
    )
    (_, other) = installs(record.model_copy(update={"stages": (stage, stage)}))
    assert other.title == "To install in 3.12.1 (/envs/vllm/bin/python)"
    assert other.lines == ("pip install vllm==0.32.0",)


def test_every_command_of_a_hostile_record_can_be_read_back():
    record = build_record(hostile=True)
    for block in (
        *installs(record),
        run_again(record),
        make_again(record, run=MOMENT),
        *merges(record),
    ):
        assert block.lines or block.notes
        assert all(shlex.join(shlex.split(line)) == line for line in block.lines)
    assert HOSTILE in record.release


def test_a_run_records_how_it_was_started(tmp_path, base, adapter):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "gates").mkdir()
    path = write_gate(tmp_path / "gates", base, adapter)
    right = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
    record = run_gate(
        load_config(path),
        store=Store(tmp_path / ".gate" / "store"),
        reports=tmp_path / "reports",
        run_batch=FakeWorker(right),
    ).record
    assert record.run == RunCommand(
        config="gates/gate.yaml",
        config_digest=digest_file(path),
        suite="gates/suite.yaml",
        store=".gate/store",
    )


def test_the_printed_commands_merge_again_to_the_recorded_content_id(base, adapter, tmp_path):
    other = pico_adapter(base, tmp_path / "other one", seed=9)
    made = tmp_path / "made"
    adapters = [
        LocalAdapter(name="a", path=adapter),
        LocalAdapter(name="b", path=other, weight=0.5),
    ]
    report = stream.merge(base, adapters, made, method="ties", density=0.5)
    record = with_merge(
        params={"method": "ties", "density": 0.5},
        adapters={"a": os.path.relpath(adapter, tmp_path), "b": "other one"},
        weights={"b": 0.5},
        base=str(base),
        run=RUN.model_copy(update={"config": "gate.yaml"}),
    )
    artifact = of(record.artifacts[0], made, report)
    (block,) = merges(record.model_copy(update={"artifacts": (artifact,)}))
    said = [shell(line, tmp_path) for line in block.lines]
    assert said[-1].strip() == artifact.digest == block.digest


def of(artifact: Artifact, made: Path, report: WeightReport) -> Artifact:
    digest = digest_manifest(digest_tree(made))
    return artifact.model_copy(update={"digest": digest, "report": report})


def shell(line: str, folder: Path) -> str:
    """What a shell says to a line, with the gate and the Python of these tests."""
    gate = f"gate() {{ '{sys.executable}' -c 'from gate.cli import main; main()' \"$@\"; }}"
    python = f"python() {{ '{sys.executable}' \"$@\"; }}"
    done = subprocess.run(
        ["bash", "-c", f"{gate}\n{python}\n{line}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.stdout
