"""How a batch gets to another machine and back: over a folder that both see."""

from pathlib import Path
from typing import Protocol

from gate.distributing.attempts import adopt, clear, own_folders
from gate.distributing.parcels import Parcel
from gate.distributing.work import Told
from gate.jobs import Batch, Job


class Route(Protocol):
    """A way between this machine and the others."""

    def send(self, batch: Batch, log: Path, *, name: str) -> Parcel:
        """A try of a batch, ready for a machine.

        Args:
            batch: what to do.
            log: where what libraries print goes.
            name: of the try; no other one of these jobs has it.

        Raises:
            StoreError: what it reads cannot be brought to where others see it.
        """

    def adopt(self, job: Job, parcel: Parcel, told: Told) -> None:
        """Put what a try wrote where the job wanted it.

        Raises:
            StoreError: it cannot be.
        """

    def end(self, parcel: Parcel, *, is_lost: bool) -> None:
        """Take that a try is over; whether its machine died of it.

        Raises:
            StoreError: what it left cannot be brought here.
        """


class SharedFolder:
    """The store lies on a folder that all machines see: nothing is copied."""

    def send(self, batch: Batch, log: Path, *, name: str) -> Parcel:
        """The batch with output folders of its own, which are made."""
        tried = own_folders(batch, name)
        return Parcel(batch=tried, log=str(log), folder=str(Path.cwd()))

    def adopt(self, job: Job, parcel: Parcel, told: Told) -> None:
        """Put what a try wrote where the job wanted it."""
        key = job.stage.key
        tried = next(one for one in parcel.batch.jobs if one.stage.key == key)
        adopt(job, tried, told.files)

    def end(self, parcel: Parcel, *, is_lost: bool) -> None:
        """Remove what nobody wants of what it wrote."""
        del is_lost
        clear(parcel.batch)
