"""A source that counts from 1 to a configured number. Its cursor is the last number it returned, as text."""

from array import array

from tidegate import Issues, Values
from tidegate.source import BatchBuilder, Finished, NewColumn, Rows


class Plugin:
    def __init__(self, config: dict) -> None:
        self.last: int = config["last"]
        if self.last < 1:
            raise Issues().push("/last", f"`last` is {self.last}; expected at least 1")

    def open(self, cursor: bytes | None) -> "Counting":
        return Counting(0 if cursor is None else int(cursor), self.last)


class Counting:
    def __init__(self, done: int, last: int) -> None:
        self.done = done
        self.last = last

    def next(self, rows_max: int, bytes_max: int) -> Rows | Finished:
        if self.done == self.last:
            return Finished()
        end = min(self.last, self.done + rows_max)
        builder = BatchBuilder([NewColumn("number", "i64", nullable=False)])
        builder.append(0, Values(array("q", range(self.done + 1, end + 1))))
        self.done = end
        return Rows(builder, str(end).encode())
