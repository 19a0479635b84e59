"""Which gates a command line asks for, by their names and by --gate."""

import pytest

from gate.collecting.asked import find_asked

pytest_plugins = ["pytester"]


@pytest.fixture
def ask(pytester, monkeypatch):
    """The names of the gates that a command line asks for."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]")

    def names(*arguments):
        config = pytester.parseconfig("-p", "gate.pytest_plugin", *arguments)
        asked = find_asked(config)
        if asked is None:
            return [], config.args
        asked.close()
        assert not asked.folder.exists()
        return [gate.name for gate in asked.gates], config.args

    return names


@pytest.mark.parametrize(
    "name", ["gate.yaml", "gate.yml", "v3.gate.yaml", "gate-nightly.yml", "my_gate.yaml"]
)
def test_a_gate_is_asked_for_by_its_name(pytester, ask, name):
    (pytester.path / name).touch()
    assert ask(name) == ([name], [name])
    assert ask(f"{name}::weights[merged]")[0] == [name]


@pytest.mark.parametrize("name", ["aggregate.yaml", "delegate.yml", "gate.py", "gates.yaml"])
def test_another_file_is_no_gate_by_its_name(pytester, ask, name):
    (pytester.path / name).touch()
    assert ask(name) == ([], [name])


def test_a_folder_asks_for_none_of_the_gates_in_it(pytester, ask):
    (pytester.path / "gate.yaml").touch()
    assert ask(".") == ([], ["."])


def test_a_gate_by_option_may_have_any_name_and_is_collected_once(pytester, ask):
    for name in ("gate.yaml", "release.yaml"):
        (pytester.path / name).touch()
    gates, collected = ask("--gate=release.yaml", "--gate=gate.yaml", "gate.yaml")
    assert gates == ["gate.yaml", "release.yaml"]
    assert collected == ["gate.yaml", str(pytester.path / "release.yaml")]


def test_a_folder_with_spaces_brackets_and_accents_is_no_hindrance(pytester, ask):
    folder = pytester.path / "rélease [1] final"
    folder.mkdir()
    (folder / "gate.yaml").touch()
    assert ask(f"{folder.name}/gate.yaml")[0] == ["gate.yaml"]
