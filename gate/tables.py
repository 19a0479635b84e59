"""Many records of one kind held as columns, each record made anew when it is asked for."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast, get_args, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Kind = TypeVar("Kind", bound=BaseModel)
Places = NDArray[np.bool_] | NDArray[np.intp] | slice
"""Which records of a table: a mask, their places from 0, or a range."""
Known = dict[Hashable, Any]
"""What several tables may have in common, held once for all that are made with it."""

_BLOCK = 4_096
"""Records that are made at once while a table is read through."""


class Rows:
    """For each record a row of numbers, rows of different lengths; all of them in one array."""

    def __init__(self, numbers: NDArray[np.float64], ends: NDArray[np.intp]) -> None:
        """The numbers of all rows, one row after the other, and where each row ends."""
        self.numbers, self.ends = numbers, ends

    @classmethod
    def of(cls, rows: Sequence[tuple[float, ...]]) -> "Rows":
        """Rows from tuples."""
        ends = np.cumsum(np.fromiter(map(len, rows), np.intp, len(rows)))
        return cls(np.fromiter(chain.from_iterable(rows), np.float64), ends)

    @property
    def lengths(self) -> NDArray[np.intp]:
        """How many numbers each row has."""
        return np.diff(self.ends, prepend=0)

    def matrix(self) -> NDArray[np.float64]:
        """The rows as [records, k].

        Raises:
            ValueError: they are not of one length.
        """
        length, *others = set(self.lengths.tolist()) or {0}
        if others:
            raise ValueError("rows of different lengths are no matrix")
        return self.numbers.reshape(len(self), length)

    def tolist(self) -> list[tuple[float, ...]]:
        """The rows as tuples."""
        numbers, ends = self.numbers.tolist(), self.ends.tolist()
        return [tuple(numbers[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def __getitem__(self, places: Places) -> "Rows":
        """Some of the rows."""
        if isinstance(places, slice):
            start, stop, step = places.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step)]
            first = int(self.ends[start - 1]) if start else 0
            ends = self.ends[start:stop]
            return Rows(self.numbers[first : int(ends[-1]) if len(ends) else first], ends - first)
        lengths = self.lengths[places]
        ends = np.cumsum(lengths)
        shifts = self.ends[places] - ends
        return Rows(self.numbers[np.arange(lengths.sum()) + np.repeat(shifts, lengths)], ends)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.ends)


Column = NDArray[Any] | Rows

_TYPES: dict[Any, Callable[[Sequence[Any]], Column]] = {
    int: lambda values: np.array(values, np.int64),
    float: lambda values: np.array(values, np.float64),
    tuple[float, ...]: Rows.of,
}
"""How the values of a field are held; others are objects, equal ones once."""


class Table(Sequence[Kind], Generic[Kind]):
    """Records of one kind in order, as a tuple of them is, in a tenth of the memory.

    A field of a record's kind holds it as `Table[Kind]`. It is read and written as a tuple is.
    """

    def __init__(
        self, kind: type[Kind], columns: Mapping[str, Column], given: NDArray[np.object_]
    ) -> None:
        """As `Table.of` makes it.

        Args:
            kind: what the records are.
            columns: {field: its value in each record}.
            given: for each record, the fields that were not left at their default.
        """
        self._kind, self._columns, self._given = kind, columns, given

    @classmethod
    def of(
        cls, kind: type[Kind], records: Iterable[Kind], *, known: Known | None = None
    ) -> "Table[Kind]":
        """A table of records; one that is a table already stays the same.

        Args:
            kind: what the records are.
            records: in their order.
            known: texts and the like that are held already; what is new is added.

        Raises:
            ValueError: a whole number is too large to be held.
        """
        if isinstance(records, Table):
            return records
        known = {} if known is None else known
        made, fields = list(records), kind.model_fields
        values = list(zip(*map(attrgetter(*fields), made), strict=True)) or [()] * len(fields)
        sets = (one.model_fields_set for one in made)
        given = (known.setdefault(frozenset(one), one) for one in sets)
        try:
            columns = {
                name: _column(field.annotation, column, known)
                for (name, field), column in zip(fields.items(), values, strict=True)
            }
        except OverflowError as error:
            raise ValueError("a whole number is too large") from error
        return cls(kind, columns, np.fromiter(given, object, len(made)))

    @classmethod
    def joined(cls, kind: type[Kind], parts: Sequence["Table[Kind]"]) -> "Table[Kind]":
        """Tables one after the other as one."""
        if not parts:
            return cls.of(kind, ())
        columns = {name: _joined([one.column(name) for one in parts]) for name in kind.model_fields}
        return cls(kind, columns, np.concatenate([one._given for one in parts]))

    def column(self, name: str) -> Any:
        """A field's value in each record: an array, or `Rows` where a value is several numbers.

        Texts are objects in the array. Nobody may write into it.
        """
        return self._columns[name]

    def take(self, places: Places) -> "Table[Kind]":
        """Some of the records, in the order of the places."""
        columns = {name: column[places] for name, column in self._columns.items()}
        return Table(self._kind, columns, self._given[places])

    def sharing(self, other: "Table[Kind]") -> "Table[Kind]":
        """The same table, holding what is the same to the bit in another table once for both."""
        columns = {
            name: there if _is_same(there := other.column(name), column) else column
            for name, column in self._columns.items()
        }
        given = other._given if _is_same(other._given, self._given) else self._given
        return Table(self._kind, columns, given)

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._given)

    @overload
    def __getitem__(self, place: int) -> Kind: ...

    @overload
    def __getitem__(self, place: slice) -> "Table[Kind]": ...

    def __getitem__(self, place: int | slice) -> "Kind | Table[Kind]":
        """The record at a place, or a table of those in a range."""
        if isinstance(place, slice):
            return self.take(place)
        at = range(len(self))[place]
        return next(iter(self.take(slice(at, at + 1))))

    def __iter__(self) -> Iterator[Kind]:
        """Each record, made when it is its turn."""
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            columns = [column[block].tolist() for column in self._columns.values()]
            for given, *values in zip(self._given[block].tolist(), *columns, strict=True):
                fields = dict(zip(self._columns, values, strict=True))
                yield self._kind.model_construct(given, **fields)

    def __eq__(self, other: object) -> bool:
        """Whether the other is a table of equal records."""
        if not isinstance(other, Table):
            return NotImplemented
        return self._kind is other._kind and all(
            _is_equal(column, other._columns[name]) for name, column in self._columns.items()
        )

    def __hash__(self) -> int:
        """Equal for tables of equal records."""
        return hash((self._kind, len(self)))

    def __repr__(self) -> str:
        """As that of a tuple of the records."""
        return repr(tuple(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read and written as a tuple of the records is."""
        (kind,) = get_args(source)
        records = handler.generate_schema(tuple[kind, ...])  # type: ignore[valid-type]  # a value

        def read(value: Any, validate: Callable[[Any], Iterable[Kind]]) -> "Table[Kind]":
            return value if isinstance(value, Table) else cls.of(kind, validate(value))

        return core_schema.no_info_wrap_validator_function(
            read,
            records,
            serialization=core_schema.plain_serializer_function_ser_schema(
                tuple, return_schema=records
            ),
        )


