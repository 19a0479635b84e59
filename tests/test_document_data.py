import json
import random

from document_builder import build_document, build_documents
from records_builder import HOSTILE, build_record

from gate.pages.islands import pack
from gate.presentation import anchor
from gate.reporting.document_data import pack_documents
from gate.reporting.document_views import changed_documents

RIGHT, WRONG = (1.0, "yes"), (0.0, "no")
FIELDS = (
    *("anchor", "task", "id", "hash", "slice", "cluster", "prompt", "target", "choices"),
    *("answers", "taken"),
)


def packed(record) -> dict:
    return json.loads(pack_documents(record, changed_documents(record)))


def rows(data) -> list[dict]:
    return [dict(zip(FIELDS, row, strict=True)) for row in data["documents"]]


def test_every_changed_document_is_there_once_and_no_other():
    record = build_record()
    changed = {(c.pair.task, c.after.id) for c in changed_documents(record)}
    data = packed(record)
    names = [data["texts"][task[0]] for task in data["tasks"]]
    found = [(names[row["task"]], row["id"]) for row in rows(data)]
    assert len(found) == len(set(found))
    assert set(found) == changed


def test_changes_name_the_documents_and_pairs_in_their_order():
    record = build_record()
    data = packed(record)
    variants = [data["texts"][place] for place in data["variants"]]
    told = [
        (rows[number]["anchor"], *(variants[place] for place in data["pairs"][pair][1:]))
        for rows in [rows(data)]
        for direction in ("loss", "gain", "other")
        for number, pair in zip(*[iter(data["changes"][direction])] * 2, strict=True)
    ]
    assert told == [
        (anchor("doc", c.pair.task, c.after.id), c.pair.reference, c.pair.candidate)
        for c in changed_documents(record)
    ]


def test_a_document_has_what_every_variant_made_of_it_and_equal_answers_once():
    record = build_documents(base=[RIGHT], adapter=[WRONG], merged=[RIGHT], q8_0=[])
    data = packed(record)
    (row,) = rows(data)
    answers = [(data["texts"][text], value) for text, value, _ in row["answers"]]
    assert answers == [("yes", 1.0), ("no", 0.0)]
    assert row["taken"] == [0, 1, 0, -1]


def test_what_all_prompts_share_is_said_once_and_cuts_no_word():
    prompts = ("System.\nHow warm is it? Answer:", "System.\nHow late is it? Answer:")
    documents = [build_document(at, prompt=text) for at, text in enumerate(prompts)]
    data = packed(build_documents(documents=documents, base=[RIGHT] * 2, adapter=[WRONG] * 2))
    beginning, ending = (data["texts"][place] for place in data["tasks"][0][3:])
    assert (beginning, ending) == ("System.\n", " is it? Answer:")
    middles = [data["texts"][row["prompt"]] for row in rows(data)]
    assert [beginning + middle + ending for middle in middles] == list(prompts)


def test_equal_prompts_are_whole_again():
    documents = [build_document(at, prompt="one\ntwo two") for at in range(2)]
    data = packed(build_documents(documents=documents, base=[RIGHT] * 2, adapter=[WRONG] * 2))
    beginning, ending = (data["texts"][place] for place in data["tasks"][0][3:])
    assert beginning + data["texts"][rows(data)[0]["prompt"]] + ending == "one\ntwo two"


def test_the_prompt_of_the_only_document_is_its_own():
    data = packed(build_documents(base=[RIGHT], adapter=[WRONG]))
    assert data["texts"][rows(data)[0]["prompt"]] == "Question 0"


def test_log_probabilities_are_rounded_and_values_never_to_look_alike():
    record = build_documents(
        is_binary=False,
        base=[(0.12345678901, "a", (-1.23456789,)), (0.5000000001, "a")],
        adapter=[(1 / 3, "a", (-2.0,)), (0.5, "a")],
    )
    first, second = rows(packed(record))
    assert [answer[1:] for answer in first["answers"]] == [[0.123457, [-1.2346]], [0.333333, [-2]]]
    assert [answer[1] for answer in second["answers"]] == [0.5000000001, 0.5]


def test_a_log_probability_that_is_not_zero_is_not_rounded_to_zero():
    record = build_documents(
        base=[(1.0, "a", (-0.00003, 0.0))], adapter=[(0.0, "b", (-0.2, -0.00004999))]
    )
    (row,) = rows(packed(record))
    assert [answer[2] for answer in row["answers"]] == [[-3e-5, 0.0], [-0.2, -5e-5]]


def test_a_document_that_the_record_does_not_hold_has_no_prompt():
    data = packed(build_documents(documents=[], base=[RIGHT], adapter=[WRONG]))
    (row,) = rows(data)
    assert (row["prompt"], row["target"], row["choices"]) == (None, None, [])


def test_anchors_of_odd_task_names_differ_and_are_fit_for_addresses():
    said = {"base": [RIGHT], "adapter": [WRONG]}
    anchors = {
        rows(packed(build_documents(task=task, **said)))[0]["anchor"] for task in ("a b", "a|b")
    }
    assert len(anchors) == 2
    assert all(one.startswith("doc-a-b-0-") for one in anchors)


def test_control_characters_reach_no_text():
    data = packed(build_record(hostile=True))
    shown = HOSTILE.replace("\x1b", "\ufffd").replace("\x00", "\ufffd")
    assert any(shown in text for text in data["texts"])
    assert not any("\x1b" in text or "\x00" in text for text in data["texts"])


def test_twenty_thousand_documents_that_all_changed_would_stay_below_fifteen_megabytes():
    """Measured on a tenth of them, prompts of 600 characters, six variants, three answers."""
    rng = random.Random(3)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(4000)]
    likely = [1 / (place + 3) for place in range(4000)]

    def words(count: int) -> str:
        return " ".join(rng.choices(vocabulary, likely, k=count))

    documents = [build_document(at, prompt=words(103), target=words(30)) for at in range(2000)]
    assert sum(len(one.prompt) for one in documents) / 2000 > 590
    written = [[(1.0, one.target) for one in documents]]
    written += [[(0.0, f"{one.target[:80]} {words(15)}") for one in documents] for _ in range(2)]
    names = ("base", "adapter", "merged", "q8_0", "q4_k_m", "w8a8")
    said = {name: written[place % 3] for place, name in enumerate(names)}
    record = build_documents(documents=documents, **said)
    island = pack(pack_documents(record, changed_documents(record)))
    assert len(island) < 14_000_000 / 10
