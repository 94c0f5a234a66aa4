"""Text of many rows in the layout in which it crosses the boundary: n + 1 offsets into UTF-8 bytes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass
class TextValues:
    """Text as it crosses to the host. The bindings take any record with these fields, and not every kind of plugin has theirs."""

    offsets: list[int]
    bytes: bytes


class Text:
    """Text of one column. A row becomes a string only when it is asked for."""

    def __init__(self, offsets: list[int], data: bytes, valid: bytearray) -> None:
        self.offsets = offsets
        self.data = data
        self.valid = valid

    def __len__(self) -> int:
        return max(len(self.offsets) - 1, 0)

    def get(self, row: int) -> str | None:
        """The text of `row`; None when it is missing or outside."""
        if row >= len(self) or (self.valid and not self.valid[row]):
            return None
        return self.data[self.offsets[row] : self.offsets[row + 1]].decode()

    def __iter__(self) -> Iterator[str | None]:
        data = self.data
        texts = (data[start:end].decode() for start, end in pairwise(self.offsets))
        if not self.valid:
            return texts
        return (text if present else None for text, present in zip(texts, self.valid))


class TextBuilder:
    """Text of many rows in the making."""

    def __init__(self, rows: Iterable[str | None] = ()) -> None:
        self._parts: list[bytes] = []
        self._byte_count = 0
        self._offsets = [0]
        self._valid = bytearray()
        for row in rows:
            self.push(row)

    def __len__(self) -> int:
        return len(self._valid)

    def push(self, text: str | None) -> None:
        """Appends a row; None for one without a value."""
        if text is not None:
            part = text.encode()
            self._parts.append(part)
            self._byte_count += len(part)
        self._offsets.append(self._byte_count)
        self._valid.append(text is not None)

    def values(self) -> TextValues:
        """As it crosses to the host."""
        return TextValues(self._offsets, b"".join(self._parts))

    def valid(self) -> bytes:
        """One byte a row, 1 = present; empty when none is missing."""
        return bytes(self._valid) if 0 in self._valid else b""
