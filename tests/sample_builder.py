"""Sample files as lm-eval 0.4.13 writes them with --log_samples, and runs made of them."""

import hashlib
import json
from pathlib import Path

MOMENT = "2026-11-22T21-43-52.372555"
CHOICES = ("red", "green", "blue", "yes")


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def choice(number, value, *, metric="acc", question=None, prompt="", **fields):
    """A multiple-choice sample of a document; its number makes its question."""
    document = {"question": question or f"question {number}:", "choices": CHOICES, "answer": 0}
    text = prompt + document["question"]
    likelihoods = [[f"-{place + 1}.5", "False"] for place in range(len(CHOICES))]
    return {
        "doc_id": number,
        "doc": document,
        "target": "0",
        "arguments": {
            f"gen_args_{place}": {"arg_0": text, "arg_1": f" {one}"}
            for place, one in enumerate(CHOICES)
        },
        "resps": [[one] for one in likelihoods],
        "filtered_resps": likelihoods,
        "filter": "none",
        "metrics": [metric],
        "doc_hash": sha(json.dumps(document, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(text),
        "target_hash": sha("0"),
        metric: value,
        **fields,
    }


def written(number, value, *, filter_name="strict-match", most_tokens=256, **fields):
    """A generated answer to a document, as one filter of a task read it."""
    document = {"question": f"number {number}", "answer": f"#### {number}"}
    text = f"Q: number {number}\nA:"
    return {
        "doc_id": number,
        "doc": document,
        "target": document["answer"],
        "arguments": {
            "gen_args_0": {"arg_0": text, "arg_1": {"until": ["Q:"], "max_gen_toks": most_tokens}}
        },
        "resps": [[f"so #### {number}"]],
        "filtered_resps": [f"{number}"],
        "filter": filter_name,
        "metrics": ["exact_match"],
        "doc_hash": sha(json.dumps(document, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(text),
        "target_hash": sha(document["answer"]),
        "exact_match": value,
        **fields,
    }


def write_samples(file, samples):
    """One sample a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in samples)
    file.write_text("".join(lines), encoding="utf-8")
    return file


def write_run(
    folder, samples, *, task="colors", moment=MOMENT, better=None, num_fewshot=0, model="m"
) -> Path:
    """What one run leaves below its --output_path: its samples and, beside them, its results."""
    write_samples(folder / model / f"samples_{task}_{moment}.jsonl", samples)
    metric = samples[0]["metrics"][0]
    results = {
        "higher_is_better": {task: {metric: True} if better is None else better},
        "n-shot": {task: num_fewshot},
    }
    (folder / model / f"results_{moment}.json").write_text(json.dumps(results))
    return folder


def arms(gains, losses, documents, *, wrong=0):
    """Values of two runs: so many gained, lost, and wrong in both; the rest right in both."""
    rest = documents - gains - losses - wrong
    before = [0.0] * gains + [1.0] * losses + [0.0] * wrong + [1.0] * rest
    after = [1.0] * gains + [0.0] * losses + [0.0] * wrong + [1.0] * rest
    return before, after


def write_two_runs(folder, gains, losses, documents, *, wrong=0):
    """The directories `ref` and `cand` of multiple-choice runs that differ so much."""
    for name, values in zip(
        ("ref", "cand"), arms(gains, losses, documents, wrong=wrong), strict=True
    ):
        write_run(folder / name, [choice(i, value) for i, value in enumerate(values)])
    return folder / "ref", folder / "cand"
