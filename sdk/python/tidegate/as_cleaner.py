"""A class as the cleaner of its component: `clean(rows, edit)`."""

from typing import Any

from .batch import Batch
from .edit import Edit
from .failure import guarded
from .lifecycle import Hosted, lifecycle


def exported(plugin: type) -> tuple[type, type]:
    hosted = Hosted(plugin)

    class Cleaner:
        @guarded
        def clean(self, rows: Any, edit: Any) -> None:
            hosted.plugin().clean(Batch(rows), Edit(edit))

    return lifecycle(hosted), Cleaner
