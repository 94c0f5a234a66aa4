"""Changes to a batch: asked for by a cleaner, made by the host when the call has succeeded."""

from collections.abc import Sequence
from typing import Any

from .batch import Batch, Column, NewColumn, Values
from .failure import Failure
from .text import TextBuilder


class Edit:
    """The edits of one batch. They apply together when `clean` returns and are dropped when it raises.

    `clip`, `fill_missing`, `keep_present` and `keep_between` run in the host at full speed and touch the whole column, also when it
    was taken from a window; `write…` and `keep` act on the window's rows.
    """

    def __init__(self, editor: Any) -> None:
        self._editor = editor

    def clip(self, column: Column, low: float, high: float) -> None:
        """Values below `low` become `low`, above `high` become `high`; a missing value stays. A bound may be infinite."""
        self._editor.clip(column.index, low, high)

    def fill_missing(self, column: Column, value: float) -> None:
        """Nulls and NaNs become `value`."""
        self._editor.fill_missing(column.index, value)

    def keep_present(self, column: Column, reason: str) -> None:
        """Rows in which the column is null or NaN are quarantined under `reason`, one that the manifest lists."""
        self._editor.keep_present(column.index, reason)

    def keep_between(self, column: Column, low: float, high: float, reason: str) -> None:
        """Rows in which the column is below `low` or above `high` are quarantined under `reason`; a missing value stays."""
        self._editor.keep_between(column.index, low, high, reason)

    def keep(self, rows: Batch, mask: Sequence[bool], reason: str) -> None:
        """Rows of `rows` whose entry in `mask` is false are quarantined under `reason`; masks of several calls are intersected."""
        if len(mask) != rows.row_count:
            raise Failure(f"the mask has {len(mask)} entries for {rows.row_count} rows")
        self._editor.keep(rows.first_row, bytes(mask), reason)

    def write(self, column: Column, values: Values) -> None:
        """Overwrites the rows of `column`, which is not text, with `values` over an array of its type."""
        self._editor.write_raw(column.index, column.start, values.values.tobytes(), bytes(values.valid))

    def write_text(self, column: Column, text: TextBuilder) -> None:
        """Overwrites the rows of `column` with text."""
        self._editor.write_text(column.index, column.start, text.values(), text.valid())

    def add_f64(self, name: str, values: Values) -> None:
        """Adds a column, one value a row of the whole batch, where the host lets this plugin do so."""
        index = self._editor.add_column(NewColumn(name, "f64", nullable=bool(values.valid)))
        self._editor.write_raw(index, 0, values.values.tobytes(), bytes(values.valid))

    def drop_column(self, column: Column) -> None:
        """Takes the column away, where the host lets this plugin do so."""
        self._editor.drop_column(column.index)
