"""A cleaner that quarantines rows in which one column is not a whole number."""

from tidegate import Batch, Edit


class Plugin:
    def __init__(self, config: dict) -> None:
        self.column: str = config["column"]

    def clean(self, rows: Batch, edit: Edit) -> None:
        for window in rows.windows():
            values = window.column(self.column).f64().values
            # A missing value reads as 0 and stays.
            edit.keep(window, [value.is_integer() for value in values], "not-whole")
