"""The definitions of what is measured: scores, sizes, speeds, divergences, weights."""

from gate.reporting.definitions import Definition

_TEXTS = "Distributions"

MEASURE_TERMS: dict[str, Definition] = {
    "variant": Definition(
        "Variant",
        "One way to serve the candidate: base, adapter on its base, merged, a bridge (merged, in a "
        "quantized variant's runtime) or quantized.",
    ),
    "task": Definition("Task", "One set of documents with a metric, as lm-eval runs it."),
    "score": Definition(
        "Score",
        "A variant's metric on a task: the mean over its documents, or the metric of the whole "
        "corpus.",
        "Of accuracy and exact match it is the share that is right.",
        "% of documents, or the metric's own",
    ),
    "size": Definition(
        "Size on disk",
        "Bytes of all files that are served, adapters included.",
        "1 MB is 1,000,000 bytes.",
        "bytes",
    ),
    "bits": Definition(
        "Bits per weight",
        "What storing one weight takes, scales and tables included.",
        "8 · bytes of all tensors over the number of weights.",
        "bits",
    ),
    "lineage": Definition(
        "Lineage", "The steps from the base model to what is served, and what runs it."
    ),
    "cause": Definition(
        "Cause",
        "What a step changes: training, merge, runtime or quantization. The steps add up to the "
        "total.",
        "Each step's interval is computed from its own paired differences.",
        "points, or the metric's own",
        "Where a loss comes from",
    ),
    "kl": Definition(
        "KL",
        "Kullback-Leibler divergence: how far the candidate's next-token probabilities are from "
        "the reference's. 0 is no difference.",
        "Mean over tokens of Σ p ln(p / q); p: reference, q: candidate.",
        "nats a token",
        _TEXTS,
    ),
    "same-top": Definition(
        "Same top",
        "Share of tokens at which both hold the same token most probable.",
        "Ratio estimator over documents, not narrower than Clopper and Pearson's.",
        "% of tokens",
        _TEXTS,
    ),
    "ln-ppl": Definition(
        "ln PPL ratio",
        "How much more the text surprises the candidate: 0.01 is a perplexity about 1 % higher.",
        "ln(perplexity of the candidate / of the reference).",
        "natural logarithm",
        _TEXTS,
    ),
    "delta-p": Definition(
        "Δp",
        "Change of the probability of the text's own token, candidate less reference. RMS: root of "
        "the mean square.",
        unit="points",
        section=_TEXTS,
    ),
    "shortfall": Definition(
        "Compared at",
        "The tokens that are told apart. KL at the reference's top tokens is a lower bound; the "
        "shortfall is by how much.",
        "Measured at sampled places, where the full distribution was kept.",
        "%",
        _TEXTS,
    ),
    "recovery": Definition(
        "Recovery",
        "What a variant keeps of the adapter's score on the task that lost most: 100 % is all of "
        "it.",
        "Its metric over the adapter's, or the inverse where lower is better. No interval.",
        "%",
    ),
    "load": Definition(
        "Load", "The time until the engine is ready.", "Median of the repeats.", "seconds"
    ),
    "first-token": Definition(
        "First token",
        "The time to the first token of a prompt alone.",
        "Median of the repeats, each in a process of its own.",
        "seconds",
    ),
    "prefill": Definition(
        "Prefill speed",
        "How fast prompts are read.",
        "Tokens of all prompts over the time until each has its first new token; median of the "
        "repeats.",
        "tokens a second",
    ),
    "decode": Definition(
        "Decode speed",
        "How fast answers are written.",
        "New tokens after the first over the time they took; median of the repeats.",
        "tokens a second",
    ),
    "memory": Definition(
        "Peak memory",
        "The most memory held while loading and serving: the GPU's where one is used.",
        "Median of the repeats.",
        "bytes",
    ),
    "ratio": Definition(
        "To adapter",
        "A variant's figure over that of the adapter on its base: above 1 it decodes faster, or is "
        "larger.",
        "Ratio of the medians.",
        "times",
    ),
    "noise": Definition(
        "Noise floor",
        "What an engine changes by itself: one variant asked twice, in other batches and another "
        "order. A margin inside it decides nothing.",
        "The same paired comparison as the check's.",
        "points, or the metric's own",
        "The engine's own noise",
    ),
    "log-probability": Definition(
        "Log-probability",
        "How probable a model holds an answer: -0.7 is 50 %, -2.3 is 10 %.",
        "Natural logarithm of the probability of all its tokens.",
        "nats",
    ),
    "proof": Definition(
        "Proof",
        "Whether a checkpoint holds what it was made from, by its weights alone.",
        "A merge is recomputed from base and adapters; a quantized model is dequantized and held "
        "against the merge.",
    ),
    "kept-share": Definition(
        "Kept share",
        "Share of the adapters' change of a tensor that is left after rounding: 100 % is all.",
        "1 - ‖found - (W + Δ)‖ / ‖Δ‖.",
        "%",
    ),
    "relative-error": Definition(
        "Relative error",
        "How far a quantized tensor is from the merged one.",
        "‖dequantized - merged‖ / ‖merged‖.",
        "%",
    ),
    "content-id": Definition(
        "Content id",
        "Names bytes and nothing else: two trees of files with the same id are the same.",
        "SHA-256 over the SHA-256 of every file, or over hub id and commit.",
    ),
    "stage": Definition(
        "Stage",
        "One step of the run; its key names everything that can change what it gives.",
        "A stage with the same key is taken from the store.",
    ),
    "policy": Definition(
        "Policy", "The checks that the run was judged by, and their difference from the last's."
    ),
}
