"""The stage that converts a merge for a quantizer: once for all types, where one is made."""

import pytest
from gates import GATE, FakeWorker, write_gate

from gate.cli.plan_text import describe
from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.planning.plan import make_plan
from gate.planning.todo import locate_sources, look_up
from gate.running.runner import run_gate
from gate.store import Store
from gate.terms import Source

QUANTIZED = "  {name}: {{{{merge: {merge}, quantize: {{{{{use}}}}}, backend: llamacpp}}}}\n"
RTN = "  rtn: {{merge: stream, quantize: {{name: rtn, bits: 8}}}}\n"
GOOD = dict.fromkeys(("adapter", "merged", "merged@llamacpp", "q8_0", "q4_k_m", "q5_k_m"), 280)
GOOD |= {"base": 90}


def gguf_gate(*types, merge="stream", more=""):
    """A gate with one variant for each type of GGUF."""
    variants = "".join(
        QUANTIZED.format(name=one.lower(), merge=merge, use=f"name: gguf, type: {one}{more}")
        for one in types
    )
    return GATE.replace(RTN, variants)


class Desk:
    """A gate on disk whose stages are done at once."""

    def __init__(self, folder, base, adapter):
        self.folder, self._models = folder, (base, adapter)

    @property
    def store(self):
        return Store(self.folder / "store")

    def write(self, *types):
        write_gate(self.folder, *self._models, gate=gguf_gate(*types))

    def run(self, **worker):
        """The labels of the stages that were run, and the record."""
        answering = FakeWorker(GOOD, **worker)
        config = load_config(self.folder / "gate.yaml")
        reports = self.folder / "reports"
        finished = run_gate(config, store=self.store, reports=reports, run_batch=answering)
        return answering.ran, finished.record

    def plan(self):
        """What `gate plan` says of the stages."""
        config = load_config(self.folder / "gate.yaml")
        sources = locate_sources(config, self.store)
        todo = look_up(config, sources, self.store)
        return describe(config, todo, self.store, sources=sources)

    def lose_conversions(self):
        """As if they alone had been pruned."""
        for one in self.store.finished():
            if one.stage.kind == "convert":
                self.store.forget(one.stage)


@pytest.fixture
def desk(tmp_path, base, adapter):
    return Desk(tmp_path, base, adapter)


def plan_of(folder, gate):
    config = load_config(write_gate(folder, "base", "adapter", gate=gate))
    source = Source(given="base", path="/base", digest="b0")
    return make_plan(config, source, {"support": source.model_copy(update={"digest": "a0"})})


def named(plan):
    return {one.label: one for one in plan.stages}


def test_a_merge_is_converted_once_for_all_types_and_the_bridge(tmp_path):
    stages = named(plan_of(tmp_path, gguf_gate("Q8_0", "Q4_K_M", "Q5_K_M")))
    assert [label for label in stages if label.startswith("convert")] == ["convert merged for gguf"]
    converted = stages["convert merged for gguf"]
    assert converted.needs == {"model": stages["merge merged"].stage.key}
    read_by = [one.label for one in stages.values() if converted.stage.key in one.needs.values()]
    assert read_by == [f"quantize {one}" for one in ("q8_0", "q4_k_m", "q5_k_m", "merged@llamacpp")]


def test_two_merges_are_converted_each(tmp_path):
    gate = gguf_gate("Q8_0").replace(
        "backend: {{name",
        QUANTIZED.format(name="peft", merge="peft", use="name: gguf, type: Q8_0")
        + "backend: {{name",
    )
    stages = named(plan_of(tmp_path, gate))
    assert {"convert merged for gguf", "convert peft for gguf"} <= stages.keys()


def test_types_that_are_converted_directly_need_no_conversion(tmp_path):
    stages = named(plan_of(tmp_path, gguf_gate("F16")))
    assert set(stages["quantize f16"].needs) == {"model"}


def test_other_quantizers_read_the_merge_itself(tmp_path):
    assert not any(label.startswith("convert") for label in named(plan_of(tmp_path, GATE)))


def test_a_quantization_is_the_same_stage_whoever_converted(tmp_path):
    alone = named(plan_of(tmp_path / "one", gguf_gate("Q8_0")))
    among = named(plan_of(tmp_path / "two", gguf_gate("Q8_0", "Q4_K_M")))
    for label in ("convert merged for gguf", "quantize q8_0"):
        assert alone[label].stage.key == among[label].stage.key


def test_where_a_conversion_lies_is_no_parameter_of_gate_yaml(tmp_path):
    with pytest.raises(ConfigError, match="gguf has no parameter 'converted'"):
        plan_of(tmp_path, gguf_gate("Q8_0", more=", converted: here"))


def test_every_quantization_is_told_where_the_conversion_lies(desk):
    desk.write("Q8_0", "Q4_K_M")
    told = {}

    class Listening(FakeWorker):
        def __call__(self, batch, log, on_event):
            told[batch.jobs[0].label] = batch.jobs[0].converted
            super().__call__(batch, log, on_event)

    config = load_config(desk.folder / "gate.yaml")
    run_gate(config, store=desk.store, reports=desk.folder / "reports", run_batch=Listening(GOOD))
    (converted,) = (desk.folder / "store" / "convert").glob("*/output")
    assert {label for label, place in told.items() if place == str(converted)} == {
        "quantize q8_0",
        "quantize q4_k_m",
        "quantize merged@llamacpp",
    }


def test_a_later_type_takes_the_conversion_from_the_store(desk):
    desk.write("Q8_0")
    ran, _ = desk.run()
    assert ran.count("convert merged for gguf") == 1
    desk.write("Q8_0", "Q4_K_M")
    assert desk.run()[0] == ["quantize q4_k_m", "audit quantize q4_k_m", "evaluate q4_k_m colors"]


def test_a_conversion_that_was_lost_is_not_made_again_where_nothing_reads_it(desk):
    desk.write("Q8_0")
    _, before = desk.run()
    desk.lose_conversions()
    assert "convert" not in desk.plan()
    ran, after = desk.run()
    assert (ran, after.verdict) == ([], before.verdict)
    assert all(stage.is_cached for stage in after.stages)


def test_a_conversion_that_was_lost_is_made_again_for_a_new_type(desk):
    desk.write("Q8_0")
    desk.run()
    desk.lose_conversions()
    desk.write("Q8_0", "Q4_K_M")
    ran, _ = desk.run()
    assert ran[:2] == ["convert merged for gguf", "quantize q4_k_m"]


def test_the_plan_says_that_a_merge_is_converted(desk):
    desk.write("Q8_0")
    (line,) = [one for one in desk.plan().splitlines() if "convert" in one]
    assert line.split()[:4] == ["convert", "merged", "for", "gguf"]
    assert line.endswith("to run: never run")


def test_a_conversion_that_fails_is_why_its_quantizations_are_missing(desk):
    desk.write("Q8_0", "Q4_K_M")
    _, record = desk.run(fails="convert")
    told = {stage.label: stage.error for stage in record.stages if stage.error}
    assert told["convert merged for gguf"] == "it broke (mend it)"
    assert told["quantize q8_0"] == "it needs 'convert merged for gguf', which failed"
    assert record.verdict == "error"


def test_several_workers_convert_once(desk):
    desk.write("Q8_0", "Q4_K_M", "Q5_K_M")
    file = desk.folder / "gate.yaml"
    file.write_text(file.read_text() + "workers: 3\n")
    ran, record = desk.run()
    assert ran.count("convert merged for gguf") == 1
    assert record.verdict == "promote"
