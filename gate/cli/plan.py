"""gate plan: what a run would do, and whether its checks can pass at all."""

import sys

from gate.cli.options import DEFAULT_CONFIG, DEFAULT_STORE, ConfigPath, StorePath


def plan(config: ConfigPath = DEFAULT_CONFIG, store: StorePath = DEFAULT_STORE) -> None:
    """Print the stages, cached or to run and why, the documents, and what each check needs.

    No model is loaded and no stage is run.
    """
    from gate.cli.plan_text import describe
    from gate.config import load_config
    from gate.runner import locate_sources, look_up
    from gate.store import Store

    loaded = load_config(config)
    place = Store(store)
    sources = locate_sources(loaded, place)
    todo = look_up(loaded, sources, place)
    sys.stdout.write(describe(loaded, todo, place, sources=sources))
