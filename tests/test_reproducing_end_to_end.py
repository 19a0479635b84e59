"""The artifacts of a real run on a pico model made again, from what a release keeps of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from builders import smollm2_tokenizer
from test_end_to_end import _desk, write

from gate.configuring.config import load_config
from gate.digest import digest_manifest, digest_tree
from gate.records import Record
from gate.reporting.report_files import read_record
from gate.running.runner import run_gate
from gate.store import Store

COMMAND = [sys.executable, "-c", "from gate.cli import main; main()"]
VARIANTS = """\
  rtn8: {merge: stream, quantize: {name: rtn, bits: 8, group_size: 32}}
  erased: {merge: stream, quantize: erase}
"""
GGUF_VARIANTS = """\
  q8_0: {merge: stream, quantize: {name: gguf, type: Q8_0}, backend: llamacpp}
  q4_k_m: {merge: stream, quantize: {name: gguf, type: Q4_K_M}, backend: llamacpp}
"""


class Judged(NamedTuple):
    """A desk whose gate has run, and the directory of the run's reports."""

    desk: Path
    run: Path

    @property
    def record(self) -> Record:
        return read_record(self.run)

    def artifact(self, variant):
        return next(one for one in self.record.artifacts if one.variant == variant)


def judge(desk, variants) -> Judged:
    config = load_config(write(desk, variants))
    done = run_gate(config, store=Store(desk / "store"), reports=desk / "reports")
    return Judged(desk, done.directory)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return judge(_desk(tmp_path_factory.mktemp("reproducing")), VARIANTS)


@pytest.fixture
def judged(trained, tmp_path):
    """A copy of the run and of its store, to be tampered with."""
    run = Path(shutil.copytree(trained.run, tmp_path / "run", symlinks=True))
    return Judged(trained.desk, run)


