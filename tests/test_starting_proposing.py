"""Which variants are proposed for which machine, engines and adapters."""

from pathlib import Path

from gate.starting.facts import AdapterFacts, BaseFacts
from gate.starting.machine import Gpu, Machine, read_gpus
from gate.starting.pieces import Piece
from gate.starting.proposing import propose

GB = 10**9
ALL = ("llama.cpp", "vLLM", "llm-compressor", "bitsandbytes", "torchao")


def base(**changes):
    facts = BaseFacts("pico", Path("pico"), "Llama", 10, 20, "BF16", 512, True, False)
    return facts._replace(**changes)


def adapter(**changes):
    return AdapterFacts("LoRA", "pico", False, None, None, True)._replace(**changes)


def machine(*gpus, memory_bytes=64 * GB):
    return Machine(platform="p", cpu="c", cpu_count=2, memory_bytes=memory_bytes, gpus=gpus)


def pieces(*ready):
    return tuple(
        Piece(name=name, state="ready", gives="", versions={})
        if name in ready
        else Piece(name=name, state="missing", gives="", versions={}, remedy=f"get {name}")
        for name in ALL
    )


def proposed(*ready, gpus=(), adapters=None, has_calibration=False, of=None, **options):
    return propose(
        of or base(),
        adapters or (adapter(),),
        machine=machine(*gpus),
        pieces=pieces(*ready),
        has_calibration=has_calibration,
        **options,
    )


def active(proposals):
    return [one.name for one in proposals.variants if one.is_active]


def settings(proposals, name):
    return next(one.settings for one in proposals.variants if one.name == name)


H100 = Gpu(name="H100", memory_bytes=80 * GB, capability=9.0)
A100 = Gpu(name="A100", memory_bytes=80 * GB, capability=8.0)


def test_without_engines_the_merge_alone_is_proposed_and_what_is_missing_is_told():
    found = proposed()
    assert active(found) == ["base", "adapter", "merged"]
    needs = {one.name: one.needs for one in found.variants}
    assert needs["q8_0"] == "get llama.cpp"
    assert needs["w8a8"] == "get vLLM; get llm-compressor"


def test_llama_cpp_brings_8_and_4_bits_with_a_matrix_where_there_is_calibration():
    assert active(proposed("llama.cpp"))[3:] == ["q8_0", "q4_k_m"]
    assert "imatrix" not in settings(proposed("llama.cpp"), "q4_k_m")
    assert "imatrix: true" in settings(proposed("llama.cpp", has_calibration=True), "q4_k_m")


def test_vllm_serves_what_its_hardware_is_made_for():
    engines = ("vLLM", "llm-compressor")
    assert active(proposed(*engines))[3:] == ["w8a8"]
    assert active(proposed(*engines, gpus=(A100,)))[3:] == ["w8a8", "w4a16"]
    assert active(proposed(*engines, gpus=(H100,)))[3:] == ["fp8", "w4a16"]


def test_a_quantizer_that_calibrates_rounds_where_there_is_nothing_to_show_it():
    engines = ("vLLM", "llm-compressor")
    assert "scheme: W8A8, method: rtn}" in settings(proposed(*engines), "w8a8")
    calibrated = proposed(*engines, has_calibration=True)
    assert "scheme: W8A8}" in settings(calibrated, "w8a8")


def test_what_transformers_serves_is_told_and_left_out():
    found = proposed(*ALL)
    assert "nf4" not in active(found)
    assert next(one for one in found.variants if one.name == "nf4").needs is None


def test_qlora_is_judged_on_4_bits_and_merged_where_it_is_closest():
    found = proposed("llama.cpp", adapters=(adapter(qlora="its name says so"),))
    assert settings(found, "adapter") == "{backend: {name: hf, base_precision: nf4}}"
    assert settings(found, "merged") == "{merge: {name: stream, base_precision: auto}}"
    assert "base_precision: auto" in settings(found, "q8_0")
    assert found.needs_texts
    assert "(QLoRA): its name says so" in found.notes[0]


def test_a_packed_base_is_merged_as_its_4_bits_are():
    found = proposed(of=base(is_packed=True))
    assert settings(found, "merged") == "{merge: {name: stream, base_precision: nf4}}"
    assert not found.needs_texts


def test_a_kind_that_peft_merges_is_told_and_has_no_precision():
    found = proposed(adapters=(adapter(qlora="sign", by_peft="LOHA is not LoRA"),))
    assert settings(found, "merged") == "{merge: stream}"
    assert found.notes[0].endswith("which loads the whole model: LOHA is not LoRA")


def test_a_model_that_llama_cpp_cannot_read_is_not_proposed_for_it():
    found = proposed("llama.cpp", gguf_fault="its converter does not know this tokenizer")
    assert active(found) == ["base", "adapter", "merged"]
    assert found.notes == (
        "nothing is proposed for llama.cpp: its converter does not know this tokenizer",
    )


def test_several_adapters_are_said_to_be_summed_or_not_to_fit_together():
    found = proposed(adapters=(adapter(), adapter(is_delta=False)))
    assert found.notes[0].startswith("2 adapters are summed; ")
    assert "cannot run beside others on the base" in found.notes[1]


def test_a_base_that_does_not_fit_is_told():
    of = base(size_bytes=60 * GB)
    assert "there are 64.0 GB of memory" in proposed(of=of).notes[0]
    assert proposed(of=of, gpus=(H100,)).notes == ()


def test_gpus_are_read_from_the_drivers_table():
    table = "NVIDIA H100 80GB HBM3, 81559, 9.0\nFailed to initialize NVML\nOdd, [N/A], 8.0\n"
    assert [gpu.name for gpu in read_gpus(table)] == ["NVIDIA H100 80GB HBM3"]
    assert read_gpus(table)[0].capability == 9.0
