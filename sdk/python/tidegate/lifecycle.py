"""From a class to an instance that the host configures once, first."""

import json
from typing import Any

from componentize_py_types import Err
from wit_world.exports.lifecycle import Issue

from .failure import Failure, Issues, guarded, where
from . import log


class Hosted:
    """A plugin's class and the one instance that it makes."""

    def __init__(self, plugin: type) -> None:
        self._class = plugin
        self._made: Any = None

    def plugin(self) -> Any:
        """The configured plugin."""
        if self._made is None:
            raise Failure("the plugin was called before `configure`")
        return self._made

    def configure(self, config: str) -> None:
        """Makes the plugin; an error that is not about one key is told about the whole."""
        try:
            if self._made is not None:
                raise Issues().push("", "the plugin was configured already")
            self._made = self._class(json.loads(config))
        except Issues as issues:
            raise Err([Issue(pointer, message) for pointer, message in issues.list]) from None
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            log.error(text + where(error))
            raise Err([Issue("", text)]) from None


def lifecycle(hosted: Hosted) -> type:
    """The class that the host calls `configure` and `probe` of."""

    class Lifecycle:
        def configure(self, config: str) -> None:
            hosted.configure(config)

        @guarded
        def probe(self) -> None:
            probe = getattr(hosted.plugin(), "probe", None)
            if probe is not None:
                probe()

    return Lifecycle
