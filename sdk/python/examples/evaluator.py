"""An evaluator for numbers: the mean absolute error. A row whose label has not come yet does not count."""

from math import nan

from tidegate import Batch, Metric, Report


class Plugin:
    def __init__(self, config: dict) -> None:
        pass

    def metrics(self) -> list[Metric]:
        return [Metric("mae", "1", higher_is_better=False)]

    def evaluate(self, rows: Batch, report: Report) -> None:
        labels, predictions = rows.with_role("label").text(), rows.with_role("prediction").text()
        pairs = zip(labels, predictions)
        report.mean("mae", [nan if None in pair else abs(float(pair[0]) - float(pair[1])) for pair in pairs])
