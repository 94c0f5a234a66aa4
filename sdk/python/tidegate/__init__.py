"""Write Tidegate plugins in Python: what a plugin of any kind imports.

A plugin is the class `Plugin` in `plugin.py`. `tidegate plugin build` puts this package beside it and exports the class under the
names of the interface, so that a plugin never sees generated bindings. Rows stay with the host: a `Batch` is read column by column
into arrays, an `Edit` is asked for, a `Report` is told.

Import at the top of a module: what is imported later is not there, because the component is a snapshot of an interpreter that has
loaded the plugin, without a file system behind it.
"""

from . import log
from .batch import WINDOW_ROWS, Batch, Column, Values
from .edit import Edit
from .failure import Failure, Issues
from .report import Metric, Report
from .text import Text, TextBuilder

__all__ = [
    "WINDOW_ROWS",
    "Batch",
    "Column",
    "Edit",
    "Failure",
    "Issues",
    "Metric",
    "Report",
    "Text",
    "TextBuilder",
    "Values",
    "log",
]
