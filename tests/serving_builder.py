"""What variants cost to serve, as if it had been measured."""

from gate.serving_records import BatchSpeed, Serving, SpeedRun

MACHINE = "Intel(R) Xeon(R) Platinum 8481C, 2 cores, 24 GiB"


def build_run(
    repeat: int = 1,
    *,
    decode: float = 20.0,
    prefill: float = 800.0,
    load: float = 2.0,
    memory: int = 1_000_000_000,
    cuda: int | None = None,
    batch_size: int = 8,
) -> SpeedRun:
    """A repeat with these tokens a second for many prompts, and half of them for one alone."""

    def batch(size: int, share: float) -> BatchSpeed:
        return BatchSpeed(
            batch_size=size,
            prefill_seconds=size * 128 / (share * prefill),
            decode_seconds=size * 32 / (share * decode),
            prefill_tokens_per_second=share * prefill,
            decode_tokens_per_second=share * decode,
        )

    return SpeedRun(
        repeat=repeat,
        prompt_tokens=128,
        new_tokens=32,
        load_seconds=load,
        one=batch(1, 0.5),
        many=batch(batch_size, 1.0),
        peak_memory_bytes=memory,
        peak_gpu_bytes=cuda,
    )


def build_serving(variant: str, *runs: SpeedRun, backend: str = "hf", **sizes) -> Serving:
    return Serving(variant=variant, backend=backend, machine=MACHINE, runs=runs, **sizes)


def _measured(
    variant: str, backend: str, *, decode: float, load: float, memory: float, weights: int
):
    runs = tuple(
        build_run(
            number,
            decode=decode * factor,
            prefill=32 * decode * factor,
            load=load / factor,
            memory=round(memory * 1e9) + 5_000_000 * number,
        )
        for number, factor in enumerate((1.0, 0.97, 1.02), start=1)
    )
    return build_serving(
        variant,
        *runs,
        backend=backend,
        size_bytes=weights + 3_528_007,
        weight_bytes=weights,
        parameters=134_515_008,
    )


def build_servings() -> tuple[Serving, ...]:
    """One for each variant of `build_record` but w8a8, whose engine stopped."""
    whole, with_adapter, bf16 = 269_060_552, 273_944_072, 270_885_888
    return (
        _measured("base", "hf", decode=31.0, load=1.9, memory=1.21, weights=whole),
        _measured("adapter", "hf", decode=24.0, load=2.4, memory=1.28, weights=with_adapter),
        _measured("merged", "hf", decode=30.5, load=1.9, memory=1.21, weights=whole),
        _measured("merged-llamacpp", "llamacpp", decode=52.0, load=0.6, memory=0.71, weights=bf16),
        _measured("q8_0", "llamacpp", decode=91.0, load=0.4, memory=0.55, weights=144_811_072),
        _measured("q4_k_m", "llamacpp", decode=104.0, load=0.3, memory=0.47, weights=105_454_144),
    )
