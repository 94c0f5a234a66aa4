"""How a plugin says that it could not do what it was asked, and how whatever it raises becomes that."""

import functools
import traceback
from collections.abc import Callable
from typing import Any

from componentize_py_types import Err
from wit_world.imports.failures import Failure as Lowered

from . import log

# Added to the code of a refusal of the host, so that it does not look like a code of the plugin's own.
HOST_CODES = 60_000


class Failure(Exception):
    """The plugin could not do what it was asked. Raise it.

    `message` says what was being done to which thing, what was found and what was expected; `code` is the plugin's own number;
    `retry_after_ms` says when a retry may help.
    """

    def __init__(self, message: str, code: int = 0, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after_ms = retry_after_ms


class Issues(Exception):
    """Everything wrong with a configuration. Collect with `push`, then `raise_if_any`."""

    def __init__(self) -> None:
        super().__init__("the configuration has issues")
        self.list: list[tuple[str, str]] = []

    def push(self, pointer: str, message: str) -> "Issues":
        """One thing wrong; `pointer` is a JSON pointer, "" for the whole."""
        self.list.append((pointer, message))
        return self

    def raise_if_any(self) -> None:
        """Raises itself when there is an issue."""
        if self.list:
            raise self

    @staticmethod
    def pointer(*keys: str) -> str:
        """A JSON pointer made of keys, escaped as RFC 6901 says."""
        return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def lowered(error: BaseException) -> Lowered:
    """A failure as it crosses to the host. An exception that nobody raised on purpose leaves its traceback in the log."""
    if isinstance(error, Failure):
        return Lowered(error.code, error.message, error.retry_after_ms is not None, error.retry_after_ms)
    if isinstance(error, Err) and hasattr(error.value, "message"):
        refused = error.value
        code = min(HOST_CODES + refused.code, 65_535)
        return Lowered(code, refused.message, getattr(refused, "retryable", False), getattr(refused, "retry_after_ms", None))
    text = f"{type(error).__name__}: {error}"
    log.error(text + where(error))
    return Lowered(0, text, False, None)


def where(error: BaseException) -> str:
    """The lines at which `error` passed. Not by `traceback.format_exc`, which opens source files that are not there."""
    frames = traceback.walk_tb(error.__traceback__)
    return "".join(f"\n  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}" for frame, line in frames)


def guarded(step: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails with what it raises, where an uncaught exception would stop the whole instance."""

    @functools.wraps(step)
    def run(*given: Any) -> Any:
        try:
            return step(*given)
        except Exception as error:
            raise Err(lowered(error)) from None

    return run
