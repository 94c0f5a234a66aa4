"""What an evaluator measured, told row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Metric:
    """One metric that an evaluator reports: its name in gate rules, its unit such as `1` or `ms`, whether more is better."""

    name: str
    unit: str
    higher_is_better: bool


class Report:
    """The terms of every metric. Each list has one entry a row of the scored batch, in its order; NaN = the row does not count."""

    def __init__(self, report: Any) -> None:
        self._report = report

    def mean(self, metric: str, values: Sequence[float]) -> None:
        """The metric is the mean of `values`."""
        self._report.mean(metric, values)

    def ratio(self, metric: str, numerators: Sequence[float], denominators: Sequence[float]) -> None:
        """The metric is the sum of `numerators` over the sum of `denominators`."""
        self._report.ratio(metric, numerators, denominators)

    def class_ratio(self, metric: str, name: str, numerators: Sequence[float], denominators: Sequence[float]) -> None:
        """The metric is the mean over the classes of each class's ratio; call once a class. A class with 0/0 is left out."""
        self._report.class_ratio(metric, name, numerators, denominators)

    def quantile(self, metric: str, q: float, values: Sequence[float]) -> None:
        """The metric is the `q`-quantile of `values`, `q` between 0 and 1."""
        self._report.quantile(metric, q, values)

    def ranking(self, metric: str, values: Sequence[float], labels: Sequence[int]) -> None:
        """The metric is the area under the ROC curve of `values` against `labels` of 0 and 1."""
        self._report.ranking(metric, values, bytes(labels))

    def opaque(self, metric: str, value: float, count: int) -> None:
        """The metric is a number without terms, made from `count` rows; only threshold rules can use it."""
        self._report.opaque(metric, value, count)
