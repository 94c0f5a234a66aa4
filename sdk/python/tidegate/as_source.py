"""A class as the source of its component: `open(cursor)`, which returns an object with `next(rows_max, bytes_max)`."""

from typing import Any

from wit_world.exports.source import Pull_Finished, Pull_Idle, Pull_Rows, Pulled

from .failure import guarded
from .lifecycle import Hosted, lifecycle
from .source import Finished, Idle, Rows


def exported(plugin: type) -> tuple[type, type, type]:
    hosted = Hosted(plugin)

    class Reader:
        def __init__(self, reader: Any) -> None:
            self._reader = reader

        @guarded
        def next(self, rows_max: int, bytes_max: int) -> Any:
            match self._reader.next(rows_max, bytes_max):
                case Rows(builder, cursor):
                    return Pull_Rows(Pulled(builder.finish(), cursor))
                case Idle(retry_ms):
                    return Pull_Idle(retry_ms)
                case Finished():
                    return Pull_Finished()
                case other:
                    raise TypeError(f"`next` returned {other!r}; expected `Rows`, `Idle` or `Finished`")

    class Source:
        @guarded
        def open(self, cursor: bytes | None) -> Reader:
            return Reader(hosted.plugin().open(cursor))

    return lifecycle(hosted), Source, Reader
