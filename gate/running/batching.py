"""What a child is told to do: stages of a plan with the paths they work on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gate import extensions
from gate.configuring.config import GateConfig
from gate.jobs import Batch, Job, Served
from gate.planning.soonest import Stages
from gate.planning.stages import PlannedStage
from gate.planning.todo import Sources
from gate.running.slots import Slot, Slots
from gate.store import OUTPUT, Store
from gate.terms import JsonValue, LocalAdapter, Stage

_SCORES = ("evaluate", "read")
"""Kinds of stage that score with a loaded model; the others compute as if they were alone."""


class BatchMaker:
    """Makes the batches of one run.

    Attributes:
        planned: {stage key: the stage}, of all plans so far.
    """

    def __init__(self, config: GateConfig, sources: Sources, *, store: Store, slots: Slots) -> None:
        """Take what every batch is made from.

        Args:
            config: what was asked.
            sources: the base and adapters it was asked of.
            store: where outputs go.
            slots: where batches run.
        """
        self.planned: dict[str, PlannedStage] = {}
        self._config = config
        self._sources = sources
        self._store = store
        self._slots = slots

    def batch(self, group: Stages, slot: Slot, *, limit_seconds: float | None) -> Batch:
        """A batch, with an empty workspace for each of its stages.

        Args:
            group: stages that share a loaded model.
            slot: its part of the machine.
            limit_seconds: the longest that all of them may take; None for no end.

        Raises:
            StoreError: a workspace cannot be made.
        """
        options: dict[str, JsonValue] = {
            "trust_remote_code": self._config.trust_remote_code,
            "allow_pickle": self._config.allow_pickle,
            "texts": [text.path for text in self._config.suite.texts],
            "calibration": [one.path for one in self._config.suite.calibration],
            "journal": str(self.journal(group[0])),
        }
        variables = self._slots.variables(slot)
        threads = self.threads(group[0].stage)
        if threads is not None:
            options["threads"] = threads
            variables["OMP_NUM_THREADS"] = str(threads)
        return Batch(
            jobs=tuple(self._job(planned) for planned in group),
            options=options,
            python=group[0].python,
            timeout_seconds=60 * self._config.timeout_minutes,
            limit_seconds=limit_seconds,
            variables=variables,
        )

    @property
    def base(self) -> Path:
        """The base model's directory."""
        return Path(self._sources.base.path)

    def threads(self, stage: Stage) -> int | None:
        """The threads that a stage computes with; None for as many as its engine likes."""
        return self._slots.threads if stage.kind in _SCORES else None

    def log(self, group: Stages) -> Path:
        """Where a batch's child writes what its libraries say."""
        return self._store.root / "logs" / f"{group[0].stage.key}.log"

    def journal(self, planned: PlannedStage) -> Path:
        """Where the answers of a server are kept until its stages are done."""
        return self._store.root / "journals" / _shared_key(planned)

    def loaded(self, planned: PlannedStage) -> tuple[Served, ...]:
        """What a stage has in memory: what it reads, and the reference that is loaded beside it."""
        made = self._made(planned)
        served = Served(
            use=planned.stage.use,
            model=self._model(made),
            adapters=self._adapters(planned.adapters),
        )
        reference = self._reference(planned, made)
        return (served, reference) if isinstance(reference, Served) else (served,)

    def _job(self, planned: PlannedStage) -> Job:
        made = self._made(planned)
        return Job(
            stage=planned.stage,
            label=planned.label,
            variant=planned.variant,
            model=self._model(made),
            adapters=self._adapters(planned.adapters),
            task=planned.task,
            out=str(self._store.workspace(planned.stage) / OUTPUT),
            base=self._sources.base.path,
            merged=str(made["merged"]) if "merged" in made else None,
            converted=str(made["converted"]) if "converted" in made else None,
            is_repeat=planned.is_repeat,
            speed=self._config.suite.speed if planned.stage.kind == "speed" else None,
            repeat=planned.repeat,
            partial=str(self._store.partial(planned.stage)) if _keeps(planned) else None,
            text=planned.text,
            reading=self._config.suite.distributions if planned.text else None,
            reference=self._reference(planned, made),
        )

    def _made(self, planned: PlannedStage) -> dict[str, Path]:
        """{role: the output of the stage that it needs for it}."""
        return {
            role: self._store.path(self.planned[key].stage) for role, key in planned.needs.items()
        }

    def _model(self, made: Mapping[str, Path]) -> str:
        return str(made.get("model") or made.get("weights") or Path(self._sources.base.path))

    def _reference(self, planned: PlannedStage, made: Mapping[str, Path]) -> Served | str | None:
        """What a candidate's reading is compared with."""
        if planned.reference is None:
            return str(made["reference"]) if "reference" in made else None
        live = planned.reference.adapters if planned.reference.merge is None else ()
        return Served(
            use=planned.reference.backend,
            model=str(made.get("reference_weights") or self._sources.base.path),
            adapters=self._adapters(live),
        )

    def _adapters(self, names: Iterable[str]) -> tuple[LocalAdapter, ...]:
        weights = {one.name: one.weight for one in self._config.candidate.adapters}
        return tuple(
            LocalAdapter(
                name=name, path=Path(self._sources.adapters[name].path), weight=weights[name]
            )
            for name in names
        )


