"""A budget of time for the stages of a run: which come first, and which are not begun any more."""

import re
import time
from collections.abc import Callable, Sequence

from gate.errors import ConfigError
from gate.planning.plan import Plan
from gate.planning.soonest import Stages, expected_seconds, questions, soonest_first
from gate.presentation import duration
from gate.store import Store

Clock = Callable[[], float]
Settled = Callable[[], str | None]
"""Says why the verdict cannot change any more, or None."""

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_FORM = re.compile(r"(\d+(?:\.\d+)?)([smh])")


class Budget:
    """So much wall-clock time for the stages of a run, from now on.

    Judging and writing the reports come after it.

    Attributes:
        seconds: in all.
    """

    def __init__(self, text: str, *, clock: Clock = time.monotonic) -> None:
        """Begin to count.

        Args:
            text: the time until no stage runs any more: '90s', '20m', '1.5h'.
            clock: gives seconds; a test has one of its own.

        Raises:
            ConfigError: the text is not of this form, or nothing.
        """
        found = _FORM.fullmatch(text.strip())
        self.seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
        if not self.seconds:
            raise ConfigError(f"--budget {text}: no time", hint="for example 90s, 20m or 1.5h")
        self._name = f"the budget of {text.strip()}"
        self._clock = clock
        self._end = clock() + self.seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where it is spent."""
        return max(0.0, self._end - self._clock())

    @property
    def spent(self) -> str:
        """That it is spent, as a sentence."""
        return f"{self._name} was spent"

    def short(self, expected: float) -> str | None:
        """Why there is no time for something expected to take so many seconds, or None."""
        if expected <= self.left:
            return None
        return f"about {duration(expected)} of work, and {duration(self.left)} left of {self._name}"


class Pacing:
    """Puts the batches of a round in order, and says which are not to be begun.

    Attributes:
        budget: the time that the batches of all rounds have.
    """

    def __init__(self, budget: Budget, store: Store, ship: Sequence[str]) -> None:
        """Take what decides.

        Args:
            budget: the time that the batches of all rounds have.
            store: knows what stages took before.
            ship: the variants that are up for release.
        """
        self.budget = budget
        self._store = store
        self._ship = ship
        self._expected: dict[str, float] = {}

    def order(self, batches: Sequence[Stages], plan: Plan) -> tuple[Stages, ...]:
        """The batches of a round, those first that can settle the verdict soonest."""
        stages = [one for batch in batches for one in batch]
        self._expected = expected_seconds(stages, self._store.finished())
        return soonest_first(batches, questions(plan, self._ship), self._expected)

    def refusal(self, batch: Stages, settled: Settled) -> str | None:
        """Why a batch is not begun, or None; it is where nobody knows how long it will take."""
        if not self.budget.left:
            return self.budget.spent
        return settled() or self.budget.short(
            sum(self._expected.get(one.stage.key, 0.0) for one in batch)
        )
