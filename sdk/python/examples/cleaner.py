"""A cleaner that quarantines rows in which one column is not a whole number."""

from math import isfinite

from tidegate import Batch, Edit, Issues


class Plugin:
    def __init__(self, config: dict) -> None:
        self.column: str = config["column"]
        if not self.column:
            raise Issues().push("/column", "the column has no name")

    def clean(self, rows: Batch, edit: Edit) -> None:
        for window in rows.windows():
            values = window.column(self.column).f64().values
            # A missing value reads as 0 and stays; so does NaN, which is for another cleaner to judge.
            whole = [value.is_integer() if isfinite(value) else value != value for value in values]
            edit.keep(window, whole, "not-whole")
