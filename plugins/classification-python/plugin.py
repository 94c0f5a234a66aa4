"""Evaluator `classification` in Python: accuracy, macro F1, log loss and, for one positive class, precision, recall and F1.

It tells terms, one a row, as the one in Rust does. A row without a label does not count: all its terms are NaN.
"""

from scored import Scored
from tidegate import Batch, Failure, Metric, Report

# The smallest probability that log loss believes: a model that is sure and wrong costs 34.5 nats, not infinity.
PROBABILITY_MIN = 1e-15


class Plugin:
    def __init__(self, config: dict) -> None:
        self.positive: str | None = config.get("positive")

    def metrics(self) -> list[Metric]:
        metrics = [Metric("accuracy", "1", True), Metric("macro_f1", "1", True), Metric("log_loss", "nat", False)]
        if self.positive is not None:
            metrics += [Metric(name, "1", True) for name in ("precision", "recall", "f1")]
        return metrics

    def evaluate(self, rows: Batch, report: Report) -> None:
        scored = Scored(rows)
        report.mean("accuracy", scored.per_row(lambda label, prediction: label == prediction))
        report.mean("log_loss", scored.losses(rows, PROBABILITY_MIN))
        for number, name in enumerate(scored.classes):
            terms = scored.terms(number)
            report.class_ratio("macro_f1", name, terms.hits_twice, terms.labels_and_predictions)
        if self.positive is None:
            return
        terms = scored.terms(self._positive_number(scored))
        report.ratio("precision", terms.hits, terms.predictions)
        report.ratio("recall", terms.hits, terms.labels)
        report.ratio("f1", terms.hits_twice, terms.labels_and_predictions)

    def _positive_number(self, scored: Scored) -> int:
        if self.positive in scored.classes:
            return scored.classes.index(self.positive)
        # Without probability columns the class list is only what occurs, and the positive class need not.
        if scored.known == 0:
            return -1
        names = ", ".join(f"`{name}`" for name in scored.classes)
        raise Failure(f"`positive` is `{self.positive}`, which is not a class; the classes are {names}")
