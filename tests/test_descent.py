from record_parts import VARIANTS
from verdict_builder import build_result

from gate.descent import lineage_of

BY_NAME = {variant.name: variant for variant in VARIANTS}


def test_a_quantized_variant_descends_from_adapter_merge_and_bridge():
    checks = (
        build_result("q4_k_m", "merged-llamacpp"),
        build_result("merged-llamacpp", "merged"),
    )
    assert lineage_of(BY_NAME["q4_k_m"], VARIANTS, checks) == (
        "adapter",
        "merged",
        "merged-llamacpp",
        "q4_k_m",
    )


def test_a_merge_does_not_descend_from_what_was_made_of_it():
    checks = (build_result("q4_k_m", "merged"), build_result("merged", "adapter"))
    assert lineage_of(BY_NAME["merged"], VARIANTS, checks) == ("adapter", "merged")