def batches_of(to_run: Iterable[PlannedStage]) -> Iterator[Stages]:
    """The stages to run, those that share a loaded model together."""
    groups: dict[str, list[PlannedStage]] = {}
    for planned in to_run:
        groups.setdefault(_shared_key(planned), []).append(planned)
    yield from (tuple(group) for group in groups.values())


def join_adapters(batches: Sequence[Stages], base: Path) -> tuple[Stages, ...]:
    """The batches, the first of adapters on the base being of the base's own, which it follows.

    The base is loaded once for both then, where its backend can put adapters on it afterwards.

    Args:
        batches: as `batches_of` gives them.
        base: the base model's directory.
    """
    for plain in batches:
        if _is_plain(plain[0], base):
            for adapted in batches:
                if _is_adapted(adapted[0], plain[0]):
                    rest = (one for one in batches if one is not adapted)
                    return tuple(plain + adapted if one is plain else one for one in rest)
    return tuple(batches)


def _is_plain(planned: PlannedStage, base: Path) -> bool:
    """Whether a stage scores with the base as it is, on which adapters can be put."""
    if planned.stage.kind != "evaluate" or planned.needs or planned.adapters or planned.is_repeat:
        return False
    backend = extensions.find("backends", planned.stage.use.name).module
    return hasattr(backend, "can_put_on") and bool(backend.can_put_on(base))


def _is_adapted(planned: PlannedStage, plain: PlannedStage) -> bool:
    """Whether a stage scores with adapters on the base that another scores with."""
    return (
        planned.stage.kind == "evaluate"
        and bool(planned.adapters)
        and not planned.is_repeat
        and planned.stage.use == plain.stage.use
        and planned.python == plain.python
    )


def _keeps(planned: PlannedStage) -> bool:
    """Whether what is scored may stand for a later run: a server may be another one by then."""
    return planned.stage.kind == "evaluate" and not planned.is_live


def _shared_key(planned: PlannedStage) -> str:
    """What the stages that share a loaded model have in common."""
    stage = planned.stage
    if stage.kind not in ("evaluate", "read"):
        return stage.key
    # a role stays even where its content is shared: what is compared waits for its reference
    beside = "" if planned.reference is None else planned.reference.name
    shared = {"task": "", "text": "", "reading": "", "reference": beside}
    inputs = {role: shared.get(role, one) for role, one in stage.inputs.items()}
    return stage.model_copy(update={"inputs": inputs, "task": None}).key
