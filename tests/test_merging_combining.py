import numpy as np
import pytest
import torch
from builders import pico_adapter
from peft.utils import merge_utils
from safetensors.torch import load_file
from test_merger_stream import change_tensors, delta, local, weights_of

from gate.digest import digest_tree
from gate.errors import ConfigError
from gate.mergers.stream import merge
from gate.merging.changes import Change, LowRank, PreparedChange
from gate.merging.combining import Combination

pytestmark = [
    # peft warns of a tied base model whose embeddings it adapts
    pytest.mark.filterwarnings("ignore:Model (has|with) `tie_word_embeddings=True`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning"),
]

ROWS, COLUMNS, RANK = 37, 29, 3
WEIGHTS = (0.7, 1.3, 0.5)


@pytest.fixture
def base_tensor():
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def changes(base_tensor):
    generator = torch.Generator().manual_seed(7)
    return [
        PreparedChange(
            Change(
                adapter=number,
                low_rank=LowRank(
                    torch.randn(ROWS, RANK, generator=generator),
                    torch.randn(RANK, COLUMNS, generator=generator),
                    0.5,
                ),
            ),
            base_tensor,
            where=torch.device("cpu"),
        )
        for number in range(3)
    ]


def dense(changes):
    return [0.5 * one.change.low_rank.left @ one.change.low_rank.right for one in changes]


def combined(changes, base, *, height=ROWS, **options):
    options = {"density": 1.0, "seed": 0, "name": "w"} | options
    combination = Combination(changes, WEIGHTS, base, **options)
    blocks = [
        combination.apply(base[start : start + height].clone(), start, min(start + height, ROWS))
        for start in range(0, ROWS, height)
    ]
    return torch.cat(blocks)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("method", ["ties", "magnitude_prune"])
def test_pruned_methods_agree_with_pefts_on_the_dense_deltas(changes, base_tensor, method, density):
    found = combined(changes, base_tensor, method=method, density=density)
    wanted = getattr(merge_utils, method)(dense(changes), torch.tensor(WEIGHTS), density)
    torch.testing.assert_close(found - base_tensor, wanted, rtol=1e-4, atol=1e-5)


def test_linear_and_sequential_are_the_weighted_sum(changes, base_tensor):
    wanted = base_tensor + sum(w * d for w, d in zip(WEIGHTS, dense(changes), strict=True))
    for method in ("linear", "sequential"):
        found = combined(changes, base_tensor, method=method)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "ties", "linear"])
def test_the_result_does_not_depend_on_the_row_blocks(changes, base_tensor, method):
    whole = combined(changes, base_tensor, method=method, density=0.4, seed=3)
    for height in (1, 5, 8):
        blocks = combined(changes, base_tensor, method=method, density=0.4, seed=3, height=height)
        torch.testing.assert_close(blocks, whole, rtol=1e-6, atol=1e-6)


def test_dare_keeps_about_its_share_and_rescales_it(changes, base_tensor):
    one = changes[:1]
    found = Combination(
        one, [1.0], base_tensor, method="dare_linear", density=0.3, seed=1, name="w"
    ).apply(base_tensor.clone(), 0, ROWS)
    change, whole = found - base_tensor, dense(one)[0]
    kept = change.abs() > 1e-6
    assert kept.float().mean() == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(change[kept], whole[kept] / 0.3, rtol=1e-3, atol=1e-5)


def test_dares_choice_is_philoxs_for_the_seed_the_adapter_and_the_tensor(changes, base_tensor):
    import hashlib

    key = np.frombuffer(hashlib.sha256(b"9:1:w").digest()[:16], dtype="<u8")
    raw = np.random.Philox(key=key).random_raw((ROWS * COLUMNS + 1) // 2).astype("<u8").view("<u4")
    wanted = torch.from_numpy(raw[: ROWS * COLUMNS] < round(0.6 * 2**32)).view(ROWS, COLUMNS)
    found = Combination(
        changes[1:2], [1.0], base_tensor, method="dare_linear", density=0.6, seed=9, name="w"
    ).apply(base_tensor.clone(), 0, ROWS)
    assert torch.equal((found - base_tensor).abs() > 0, wanted)


@pytest.fixture
def other(base, tmp_path):
    return pico_adapter(base, tmp_path / "other", seed=11, r=2)


def test_two_adapters_add_up_at_their_weights(base, adapter, other, tmp_path):
    adapters = [local(adapter, "a", weight=0.5), local(other, "b", weight=2.0)]
    merge(base, adapters, tmp_path / "out")
    before, after = weights_of(base), weights_of(tmp_path / "out")
    name = "model.layers.0.self_attn.q_proj.weight"
    wanted = before[name].double() + 0.5 * delta(adapter, name) + 2.0 * delta(other, name)
    torch.testing.assert_close(after[name].double(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["ties", "dare_linear", "dare_ties", "magnitude_prune"])
def test_a_seeded_merge_of_two_gives_the_same_bytes_again(base, adapter, other, tmp_path, method):
    adapters = [local(adapter, "a"), local(other, "b")]
    for out in ("one", "two"):
        merge(base, adapters, tmp_path / out, method=method, density=0.5, seed=4)
    assert digest_tree(tmp_path / "one") == digest_tree(tmp_path / "two")


def test_another_seed_makes_another_choice(base, adapter, tmp_path):
    for seed in (0, 1):
        merge(
            base,
            [local(adapter)],
            tmp_path / str(seed),
            method="dare_linear",
            density=0.5,
            seed=seed,
        )
    one, two = (load_file(tmp_path / s / "model.safetensors") for s in ("0", "1"))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(one[name], two[name])


def saving_head(base, out):
    adapter = pico_adapter(base, out, modules_to_save=["lm_head"])
    change_tensors(
        adapter / "adapter_model.safetensors",
        lambda tensors: {k: v + ("lm_head" in k) for k, v in tensors.items()},
    )
    return adapter


def test_an_adapter_that_replaces_what_another_adapts_is_refused(base, tmp_path):
    saved = saving_head(base, tmp_path / "saved")
    adapted = pico_adapter(base, tmp_path / "adapted", target_modules=["lm_head"])
    with pytest.raises(ConfigError) as caught:
        merge(base, [local(saved, "saved"), local(adapted, "adapted")], tmp_path / "out")
    assert caught.value.problem == (
        "adapter saved replaces lm_head.weight, which adapter adapted changes too"
    )


def test_an_adapter_that_replaces_a_module_cannot_be_weighted(base, tmp_path):
    saved = saving_head(base, tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"which cannot be weighted by 0\.5"):
        merge(base, [local(saved, "saved", weight=0.5)], tmp_path / "out")
