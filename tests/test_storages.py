"""Files, folders and documents in a storage, and the copies that machines keep of it."""

from pathlib import Path

import pytest

from gate.distributing.documents import Documents, fetch_documents, put_missing
from gate.distributing.mirrors import Mirror
from gate.distributing.nodes import asking, check_nodes, describe_node
from gate.distributing.storages import Storage
from gate.distributing.trees import fetch_tree, put_tree
from gate.errors import ConfigError, StoreError


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "llama"
    (folder / "code").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "code" / "model.py").write_text("pass")
    return folder


@pytest.fixture
def mirror(storage, tmp_path):
    return Mirror(storage, tmp_path / "mirror")


def files_in(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_folder_comes_back_as_it_was(storage, model, tmp_path):
    tree = put_tree(storage, model)
    fetch_tree(storage, tree, tmp_path / "again")
    assert files_in(tmp_path / "again") == files_in(model)


def test_what_is_stored_already_is_not_sent_again(storage, model, bucket):
    tree = put_tree(storage, model)
    before = {file: file.stat().st_mtime_ns for file in bucket.rglob("*") if file.is_file()}
    assert put_tree(storage, model) == tree
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_file_that_was_cut_short_is_sent_again(storage, model, bucket, tmp_path):
    put_tree(storage, model)
    for file in (bucket / "files").iterdir():
        file.write_bytes(b"")
    fetch_tree(storage, put_tree(storage, model), tmp_path / "again")
    assert files_in(tmp_path / "again") == files_in(model)


def test_a_damaged_file_is_named(storage, model, bucket, tmp_path):
    put_tree(storage, model)
    (damaged, *_) = (bucket / "files").iterdir()
    damaged.write_text("other")
    with pytest.raises(StoreError, match=f"files/{damaged.name} is missing or damaged") as caught:
        storage.fetch_known(
            f"files/{damaged.name}", tmp_path / "x", digest=damaged.name, patience_seconds=0
        )
    assert caught.value.hint == "delete it there, and run again: it is stored anew"


def test_a_folder_that_was_never_whole_is_named(storage, tmp_path):
    with pytest.raises(StoreError, match=r"trees/abc\.json is missing or damaged"):
        fetch_tree(storage, "abc", tmp_path / "again")


def test_a_copy_is_fetched_once(mirror, storage, model, bucket):
    tree = put_tree(storage, model)
    assert files_in(mirror.tree(tree)) == files_in(model)
    for file in (bucket / "files").iterdir():
        file.unlink()
    assert files_in(mirror.tree(tree)) == files_in(model)


def test_what_a_machine_made_is_its_copy(mirror, storage, model, bucket):
    wanted = files_in(model)
    tree = mirror.give(model)
    for file in (bucket / "files").iterdir():
        file.unlink()
    assert files_in(mirror.tree(tree)) == wanted


def test_what_dead_processes_left_is_removed(mirror, tmp_path):
    left = tmp_path / "mirror" / "tries" / "left"
    left.mkdir()
    with mirror.try_folder() as mine, mirror.try_folder() as other:
        assert mine.is_dir()
        assert other.is_dir()
        assert not left.exists()
    assert not mine.exists()


def test_a_copy_that_cannot_be_written_is_told(storage, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*/file") as caught:
        Mirror(storage, tmp_path / "file")
    assert caught.value.hint.startswith("that is its copy of the storage")


def test_documents_are_stored_as_they_come(storage, tmp_path):
    here, there = tmp_path / "here" / "key", tmp_path / "there" / "key"
    here.mkdir(parents=True)
    documents = Documents(storage, [here])
    (here / "00000000.json").write_text("[1]")
    (here / "00000050.json.77").write_text("half")
    documents.put_new()
    fetch_documents(storage, there)
    assert files_in(there) == {"00000000.json": "[1]"}

    (here / "00000000.json").write_text("[1, 2]")
    documents.put_new()
    fetch_documents(storage, there)
    assert files_in(there) == {"00000000.json": "[1, 2]"}


def test_documents_that_a_storage_has_are_not_replaced(storage, tmp_path):
    old, new = tmp_path / "old" / "key", tmp_path / "new" / "key"
    for folder, text in ((new, "[1, 2]"), (old, "[1]")):
        folder.mkdir(parents=True)
        (folder / "00000000.json").write_text(text)
        put_missing(storage, folder)
    fetch_documents(storage, old)
    assert files_in(old) == {"00000000.json": "[1, 2]"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [("tape://reel", "Protocol not known: tape"), ("abfs://container/x", "adlfs")],
)
def test_a_storage_that_no_package_speaks_to_is_told(url, problem):
    with pytest.raises(ConfigError, match=f"executor ray: storage {url}: ") as caught:
        Storage(url)
    assert problem in caught.value.problem


def test_a_storage_that_is_not_there_is_told_before_any_work(tmp_path):
    url = (tmp_path / "not-mounted").as_uri()
    with (
        pytest.raises(StoreError, match=f"storage {url}: cannot write tried-"),
        asking(tmp_path, {}, [], storage=url),
    ):
        pass
    assert not (tmp_path / "not-mounted").exists()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_node_with_another_disk_behind_the_url_is_named(storage, tmp_path, bucket, cache):
    with asking(tmp_path, {}, [], storage=storage.url) as question:
        here = describe_node("here", question)
        for file in bucket.iterdir():
            file.unlink()
        other = describe_node("node-7", question)
        with pytest.raises(StoreError) as caught:
            check_nodes([here, other], here, question)
        (bucket / question.mark).touch()
    assert caught.value.problem == (
        f"node node-7: storage {storage.url}: what the caller has written is not there"
    )
    assert caught.value.hint == "give a URL that is the same place on every machine"


def test_a_node_that_cannot_keep_a_copy_is_named(storage, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with asking(tmp_path, {}, [], storage=storage.url) as question:
        node = describe_node("node-7", question)
        with pytest.raises(StoreError, match=r"node node-7: cannot write .*/mergegate/mirror"):
            check_nodes([node], node, question)


def test_the_storage_is_left_as_it_was(storage, tmp_path, bucket, cache):
    with asking(tmp_path, {}, [], storage=storage.url) as question:
        node = describe_node("node-7", question)
        check_nodes([node], node, question)
    assert list(bucket.iterdir()) == []
