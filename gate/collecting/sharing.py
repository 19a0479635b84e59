"""One run of a gate for all tests of a session, whichever of its processes asks for it first."""

from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from gate.collecting.outline import Outline
from gate.digest import digest_json
from gate.errors import GateError
from gate.records import Record
from gate.reporting.report_files import read_record
from gate.running.filling import Watcher
from gate.running.runner import run_gate
from gate.store import Store
from gate.terms import Noun


class RunNote(Noun):
    """What became of a run, for the other processes of the session.

    Attributes:
        gate: its gate.yaml.
        directory: where its record is; None where it did not finish.
        problem: why it did not.
        hint: what to do about it.
    """

    gate: str
    directory: str | None = None
    problem: str = ""
    hint: str | None = None


class SharedRun:
    """A gate's run: made by who asks first, waited for by others, read by all."""

    def __init__(
        self, outline: Outline, folder: Path, *, store: Path, reports: Path, watcher: Watcher
    ) -> None:
        """Nothing runs before the record is asked for.

        Args:
            outline: the gate.
            folder: that the processes of the session share.
            store: where stages are kept.
            reports: where <release>/<run>/ is written.
            watcher: is told what happens, if it is this process that runs.
        """
        self._outline = outline
        self._file = folder / f"{digest_json(str(outline.config.path))[:16]}.json"
        self._store = store
        self._reports = reports
        self._watcher = watcher
        self._ended: Record | GateError | None = None

    def record(self) -> Record:
        """The record of the one run.

        Raises:
            GateError: it could not be made; asking again does not try again.
        """
        if self._ended is None:
            with FileLock(self._file.with_suffix(".lock")):
                self._ended = self._told() or self._run()
        if isinstance(self._ended, GateError):
            raise self._ended
        return self._ended

    def _told(self) -> Record | GateError | None:
        """What another process found; None where this one is the first."""
        if not self._file.exists():
            return None
        note = RunNote.model_validate_json(self._file.read_bytes())
        if note.directory is None:
            return GateError(note.problem, hint=note.hint)
        return read_record(Path(note.directory))

    def _run(self) -> Record | GateError:
        gate = str(self._outline.config.path)
        try:
            finished = run_gate(
                self._outline.config,
                store=Store(self._store),
                reports=self._reports,
                watcher=self._watcher,
            )
        except GateError as error:
            self._write(RunNote(gate=gate, problem=error.problem, hint=error.hint))
            return error
        self._write(RunNote(gate=gate, directory=str(finished.directory)))
        return finished.record

    def _write(self, note: RunNote) -> None:
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(note.model_dump_json(), encoding="utf-8")
        fresh.replace(self._file)


def summary_lines(folder: Path) -> Iterator[str]:
    """A line for each run that a session has made: its verdict, and where its report is."""
    for file in sorted(folder.glob("*.json")):
        note = RunNote.model_validate_json(file.read_bytes())
        if note.directory is None:
            yield f"{note.gate}: could not be run: {note.problem}"
        else:
            record = read_record(Path(note.directory))
            report = Path(note.directory) / "report.html"
            yield f"{record.release}: {record.verdict.upper()}; report: {report}"
