"""One file, one name: found by folder, checked by signature, open to third parties."""

import pytest

from gate import extensions
from gate.errors import ConfigError
from gate.terms import Use


def test_every_file_of_a_folder_is_an_extension_with_its_verb():
    for folder in extensions.VERBS:
        for name in extensions.names(folder):
            if name != "wordless":
                assert callable(extensions.find(folder, name).function)


def test_every_extension_states_what_its_output_depends_on():
    for folder in ("mergers", "quantizers", "backends", "comparisons"):
        for name in extensions.names(folder):
            extension = extensions.find(folder, name) if name != "wordless" else None
            if extension and extension.module.__name__.startswith("gate."):
                stated = getattr(extension.module, "PACKAGES", None)
                assert isinstance(stated, tuple), f"{folder}/{name} states no PACKAGES"


def test_a_third_party_extension_is_found():
    assert "endless" in extensions.names("mergers")
    assert extensions.find("mergers", "endless").function.__module__ == "gate_toys.endless"


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="no quantizer named 'ggfu'") as caught:
        extensions.find("quantizers", "ggfu")
    assert caught.value.hint == "did you mean gguf?"


def test_a_file_without_its_verb_is_refused():
    with pytest.raises(ConfigError, match=r"gate_toys\.wordless does not define compare\(\)"):
        extensions.find("comparisons", "wordless")


def test_what_the_gate_gives_cannot_be_written():
    peft = extensions.find("mergers", "peft")
    use = Use(name="peft", params={"trust_remote_code": True})
    with pytest.raises(ConfigError, match="peft has no parameter 'trust_remote_code'"):
        extensions.check_parameters(peft, use, given_by_gate=("trust_remote_code",))


def test_a_choice_outside_its_values_is_refused_with_them():
    peft = extensions.find("mergers", "peft")
    use = Use(name="peft", params={"dtype": "int8"})
    with pytest.raises(ConfigError, match=r"peft\.dtype: 'int8' is not one of auto, bfloat16"):
        extensions.check_parameters(peft, use, given_by_gate=())


def test_what_the_merger_stands_on_is_part_of_its_code():
    """Every file of the gate that the merger imports, but for words, errors, records and cores."""
    import ast
    from pathlib import Path

    gate = Path(extensions.__file__).parent
    stream = extensions.find("mergers", "stream")
    covered = {file for pattern in stream.module.CODE for file in gate.glob(pattern)}
    names = ("errors", "terms", "records", "digest", "cores", "__init__")
    passive = {gate / f"{name}.py" for name in names}
    for file in (Path(stream.module.__file__), *covered):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gate."):
                used = gate.joinpath(*node.module.split(".")[1:]).with_suffix(".py")
                assert used in covered | passive or not used.is_file(), used
