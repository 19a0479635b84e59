"""What --to may be: the form of each publisher's targets, and what is none."""

import shutil
from datetime import date

import pytest
from promotable import promotable

from gate.errors import ConfigError
from gate.releasing.promotion import promote, publisher_of


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("releases", "directory"),
        ("/srv/models/current releases", "directory"),
        ("hf://acme/support", "hub"),
        ("mlflow:http://127.0.0.1:5000#support", "mlflow"),
    ],
)
def test_a_target_has_the_form_of_its_publisher(to, name):
    assert publisher_of(to) == name


def test_a_target_of_an_unknown_form_is_no_directory_by_mistake():
    with pytest.raises(ConfigError) as caught:
        publisher_of("s3://bucket/models")
    assert str(caught.value) == (
        "--to s3://bucket/models: no publisher for s3://\n"
        "  hint: a directory, hf://org/name, mlflow:URI#model, or --publisher NAME"
    )


def test_a_form_in_capitals_is_no_directory_by_mistake():
    with pytest.raises(ConfigError, match="--to HF://acme/support: no publisher for HF://"):
        publisher_of("HF://acme/support")


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("hf://acme", "not a repository of the Hub"),
        ("mlflow:http://127.0.0.1:5000", "no name of a"),
    ],
)
def test_a_mistake_in_a_target_is_told_before_anything_is_read(tmp_path, to, told):
    run = promotable(tmp_path)
    shutil.rmtree(run.artifact)
    with pytest.raises(ConfigError, match=told):
        promote(run.run, to=to, today=date(2026, 12, 1))


def test_no_target_is_not_the_directory_one_is_in():
    with pytest.raises(ConfigError, match="--to is empty"):
        publisher_of("")
