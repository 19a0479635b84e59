"""Audits as maps of layers by modules."""

from records_builder import build_record

from gate.audit_records import ArtifactAudit, Audit, QuantizedTensor, TensorAudit
from gate.reporting.weight_maps import weight_maps

Q, UP, NORM = "self_attn.q_proj", "mlp.up_proj", "input_layernorm"


def name(layer, module):
    return f"model.layers.{layer}.{module}.weight"


def merged(tensor, kept, **changes):
    share = None if kept is None else 0.01
    found = TensorAudit(tensor=tensor, outcome="exact", delta_share=share, kept_share=kept)
    return found.model_copy(update=changes)


def stored(tensor, error):
    return QuantizedTensor(tensor=tensor, type="Q", bits_per_weight=4.5, relative_error=error)


def merge(*tensors):
    return ArtifactAudit(
        of="merge", label="audit merge merged", variants=("merged",), audit=Audit(tensors=tensors)
    )


def quantize(*quantized):
    return ArtifactAudit(
        of="quantize", label="audit quantize q4", variants=("q4",), audit=Audit(quantized=quantized)
    )


def maps(*audits):
    return weight_maps(build_record().model_copy(update={"audits": audits}))


def runs(row):
    return [(run.first, run.last, run.step, run.state) for run in row.runs]


def test_neighbouring_layers_of_one_colour_are_one_run_with_its_worst_tensor():
    kept = (0.99, 0.97, 0.7, 0.96)
    (one,) = maps(merge(*(merged(name(layer, Q), share) for layer, share in enumerate(kept))))
    (row,) = one.rows
    assert runs(row) == [(0, 1, 0, "measured"), (2, 2, 3, "measured"), (3, 3, 0, "measured")]
    assert row.runs[0].tensor == name(1, Q)
    assert (row.name, row.layers) == ("q_proj", 4)


def test_layers_are_in_the_order_of_their_numbers():
    (one,) = maps(merge(*(merged(name(layer, Q), 1 - layer / 100) for layer in (10, 2, 0, 1))))
    assert runs(one.rows[0]) == [(0, 2, 0, "measured"), (10, 10, 1, "measured")]


def test_a_module_that_nothing_was_added_to_has_no_row():
    (one,) = maps(merge(merged(name(0, Q), 0.9), merged(name(0, NORM), None)))
    assert [row.name for row in one.rows] == ["q_proj"]


def test_a_change_that_was_not_measured_is_not_measured_and_never_zero():
    unknown = merged(name(1, Q), 0.9, kept_share=None)
    (one,) = maps(merge(merged(name(0, Q), 0.99), unknown))
    assert runs(one.rows[0]) == [(0, 0, 0, "measured"), (1, 1, None, "not measured")]


def test_what_is_wrong_is_the_worst_of_all():
    bad = merged(name(0, Q), 0.9, outcome="wrong")
    gone = merged(name(1, Q), None, outcome="missing")
    (one,) = maps(merge(bad, gone))
    assert [run.state for run in one.rows[0].runs] == ["wrong", "wrong"]


def test_a_tensor_that_another_audit_names_and_this_one_did_not_compare_is_not_measured():
    audits = (
        merge(merged(name(0, Q), 0.9), merged(name(1, Q), 0.9)),
        quantize(stored(name(0, Q), 0.05)),
    )
    one = maps(*audits)[1]
    assert runs(one.rows[0]) == [(0, 0, 3, "measured"), (1, 1, None, "not measured")]


def test_layers_that_have_no_such_module_are_gaps():
    tensors = [stored(name(layer, Q), 0.05) for layer in (0, 3)]
    (one,) = maps(quantize(*tensors))
    assert runs(one.rows[0]) == [(0, 0, 3, "measured"), (3, 3, 3, "measured")]


def test_experts_of_a_layer_are_told_by_their_worst():
    experts = [stored(name(0, f"mlp.experts.{n}.up_proj"), 0.01 * n) for n in range(1, 5)]
    (one,) = maps(quantize(*experts))
    (run,) = one.rows[0].runs
    assert (run.tensors, run.worst, run.tensor) == (4, 0.04, name(0, "mlp.experts.4.up_proj"))


def test_tensors_outside_the_layers_have_rows_of_their_own_around_them():
    tensors = ("lm_head.weight", name(0, UP), name(0, Q), "model.embed_tokens.weight")
    (one,) = maps(quantize(*(stored(tensor, 0.05) for tensor in tensors)))
    assert [row.name for row in one.rows] == ["embed_tokens", "q_proj", "up_proj", "lm_head"]
    assert [row.layers for row in one.rows] == [0, 1, 1, 0]


def test_names_of_gguf_are_mapped_too():
    tensors = ("token_embd.weight", "blk.0.attn_q.weight", "blk.1.attn_q.weight")
    (one,) = maps(quantize(*(stored(tensor, 0.05) for tensor in tensors)))
    assert [(row.name, row.layers) for row in one.rows] == [("token_embd", 0), ("attn_q", 2)]


def test_what_is_stored_exactly_has_no_row_and_is_counted():
    (one,) = maps(quantize(stored(name(0, NORM), 0.0), stored(name(0, Q), 0.0)))
    assert (one.rows, one.exact, one.worst) == ((), 2, 0.0)


def test_an_audit_that_could_not_be_done_says_so_and_has_no_rows():
    undone = ArtifactAudit(of="quantize", label="audit quantize q4", variants=("q4",), error="gone")
    (one,) = maps(undone)
    assert (one.rows, one.worst, one.error) == ((), None, "gone")
