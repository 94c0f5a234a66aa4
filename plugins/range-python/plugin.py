"""Cleaner `range` in Python: clips, drops or blanks values outside a range, as the one in Rust does.

Clipping and dropping are done by the host's kernels. Blanking reads a window of values at a time and writes only windows in which
something changed. A missing value is never outside.
"""

from math import inf

from tidegate import Batch, Column, Edit, Failure, Issues

ALL = "*"
REASON = "out-of-range"
NUMERIC = ("f64", "i64")


class Plugin:
    def __init__(self, config: dict) -> None:
        columns = config["columns"]
        issues = Issues()
        if not columns:
            issues.push("/columns", "no column is named; `*` stands for all numeric features")
        for name, range_ in columns.items():
            low, high = range_.get("low"), range_.get("high")
            if low is None and high is None:
                issues.push(Issues.pointer("columns", name), "a range needs `low`, `high` or both")
            elif low is not None and high is not None and low > high:
                issues.push(Issues.pointer("columns", name), f"`low` is {low}, above `high`, {high}")
        issues.raise_if_any()
        self.columns = dict(sorted(columns.items()))

    def clean(self, rows: Batch, edit: Edit) -> None:
        for name, range_ in self.columns.items():
            if name == ALL:
                continue
            column = rows.column(name)
            if column.dtype not in NUMERIC:
                raise Failure(f"column `{name}` is `{column.dtype}`; expected `f64` or `i64`")
            apply(range_, rows, column, edit)
        rest = self.columns.get(ALL)
        if rest is None:
            return
        for column in rows.columns():
            if column.role == "feature" and column.dtype in NUMERIC and column.name not in self.columns:
                apply(rest, rows, column, edit)


def apply(range_: dict, rows: Batch, column: Column, edit: Edit) -> None:
    low, high = range_.get("low", -inf), range_.get("high", inf)
    match range_["outside"]:
        case "clip":
            edit.clip(column, low, high)
        case "drop-row":
            edit.keep_between(column, low, high, REASON)
        case "null":
            for window in rows.windows():
                blank(window.column(column.name), low, high, edit)


def blank(column: Column, low: float, high: float, edit: Edit) -> None:
    """Makes every value of the window outside `low..=high` missing."""
    is_whole = column.dtype == "i64"
    cells = column.i64() if is_whole else column.f64()
    # An integer is compared as the floating-point number next to it, because the bounds are floating-point numbers.
    values = map(float, cells.values) if is_whole else cells.values
    outside = [row for row, value in enumerate(values) if (value < low or value > high) and cells.is_present(row)]
    for row in outside:
        cells.set(row, None)
    if outside:
        edit.write(column, cells)
