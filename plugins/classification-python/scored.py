"""A scored batch as class numbers, and the per-row terms made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, nan

from tidegate import Batch, Failure

PROBABILITY = "probability:"


@dataclass
class ClassTerms:
    """Terms of one class. Every list has one entry a row; NaN = no label."""

    hits: list[float]
    hits_twice: list[float]
    labels: list[float]
    predictions: list[float]
    labels_and_predictions: list[float]


class Scored:
    """Labels and predictions of a batch, as numbers into `classes`.

    `classes` are those with a probability column, in order, of which there are `known`, then others that occur, sorted.
    """

    def __init__(self, rows: Batch) -> None:
        self.classes = [column.role.removeprefix(PROBABILITY) for column in rows.columns() if column.role.startswith(PROBABILITY)]
        self.known = len(self.classes)
        labels: list[str | None] = []
        predictions: list[str | None] = []
        for window in rows.windows():
            label, prediction = list(window.with_role("label").text()), list(window.with_role("prediction").text())
            for row, (found, predicted) in enumerate(zip(label, prediction)):
                if found is not None and predicted is None:
                    raise Failure(f"row {window.first_row + row} has a label but no prediction")
            labels += label
            predictions += prediction
        # By name, so that the order of rows does not matter.
        self.classes += sorted({*labels, *predictions} - {None, *self.classes})
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = [numbers.get(name) for name in labels]
        self.predictions = [numbers.get(name) for name in predictions]

    def per_row(self, term: Callable[[int, int | None], float]) -> list[float]:
        """`term(label, prediction)` of every row with a label; NaN for the others."""
        rows = zip(self.labels, self.predictions)
        return [nan if label is None else float(term(label, prediction)) for label, prediction in rows]

    def terms(self, number: int) -> ClassTerms:
        """The terms of one class."""
        return ClassTerms(
            hits=self.per_row(lambda label, prediction: label == number == prediction),
            hits_twice=self.per_row(lambda label, prediction: 2 * (label == number == prediction)),
            labels=self.per_row(lambda label, _: label == number),
            predictions=self.per_row(lambda _, prediction: prediction == number),
            labels_and_predictions=self.per_row(lambda label, prediction: (label == number) + (prediction == number)),
        )

    def losses(self, rows: Batch, least: float) -> list[float]:
        """-ln of the probability that the true class was given, at least `least`.

        A class without a probability column was given none. All NaN when the model gave no probabilities at all.
        """
        if self.known == 0:
            return [nan] * len(self.labels)
        losses = self.per_row(lambda _label, _prediction: -log(least))
        columns = [column for column in rows.columns() if column.role.startswith(PROBABILITY)]
        for number, column in enumerate(columns):
            probabilities = column.f64()
            for row, label in enumerate(self.labels):
                if label != number:
                    continue
                probability = probabilities.get(row)
                if probability is None or not 0.0 <= probability <= 1.0:
                    found = "nothing" if probability is None else probability
                    raise Failure(f"row {row} of column `{column.name}` holds {found}; expected a probability between 0 and 1")
                losses[row] = -log(max(probability, least))
        return losses