def gate(desk, *arguments):
    """What a command printed, and its exit status."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(desk / "cache")},
    )


def tamper(judged, tmp_path, variant):
    """Change one byte of an artifact before it was judged, as its record then says."""
    artifact = judged.artifact(variant)
    folder = Path(shutil.copytree(artifact.path, tmp_path / "tampered"))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    changed = artifact.model_copy(
        update={"path": str(folder), "digest": digest_manifest(digest_tree(folder))}
    )
    link = judged.run / "artifacts" / artifact.name
    link.unlink(missing_ok=True)
    rewrite(judged, artifacts=tuple(
        changed if one.variant == variant else one for one in judged.record.artifacts
    ))  # fmt: skip
    return changed


def rewrite(judged, **changes):
    record = judged.record.model_copy(update=changes)
    (judged.run / "record.json").write_text(record.model_dump_json(), encoding="utf-8")


def test_every_artifact_of_a_run_is_made_again_byte_for_byte(trained):
    done = gate(trained.desk, "reproduce", trained.run)
    lines = [f"{one.variant}: the same, {one.digest}" for one in trained.record.artifacts]
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [*lines, "byte for byte the same: 3 of 3"],
    )
    assert list((trained.desk / "cache" / "mergegate" / "reproductions").iterdir()) == []


def test_one_variant_is_made_again_with_the_merge_that_it_is_from_and_kept_where_asked(
    trained, tmp_path
):
    out = tmp_path / "made again"
    done = gate(trained.desk, "reproduce", trained.run, "--variant", "rtn8", "--out", out)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "byte for byte the same: 2 of 2")
    assert sorted(one.name for one in out.iterdir()) == ["merged", "rtn8"]
    assert digest_manifest(digest_tree(out / "rtn8")) == trained.artifact("rtn8").digest
    again = gate(trained.desk, "reproduce", trained.run, "--out", out)
    assert again.returncode == 2
    assert again.stderr.startswith(f"gate: {out}: exists and is not an empty directory\n")


def test_a_base_and_an_adapter_that_moved_give_the_same_bytes(trained, tmp_path):
    shutil.copytree(trained.desk / "base", tmp_path / "moved base")
    shutil.copytree(trained.desk / "adapter", tmp_path / "moved")
    places = ("--base", tmp_path / "moved base", "--adapter", f"desk={tmp_path / 'moved'}")
    done = gate(trained.desk, "reproduce", trained.run, *places)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "byte for byte the same: 3 of 3")


def test_a_merge_with_other_bytes_is_different_and_its_file_is_named(judged, tmp_path):
    was = tamper(judged, tmp_path, "merged")
    done = gate(judged.desk, "reproduce", judged.run)
    merged, named, *_ = done.stdout.splitlines()
    assert done.returncode == 1
    assert merged.startswith("merged: DIFFERENT, ")
    assert merged.endswith(f", judged was {was.digest}")
    assert named == "  model.safetensors differs"


def test_the_files_cannot_be_named_where_what_was_judged_is_gone(judged, tmp_path):
    tamper(judged, tmp_path, "merged")
    shutil.rmtree(tmp_path / "tampered")
    done = gate(judged.desk, "reproduce", judged.run, "--variant", "merged")
    assert done.returncode == 1
    assert (
        "  which files cannot be told: those that were judged are no longer there\n" in done.stdout
    )


def test_a_quantizer_that_promises_nothing_is_held_to_size_and_audit(judged, tmp_path):
    tamper(judged, tmp_path, "erased")
    done = gate(judged.desk, "reproduce", judged.run, "--variant", "erased")
    assert done.returncode == 0
    assert "erased: other bytes, " in done.stdout
    assert "; erase does not promise the same; size and audit are the same\n" in done.stdout or (
        "; stream -> erase does not promise the same; size and audit are the same\n" in done.stdout
    )


def test_a_fault_that_the_judged_files_did_not_have_makes_them_different(judged, tmp_path):
    tamper(judged, tmp_path, "erased")
    audits = tuple(
        one.model_copy(update={"audit": one.audit.model_copy(update={"faults": ()})})
        for one in judged.record.audits
    )
    rewrite(judged, audits=audits)
    done = gate(judged.desk, "reproduce", judged.run, "--variant", "erased")
    assert done.returncode == 1
    assert "erased: DIFFERENT, other bytes, " in done.stdout
    assert "\n  audit: " in done.stdout


def test_an_adapter_that_is_not_the_one_that_was_merged_is_refused(trained, tmp_path):
    shutil.copytree(trained.desk / "adapter", tmp_path / "other")
    weights = bytearray((tmp_path / "other" / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "other" / "adapter_model.safetensors").write_bytes(weights)
    place = f"desk={tmp_path / 'other'}"
    done = gate(trained.desk, "reproduce", trained.run, "--adapter", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        f"gate: adapter desk in {tmp_path / 'other'} is not what was merged: "
        "adapter_model.safetensors differs\n"
        "  hint: --adapter NAME=DIR says where its files are\n"
    )


def test_a_release_is_made_again_from_its_own_adapter_when_all_else_is_pruned_and_lost(tmp_path):
    judged = judge(_desk(tmp_path), VARIANTS)
    promoted = gate(
        judged.desk, "promote", judged.run, "--to", "releases", "--variant", "rtn8"
    )  # fmt: skip
    assert promoted.returncode == 0, promoted.stdout + promoted.stderr
    pruned = gate(judged.desk, "store", "prune", "--store", "store", "--unused-days", "0")
    assert (pruned.returncode, list((tmp_path / "store").glob("*/*/stage.json"))) == (0, [])
    shutil.rmtree(tmp_path / "adapter")
    shutil.rmtree(tmp_path / "reports")
    assert gate(judged.desk, "verify", "releases/current").returncode == 0
    done = gate(judged.desk, "reproduce", "releases/current")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "byte for byte the same: 3 of 3")


@pytest.mark.gguf
def test_a_gguf_is_made_again_byte_for_byte_and_a_k_quant_is_not_held_to_it(tmp_path):
    pytest.importorskip("llama_cpp")
    judged = judge(_desk(tmp_path, tokenizer=smollm2_tokenizer()), GGUF_VARIANTS)
    for one in judged.record.artifacts:
        if "k_m" in one.variant:
            changed = one.model_copy(update={"digest": "0" * 64})
            kept = [other for other in judged.record.artifacts if other != one]
            rewrite(judged, artifacts=(*kept, changed))
    done = gate(judged.desk, "reproduce", judged.run)
    q8_0 = judged.artifact("q8_0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"q8_0: the same, {q8_0.digest}\n" in done.stdout
    assert "type=Q4_K_M) does not promise the same; size and audit are the same\n" in done.stdout
