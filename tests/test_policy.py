"""The content id of a suite's checks, and what has changed since the last release."""

from textwrap import dedent

from gate.configuring.written_suite import WrittenSuite
from gate.configuring.yaml_files import read_yaml
from gate.lineage_records import PolicyChange
from gate.policy import policy_digest, policy_of
from gate.terms import Check, Use


def check(margin=0.02, **fields):
    given = {"of": "quantized", "against": "merged", "compare": Use(name="delta")}
    return Check(**given | {"at_least": -margin} | fields)


def changes(before, after):
    released = policy_of(before)
    return policy_of(after, released=released, release="v3").changes


def checks_in(tmp_path, text):
    file = tmp_path / "suite.yaml"
    file.write_text("tasks: [{name: colors, metric: acc}]\n" + dedent(text))
    return tuple(one.check() for one in read_yaml(file).validate(WrittenSuite).checks)


def test_the_digest_does_not_depend_on_how_the_checks_are_written(tmp_path):
    short = checks_in(
        tmp_path,
        """\
        checks:
          - {of: quantized, against: merged, compare: delta, margin: 0.02}
          - {of: merged, against: adapter, compare: flips, at_most: 0.1, tasks: [colors]}
        """,
    )
    long = checks_in(
        tmp_path,
        """\
        # the same
        checks:
          - tasks:
              - colors
            at_most: 0.10
            compare: {name: flips}
            against: "adapter"
            of: merged
          - level: block
            at_least: -0.020
            confidence: 0.95
            compare: delta
            against: merged
            of: quantized
        """,
    )
    assert policy_digest(short) == policy_digest(long)


def test_every_term_of_a_check_is_in_the_digest():
    digests = {
        policy_digest([one])
        for one in (
            check(),
            check(margin=0.03),
            check(at_most=0.02),
            check(confidence=0.9),
            check(level="warn"),
            check(tasks=("intent",)),
            check(slice="de"),
            check(compare=Use(name="flips")),
        )
    }
    assert len(digests) == 8


def test_an_unknown_release_changes_nothing():
    found = policy_of([check()])
    assert (found.released, found.released_digest, found.changes, found.notice) == (
        None,
        None,
        (),
        None,
    )


def test_the_same_checks_in_another_order_are_no_change():
    one, other = check(), check(tasks=("b", "a"))
    assert changes([one, other], [check(tasks=("a", "b")), one]) == ()


def test_a_wider_margin_is_told_before_and_after():
    assert changes([check()], [check(margin=0.05)]) == (
        PolicyChange(
            check="quantized against merged: delta", before="margin 0.02", after="margin 0.05"
        ),
    )


def test_only_the_terms_that_changed_are_told():
    (change,) = changes(
        [check(tasks=("intent",), slice="de")],
        [check(tasks=("intent",), slice="de", confidence=0.9, level="warn")],
    )
    assert change.check == "quantized against merged: delta [intent/de]"
    assert change.before == "confidence 0.95, blocks"
    assert change.after == "confidence 0.9, warns only"


def test_bounds_are_told_as_they_would_be_written():
    (change,) = changes([check(at_most=0.02)], [check(margin=-0.2)])
    assert (change.before, change.after) == ("margin 0.02 both ways", "at least 0.2")


def test_a_check_that_is_new_or_gone_is_told_whole():
    new, gone = changes([check(tasks=("a", "b"))], [check(tasks=("a",))])
    assert (new.check, new.before) == ("quantized against merged: delta [a]", None)
    assert new.after == "margin 0.02, confidence 0.95, blocks"
    assert (gone.check, gone.after) == ("quantized against merged: delta [a, b]", None)


def test_two_checks_of_one_comparison_are_compared_level_by_level():
    (change,) = changes(
        [check(level="warn", margin=0.01), check(margin=0.03)],
        [check(margin=0.05), check(level="warn", margin=0.01)],
    )
    assert (change.before, change.after) == ("margin 0.03", "margin 0.05")


def test_a_policy_that_differs_says_so_in_one_sentence():
    released = policy_of([check(), check(tasks=("a",))])
    found = policy_of([check(margin=0.05), check(tasks=("b",))], released=released, release="v3")
    assert found.notice == ("the thresholds are not those that v3 was promoted by: 3 checks differ")
    assert found.released_digest == released.digest
    one = policy_of([check(margin=0.05), check(tasks=("a",))], released=released, release="v3")
    assert one.notice == "the thresholds are not those that v3 was promoted by: 1 check differs"
