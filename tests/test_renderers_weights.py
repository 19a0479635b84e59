"""The audits of a record, in every report."""

from xml.etree import ElementTree

import pytest
from records_builder import build_record

from gate.audit_records import ArtifactAudit, Audit, QuantizedTensor, TensorAudit
from gate.renderers import html, junit, markdown, text

PROVEN = ArtifactAudit(
    of="merge",
    label="audit merge merged",
    variants=("merged",),
    audit=Audit(
        schedule="one rounding",
        tensors=(
            TensorAudit(tensor="a.weight", outcome="exact", delta_share=0.1, kept_share=0.75),
            TensorAudit(tensor="b.weight", outcome="exact"),
        ),
    ),
)
QUANTIZED = ArtifactAudit(
    of="quantize",
    label="audit quantize q8_0",
    variants=("q8_0",),
    audit=Audit(
        quantized=(
            QuantizedTensor(
                tensor="a.weight", type="Q8_0", bits_per_weight=8.5, relative_error=0.004
            ),
        )
    ),
)
FAULTY = ArtifactAudit(
    of="merge",
    label="audit merge other",
    variants=("other",),
    audit=Audit(faults=("<b>a.weight</b> is wrong: not applied",)),
)
UNDONE = ArtifactAudit(
    of="quantize", label="audit quantize q4", variants=("q4",), error="it was killed"
)


@pytest.fixture(scope="module")
def record():
    return build_record().model_copy(update={"audits": (PROVEN, QUANTIZED, FAULTY, UNDONE)})


@pytest.mark.parametrize("renderer", [html, markdown, text], ids=["html", "markdown", "text"])
def test_every_report_tells_what_the_audits_found(record, renderer):
    told = " ".join(renderer.render(record).replace("\n", " ").split())
    assert "1 changed tensor, at least 75.0 % of each change kept" in told
    assert "1 tensor as Q8\\_0" in told or "1 tensor as Q8_0" in told
    assert "not proven: 1 fault" in told
    assert "could not be done: it was killed" in told
    assert "<b>a.weight" not in told or renderer is text


def test_junit_has_a_case_for_each_audit(record):
    root = ElementTree.fromstring(junit.render(record))
    cases = {
        case.get("name"): [child.tag for child in case]
        for case in root.iter("testcase")
        if case.get("classname") == "gate.weights"
    }
    assert cases == {
        "audit merge merged": ["system-out"],
        "audit quantize q8_0": ["system-out"],
        "audit merge other": ["failure"],
        "audit quantize q4": ["error"],
    }


def test_a_record_without_audits_has_no_section_of_them():
    assert 'id="weights"' not in html.render(build_record())
