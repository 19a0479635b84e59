"""One run, as a line: locate, plan, fill the store, judge, record, report."""

from pathlib import Path
from typing import NamedTuple

from gate.configuring.config import GateConfig
from gate.jobs import RunBatch
from gate.planning.past_runs import last_release, past_runs
from gate.planning.released import find_released
from gate.planning.todo import locate_sources
from gate.records import Record
from gate.reporting.report_files import write_run
from gate.running.budget import Budget, Pacing
from gate.running.filling import Filling, Watcher
from gate.running.places import place_of
from gate.running.recording import make_record
from gate.running.rounds import fill_in_rounds
from gate.store import Store


class FinishedRun(NamedTuple):
    """A record and the directory its reports were written to."""

    record: Record
    directory: Path


def run_gate(
    config: GateConfig,
    *,
    store: Store,
    reports: Path,
    watcher: Watcher | None = None,
    run_batch: RunBatch | None = None,
    budget: Budget | None = None,
) -> FinishedRun:
    """Run whatever the store does not have, judge every check, and write the reports.

    Args:
        config: what `load_config` gave.
        store: where stage outputs are kept.
        reports: the folder in which <release>/<run>/ is made.
        watcher: is told what happens.
        run_batch: how a batch is run; None for a child process.
        budget: the time that the stages have; with one, those come first that can settle the
            verdict soonest, and none is run once it is settled.

    Raises:
        ConfigError: the input is wrong; nothing was judged.
        StoreError: the store cannot be used.
        KeyboardInterrupt: the user stopped it; finished stages are kept.
    """
    watcher = watcher or Watcher()
    compared = find_released(config, reports)
    with store.lock(on_wait=watcher.say):
        sources = locate_sources(config, store)
        for source in (sources.base, *sources.adapters.values()):
            store.remember(source)
        with place_of(config, sources, store, run_batch=run_batch) as place:
            filling = Filling(
                config,
                sources,
                store=store,
                watcher=watcher,
                run_batch=place.run_batch,
                pacing=Pacing(budget, store, config.ship) if budget else None,
                slots=place.slots,
            )
            todo, judgement = fill_in_rounds(
                config,
                sources,
                store=store,
                filling=filling,
                watcher=watcher,
                released=compared,
            )
        filling.clear_journals()
        record = make_record(
            config,
            sources,
            todo,
            store,
            judgement=judgement,
            failures=filling.failures,
            released=last_release(past_runs(reports), config.candidate),
            compared=compared,
            budget_seconds=budget.seconds if budget else None,
        )
        return FinishedRun(record, write_run(record, reports))
