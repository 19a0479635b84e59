"""Putting a release together: what changes between the examination and the copy is noticed."""

import pytest
from promotable import VARIANT, promotable

from gate.errors import PublishError
from gate.releasing.staging import stage


@pytest.fixture
def run(tmp_path):
    return promotable(tmp_path / "desk")


def staged(run, folder, record):
    folder.mkdir()
    return stage(
        record,
        VARIANT,
        folder,
        record_file=run.run / "record.json",
        artifact=run.artifact,
        adapters={"intents": run.adapter},
        key=None,
    )


def test_an_artifact_that_changes_after_it_was_examined_is_no_release(run, tmp_path):
    record = run.record
    (run.artifact / "model.gguf").write_bytes(b"weights, as nobody judged them")
    with pytest.raises(PublishError) as caught:
        staged(run, tmp_path / "staged", record)
    assert str(caught.value) == (
        f"{run.artifact} was changed while it was copied: what was copied is not what was judged\n"
        "  hint: find out what writes there, then promote it again"
    )


def test_an_adapter_that_changes_after_it_was_examined_is_no_release(run, tmp_path):
    (run.adapter / "adapter_model.safetensors").write_bytes(b"trained since")
    with pytest.raises(PublishError) as caught:
        staged(run, tmp_path / "staged", run.record)
    assert str(caught.value) == (
        "an adapter was changed while it was copied: mergegate/adapters/intents/"
        "adapter_model.safetensors is not the adapter's that was merged\n"
        "  hint: find out what writes there, then promote it again"
    )


def test_a_record_that_changes_after_it_was_examined_is_no_release(run, tmp_path):
    record = run.record
    run.rewrite(suite="another")
    with pytest.raises(PublishError) as caught:
        staged(run, tmp_path / "staged", record)
    assert str(caught.value) == (
        f"{run.run / 'record.json'} was changed while it was promoted\n  hint: promote it again"
    )
