"""Content ids say when bytes changed, and only then."""

import os

import pytest

from gate.digest import DigestMemo, digest_file, digest_json, digest_manifest, digest_tree

YEAR_2020 = 1_577_836_800


def test_the_order_of_keys_does_not_matter():
    assert digest_json({"a": 1, "b": [2, "é"]}) == digest_json({"b": [2, "é"], "a": 1})


def test_a_number_that_is_not_finite_has_no_content_id():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest_json({"a": float("nan")})


def test_a_file_has_the_published_sha256(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert digest_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_one_changed_byte_changes_the_tree(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"one")
    before = digest_tree(tmp_path)
    (tmp_path / "deep" / "file").write_bytes(b"onf")
    after = digest_tree(tmp_path)
    assert list(before) == ["deep/file"]
    assert digest_manifest(before) != digest_manifest(after)


def _age(path):
    os.utime(path, (YEAR_2020, YEAR_2020))


def test_a_memo_follows_a_change_that_keeps_size_and_time(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    _age(file)
    memo = DigestMemo(tmp_path / "files.json")
    before = memo(file)
    memo.save()
    file.write_bytes(b"two")
    _age(file)
    assert DigestMemo(tmp_path / "files.json")(file) == digest_file(file) != before


def test_a_memo_that_was_damaged_is_forgotten(tmp_path):
    (tmp_path / "files.json").write_text("{half")
    (tmp_path / "weights").write_bytes(b"one")
    assert DigestMemo(tmp_path / "files.json")(tmp_path / "weights")
