"""Several adapters, weighted, pruned and combined."""

import hashlib

import numpy as np
import pytest
import torch
from audit_builders import (
    audited,
    edited,
    load_file,
    local,
    lora_of,
    merged_by_stream,
    pico_base,
    random_adapter,
)
from peft.utils import merge_utils

from gate.errors import ConfigError

LINEAR = ["q_proj", "v_proj", "down_proj"]
METHODS = ["linear", "sequential", "ties", "dare_linear", "dare_ties", "magnitude_prune"]


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def world(request, tmp_path_factory):
    """A base and three adapters on it, two of them weighted."""
    place = tmp_path_factory.mktemp(request.param)
    base = pico_base(place / "base", dtype=request.param)
    adapters = [
        local(random_adapter(base, place / name, target_modules=targets, seed=seed), weight=weight)
        for name, targets, seed, weight in (
            ("one", LINEAR, 1, 1.0),
            ("two", ["q_proj", "down_proj"], 2, 0.7),
            ("three", LINEAR, 3, -0.4),
        )
    ]
    return base, adapters


def merged_by_definition(base, adapters, out, *, method, density, seed):
    """The deltas of each tensor combined by peft's own functions, in float64."""
    weights = load_file(base / "model.safetensors")

    def delta(number, name):
        module = name.removesuffix(".weight")
        try:
            down, up = lora_of(adapters[number].path, module)
        except KeyError:
            return None
        return 2 * up @ down

    def mask(number, name, shape):
        key = hashlib.sha256(f"{seed}:{number}:{name}".encode()).digest()[:16]
        stream = np.random.Philox(key=np.frombuffer(key, dtype="<u8"))
        count = int(np.prod(shape))
        words = stream.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        return torch.from_numpy(words < round(density * 2**32)).view(shape)

    def change(tensors):
        for name in tensors:
            found = {n: d for n in range(len(adapters)) if (d := delta(n, name)) is not None}
            if not found:
                continue
            factors = torch.tensor([adapters[n].weight for n in found], dtype=torch.float64)
            deltas = list(found.values())
            if "dare" in method and density < 1:
                deltas = [d * mask(n, name, d.shape) / density for n, d in found.items()]
            tensors[name] = (weights[name] + combined(method, deltas, factors, density)).to(
                weights[name].dtype
            )

    return edited(base, out, change)


def combined(method, deltas, factors, density):
    if method in ("linear", "sequential", "dare_linear"):
        return merge_utils.task_arithmetic(deltas, factors)
    if method == "magnitude_prune":
        return merge_utils.magnitude_prune(deltas, factors, density)
    kept = density if method == "ties" else 1.0
    return merge_utils.ties(deltas, factors, kept)


# peft warns that nothing is pruned at density 1
@pytest.mark.filterwarnings("ignore:The density 1.0 is greater:UserWarning")
@pytest.mark.parametrize("density", [1.0, 0.5, 0.13])
@pytest.mark.parametrize("method", METHODS)
def test_combinations_are_proven(world, tmp_path, method, density):
    base, adapters = world
    settings = {"method": method, "density": density, "seed": 7}
    for merged in (
        merged_by_definition(base, adapters, tmp_path / "d", **settings),
        merged_by_stream(base, adapters, tmp_path / "m", **settings),
    ):
        audit = audited(base, adapters, merged, **settings)
        assert audit.faults == ()
        assert {one.outcome for one in audit.tensors} == {"exact"}
        assert audit.schedule == "one rounding"


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("linear", {"method": "ties", "density": 0.5}),
        ("ties", {"method": "linear"}),
        ("ties", {"method": "ties", "density": 0.6}),
        ("dare_linear", {"method": "dare_linear", "density": 0.5, "seed": 8}),
        ("dare_ties", {"method": "dare_linear", "density": 0.5, "seed": 7}),
        ("magnitude_prune", {"method": "ties", "density": 0.5}),
    ],
)
def test_another_combination_is_no_proof(world, tmp_path, method, asked):
    base, adapters = world
    merged = merged_by_stream(base, adapters, tmp_path / "m", method=method, density=0.5, seed=7)
    audit = audited(base, adapters, merged, **asked)
    wrong = [one for one in audit.tensors if one.outcome == "wrong"]
    assert len(wrong) == 6


def test_a_weight_that_was_not_applied_is_wrong(world, tmp_path):
    base, adapters = world
    merged = merged_by_stream(base, adapters, tmp_path / "m")
    plain = [local(one.path) for one in adapters]
    assert len(audited(base, plain, merged).faults) == 6


def test_an_adapter_that_was_left_out_is_wrong(world, tmp_path):
    base, adapters = world
    merged = merged_by_stream(base, adapters[:2], tmp_path / "m")
    assert len(audited(base, adapters, merged).faults) == 6


def test_one_weighted_adapter_is_proven(world, tmp_path):
    base, adapters = world
    merged = merged_by_stream(base, adapters[1:2], tmp_path / "m")
    assert audited(base, adapters[1:2], merged).faults == ()


@pytest.mark.parametrize("method", ["linear", "sequential", "ties"])
def test_weighted_doras_are_proven(tmp_path, method):
    base = pico_base(tmp_path / "base", dtype="bfloat16")
    adapters = [
        local(
            random_adapter(base, tmp_path / name, target_modules=LINEAR, use_dora=True, seed=seed),
            weight=weight,
        )
        for name, seed, weight in (("one", 1, 0.5), ("two", 2, 0.8))
    ]
    settings = {"method": method, "density": 0.5}
    merged = merged_by_stream(base, adapters, tmp_path / "m", **settings)
    assert audited(base, adapters, merged, **settings).faults == ()


def test_an_audit_needs_an_adapter(world):
    with pytest.raises(ConfigError, match="an audit needs at least one adapter"):
        audited(world[0], [], world[0])


def test_an_unknown_method_is_refused(world):
    with pytest.raises(ConfigError, match="no method named 'tied'") as caught:
        audited(*world, world[0], method="tied")
    assert caught.value.hint == "did you mean ties?"


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_a_density_that_keeps_nothing_or_too_much_is_refused(world, density):
    with pytest.raises(ConfigError, match=rf"density is {density}, and should be in \(0, 1\]"):
        audited(*world, world[0], density=density)