class ById(Mapping[int, Kind]):
    """The records of a table by their `id`, made when they are asked for."""

    def __init__(self, table: Table[Kind]) -> None:
        """Of several records with one id the last counts."""
        self.table = table
        self._order = np.argsort(table.column("id"), kind="stable")
        self._ids = table.column("id")[self._order]

    def __getitem__(self, number: int) -> Kind:
        """The record with an id."""
        at = int(np.searchsorted(self._ids, number, side="right")) - 1
        if at < 0 or self._ids[at] != number:
            raise KeyError(number)
        return self.table[int(self._order[at])]

    def __iter__(self) -> Iterator[int]:
        """The ids, each once, in the order of their first record."""
        return iter(dict.fromkeys(self.table.column("id").tolist()))

    def __len__(self) -> int:
        """How many ids there are."""
        return len(np.unique(self._ids))


def _column(kind: Any, values: Sequence[Any], known: Known) -> Column:
    if kind in _TYPES:
        return _TYPES[kind](values)
    return np.fromiter((known.setdefault(one, one) for one in values), object, len(values))


def _joined(parts: Sequence[Column]) -> Column:
    if isinstance(parts[0], Rows):
        rows = cast("Sequence[Rows]", parts)
        numbers = np.concatenate([one.numbers for one in rows])
        return Rows(numbers, np.cumsum(np.concatenate([one.lengths for one in rows])))
    return np.concatenate(cast("Sequence[NDArray[Any]]", parts))


def _is_equal(one: Column, other: Column) -> bool:
    if isinstance(one, Rows) and isinstance(other, Rows):
        return _is_equal(one.ends, other.ends) and _is_equal(one.numbers, other.numbers)
    return one is other or np.array_equal(cast("Any", one), cast("Any", other))


def _is_same(one: Column, other: Column) -> bool:
    """Whether both are equal, numbers to the bit: 0.0 is not -0.0 here."""
    if isinstance(one, Rows) and isinstance(other, Rows):
        return _is_same(one.ends, other.ends) and _is_same(one.numbers, other.numbers)
    if isinstance(one, np.ndarray) and one.dtype == np.float64:
        one, other = one.view(np.int64), cast("NDArray[Any]", other).view(np.int64)
    return _is_equal(one, other)
