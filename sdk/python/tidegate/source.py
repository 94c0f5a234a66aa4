"""What only a source imports: batches to make, byte streams that the operator lends, requests, the time."""

from dataclasses import dataclass
from typing import Any

from wit_world.imports.clock import now_us
from wit_world.imports.http import Header, Request, Response, send
from wit_world.imports.inputs import Input, entries, open
from wit_world.imports.rows import Builder

from .batch import NewColumn, Values
from .text import TextBuilder

__all__ = [
    "BatchBuilder",
    "Finished",
    "Header",
    "Idle",
    "Input",
    "NewColumn",
    "Request",
    "Response",
    "Rows",
    "entries",
    "now_us",
    "open",
    "send",
]


class BatchBuilder:
    """Makes a batch, column by column; an append appends to its column."""

    def __init__(self, columns: list[NewColumn]) -> None:
        self._builder = Builder(columns)

    def append(self, column: int, values: Values) -> None:
        """Appends values of a column that is not text, over an array of its type."""
        self._builder.push_raw(column, values.values.tobytes(), bytes(values.valid))

    def append_text(self, column: int, text: TextBuilder) -> None:
        """Appends text."""
        self._builder.push_text(column, text.values(), text.valid())

    def finish(self) -> Any:
        """Takes the builder."""
        return Builder.finish(self._builder)


@dataclass
class Rows:
    """Rows, and the cursor behind them: the host commits both or neither."""

    builder: BatchBuilder
    cursor: bytes


@dataclass
class Idle:
    """Nothing now: ask again after so many milliseconds."""

    retry_ms: int


@dataclass
class Finished:
    """Nothing ever again."""
