"""Messages to the operator, under the plugin's name. `print` ends up here too."""

import builtins

from wit_world.imports import log as host


def error(message: object) -> None:
    host.write(host.Level.ERROR, str(message))


def warn(message: object) -> None:
    host.write(host.Level.WARN, str(message))


def info(message: object) -> None:
    host.write(host.Level.INFO, str(message))


def debug(message: object) -> None:
    host.write(host.Level.DEBUG, str(message))


def trace(message: object) -> None:
    host.write(host.Level.TRACE, str(message))


def _print(*words: object, sep: str | None = " ", end: str | None = None, file: object = None, flush: bool = False) -> None:
    info((" " if sep is None else sep).join(map(str, words)))


builtins.print = _print
