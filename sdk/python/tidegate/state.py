"""What a cleaner keeps from batch to batch: keys and values that the host lends, for plugins whose manifest says `state = "keyed"`.

What a call changes is kept together with the rows that it cleaned, or not at all: a call that raises, or is made again, finds what was
there before. A plugin that remembers in a variable instead loses it with the instance. Keys and values are bytes; a string stands for
its UTF-8. Whoever has a key a row asks for all of them at once.
"""

import json
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

from wit_world.imports import state as host


def get(key: str | bytes) -> bytes | None:
    """The value of a key; None where there is none."""
    return host.get(_bytes(key))


def set(key: str | bytes, value: str | bytes) -> None:
    """Sets the value of a key."""
    host.set(_bytes(key), _bytes(value))


def remove(key: str | bytes) -> None:
    """Removes a key; nothing happens where it is not there."""
    host.remove(_bytes(key))


def read(key: str | bytes) -> Any:
    """The value of a key, as `write` wrote it; None where there is none."""
    value = get(key)
    return None if value is None else json.loads(value)


def write(key: str | bytes, value: Any) -> None:
    """Sets the value of a key to anything that can be JSON."""
    set(key, json.dumps(value))


def get_many(keys: Iterable[str | bytes]) -> list[bytes | None]:
    """The value of each key; None for one that is not there."""
    found = host.get_many(_joined(keys))
    values = (found.values.bytes[start:end] for start, end in pairwise(found.values.offsets))
    return [value if present else None for present, value in zip(found.present, values)]


def set_many(keys: Iterable[str | bytes], values: Iterable[str | bytes]) -> None:
    """Sets the value of each key, as many values as keys; of a key that comes twice the last value stays."""
    host.set_many(_joined(keys), _joined(values))


def remove_many(keys: Iterable[str | bytes]) -> None:
    """Removes each key."""
    host.remove_many(_joined(keys))


def add_many(keys: Iterable[str | bytes]) -> list[bool]:
    """Makes an entry with an empty value for each key that has none.

    True for each that had none, neither in the state nor earlier among `keys`.
    """
    return [added == 1 for added in host.add_many(_joined(keys))]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _joined(entries: Iterable[str | bytes]) -> Any:
    """Keys or values as they cross to the host: n + 1 offsets into bytes."""
    parts = [_bytes(entry) for entry in entries]
    return host.ByteValues([0, *accumulate(map(len, parts))], b"".join(parts))
