"""The command `gate`: one file a command; no rule of the gate lives here."""

import gc
import signal
import sys
import traceback
from typing import NoReturn

import typer

from gate.cli import (
    audit,
    compare,
    doctor,
    env,
    history,
    init,
    keygen,
    merge,
    plan,
    promote,
    report,
    reproduce,
    rollback,
    run,
    schema,
    sign,
    store,
    verify,
)
from gate.errors import GateError, Interrupted

app = typer.Typer(
    name="gate",
    help="The release gate between fine-tuning a language model and serving it.",
    epilog="Exit status: 0 promote, 1 block, 2 wrong config, 3 could not finish, 4 inconclusive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("merge")(merge.merge)
app.command("audit")(audit.audit)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("history")(history.history)
app.command("schema")(schema.schema)
app.command("sign")(sign.sign)
app.command("promote")(promote.promote)
app.command("reproduce")(reproduce.reproduce)
app.command("rollback")(rollback.rollback)
app.command("keygen")(keygen.keygen)
app.command("verify")(verify.verify)
app.add_typer(store.app, name="store")
app.add_typer(env.app, name="env")


_NEW_OBJECTS = 100_000
"""Objects made before Python looks for cycles among them; its own number is 700."""


def main() -> NoReturn:
    """Run the command line; every problem ends as a sentence on stderr and its exit status."""
    gc.set_threshold(_NEW_OBJECTS)  # imports and records make many that stay
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _interrupt)
    try:
        app()
    except GateError as error:
        sys.stderr.write(f"gate: {error}\n")
        sys.exit(error.exit_status)
    except Exception:  # noqa: BLE001 (process edge: status 1 would say that a check failed)
        traceback.print_exc()
        sys.stderr.write("gate: this is a fault of the gate itself; nothing was judged\n")
        sys.exit(GateError.exit_status)
    finally:
        gc.freeze()  # the process ends and gives all back: to look for cycles first takes 0.2 s
    sys.exit(0)


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise Interrupted("stopped", hint="run the same command again: finished stages are kept")
