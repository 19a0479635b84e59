"""Making the artifacts of a record again: what stops it, and what is told of what failed."""

import shutil
from pathlib import Path

import pytest
from gates import FakeWorker, write_gate

from gate.configuring.config import load_config
from gate.errors import ConfigError, SourceError
from gate.quantizers import gguf, rtn
from gate.reporting.report_files import read_record
from gate.reproducing.origins import Places
from gate.reproducing.reproduction import reproduce
from gate.running.runner import run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


@pytest.fixture
def run(tmp_path, base, adapter, monkeypatch):
    """The directory of a run; what is made again is made below the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(adapter, tmp_path / "adapter")
    config = load_config(write_gate(tmp_path, base, tmp_path / "adapter"))
    store = Store(tmp_path / "store")
    worker = FakeWorker(GOOD)
    done = run_gate(config, store=store, reports=tmp_path / "reports", run_batch=worker)
    return done.directory


def made_again(run, worker=None, *, places=None, **asked):
    return reproduce(
        run,
        places=places or Places(),
        environments=Path("no environments"),
        run_batch=worker or FakeWorker(GOOD),
        **asked,
    )


def test_only_merges_and_quantizations_are_done_again(run):
    worker = FakeWorker(GOOD)
    found = made_again(run, worker)
    assert [(one.variant, one.is_same) for one in found.remade] == [("merged", True), ("rtn", True)]
    assert worker.ran == ["merge merged", "quantize rtn"]


def test_a_stage_that_fails_is_told_and_so_is_what_needed_it(run):
    found = made_again(run, FakeWorker(GOOD, fails="merge"))
    assert [one.error for one in found.remade] == [
        "it broke (mend it)",
        "it needs 'merge merged', which failed",
    ]
    assert not any(one.is_same or one.is_different for one in found.remade)


def test_packages_of_other_versions_are_told_of_what_is_different(run):
    record = read_record(run)
    stages = tuple(
        one.model_copy(update={"packages": one.packages | {"torch": "1.0"}})
        for one in record.stages
    )
    artifacts = tuple(one.model_copy(update={"digest": "0" * 64}) for one in record.artifacts)
    edited = record.model_copy(update={"stages": stages, "artifacts": artifacts})
    (run / "record.json").write_text(edited.model_dump_json(), encoding="utf-8")
    merged = made_again(run).remade[0]
    assert merged.is_different
    assert merged.notes[0].startswith("torch was 1.0 and is ")


def test_a_variant_without_files_is_refused_with_the_nearest_that_has_some(run):
    with pytest.raises(ConfigError) as caught:
        made_again(run, variant="merge")
    assert str(caught.value) == "--variant: no files of 'merge'\n  hint: did you mean merged?"


def test_an_adapter_that_the_record_does_not_have_is_refused(run):
    with pytest.raises(ConfigError) as caught:
        made_again(run, places=Places(adapters={"suport": run}))
    assert str(caught.value) == "--adapter: no 'suport'\n  hint: did you mean support?"


def test_an_adapter_that_is_gone_is_asked_for(run, tmp_path):
    shutil.rmtree(tmp_path / "adapter")
    with pytest.raises(SourceError) as caught:
        made_again(run)
    assert str(caught.value) == (
        f"adapter support is no longer in {tmp_path / 'adapter'}\n"
        "  hint: --adapter NAME=DIR says where its files are"
    )


def test_a_name_that_leads_out_of_the_folder_is_refused(run, tmp_path):
    text = (run / "record.json").read_text(encoding="utf-8")
    (run / "record.json").write_text(text.replace('"merged"', '"../../out"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="the record was edited"):
        made_again(run, out=tmp_path / "kept")


def test_rtn_and_whole_types_of_gguf_promise_the_same_bytes_and_k_quants_do_not():
    assert rtn.reproduces({"bits": 4})
    promised = {
        name for name in ("F32", "Q8_0", "Q4_0", "Q4_K_M") if gguf.reproduces({"type": name})
    }
    assert promised == {"F32", "Q8_0"}
