"""Rows to read: a view of a batch that the host owns."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .failure import Failure
from .text import Text

# Rows of one window of `Batch.windows`.
WINDOW_ROWS = 65_536


class Batch:
    """Rows that the host lends for one call. Only the columns that are asked for are copied into the plugin."""

    def __init__(self, rows: Any, infos: list[Any] | None = None, first_row: int = 0, row_count: int | None = None) -> None:
        self._rows = rows
        self._infos = rows.columns() if infos is None else infos
        # The number of the first row in the batch that was lent; 0 but in a window.
        self.first_row = first_row
        self.row_count: int = rows.row_count() if row_count is None else row_count

    def columns(self) -> list["Column"]:
        """The columns, in order."""
        return [Column(self._rows, info, index, self.first_row, self.row_count) for index, info in enumerate(self._infos)]

    def column(self, name: str) -> "Column":
        """The column named `name`."""
        for column in self.columns():
            if column.name == name:
                return column
        names = ", ".join(f"`{info.name}`" for info in self._infos)
        raise Failure(f"there is no column `{name}`; the batch has {names}")

    def with_role(self, role: str) -> "Column":
        """The first column whose role is `role`."""
        for column in self.columns():
            if column.role == role:
                return column
        raise Failure(f"the batch has no column with the role `{role}`")

    def windows(self) -> Iterator["Batch"]:
        """The same columns in windows of at most WINDOW_ROWS rows: reading a window at a time bounds the plugin's memory."""
        end = self.first_row + self.row_count
        for start in range(self.first_row, end, WINDOW_ROWS):
            yield Batch(self._rows, self._infos, start, min(WINDOW_ROWS, end - start))


class Column:
    """One column of a batch or of a window of it.

    `dtype` is `f64`, `i64`, `bool`, `utf8`, `timestamp-us`, or a word of a later host; `role` is `id`, `time`, `label`, `feature`,
    `prediction`, `probability:<class>`, …
    """

    def __init__(self, rows: Any, info: Any, index: int, start: int, count: int) -> None:
        self._rows = rows
        self._count = count
        self.index = index
        self.start = start
        self.name: str = info.name
        self.dtype: str = info.dtype
        self.role: str = info.role

    def f64(self) -> "Values":
        """Its values in an `array("d")`."""
        return self._fixed("d", "f64")

    def i64(self) -> "Values":
        """Its values in an `array("q")`: of an `i64` or a `timestamp-us` column."""
        return self._fixed("q", "i64", "timestamp-us")

    def bool(self) -> "Values":
        """Its values in an `array("B")` of 0 and 1."""
        return self._fixed("B", "bool")

    def text(self) -> Text:
        """Its values as text."""
        values = self._rows.read_text(self.index, self.start, self._count)
        return Text(values.offsets, values.bytes, self._valid())

    def _fixed(self, code: str, *dtypes: str) -> "Values":
        if self.dtype not in dtypes:
            raise Failure(f"column `{self.name}` is `{self.dtype}`; expected `{dtypes[0]}`")
        # As bytes: a list of numbers would make an object of each.
        return Values(array(code, self._rows.read_raw(self.index, self.start, self._count)), self._valid())

    def _valid(self) -> bytearray:
        return bytearray(self._rows.read_valid(self.index, self.start, self._count))


@dataclass
class NewColumn:
    """A column to be made."""

    name: str
    dtype: str
    role: str = "feature"
    nullable: bool = True


class Values:
    """Values of one column.

    `values` is an array in which a missing value reads as 0; `valid` has one byte a row, or is empty when none is missing.
    """

    def __init__(self, values: array, valid: bytearray | None = None) -> None:
        self.values = values
        self.valid = bytearray() if valid is None else valid

    def __len__(self) -> int:
        return len(self.values)

    def is_present(self, row: int) -> bool:
        """Whether `row` has a value."""
        return row < len(self.values) and (not self.valid or self.valid[row] != 0)

    def get(self, row: int) -> Any:
        """The value of `row`; None when it is missing or outside."""
        return self.values[row] if self.is_present(row) else None

    def set(self, row: int, value: Any) -> None:
        """Replaces the value of `row`; None makes it missing."""
        if value is not None:
            self.values[row] = value
            if self.valid:
                self.valid[row] = 1
            return
        if not self.valid:
            self.valid = bytearray(b"\x01") * len(self.values)
        self.valid[row] = 0

    def __iter__(self) -> Iterator[Any]:
        if not self.valid:
            return iter(self.values)
        return (value if present else None for value, present in zip(self.values, self.valid))
