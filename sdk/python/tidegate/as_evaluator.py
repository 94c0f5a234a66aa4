"""A class as the evaluator of its component: `metrics()` and `evaluate(rows, report)`."""

from typing import Any

from wit_world.exports.evaluator import Metric as Lowered

from . import log
from .batch import Batch
from .failure import guarded, where
from .lifecycle import Hosted, lifecycle
from .report import Report


def exported(plugin: type) -> tuple[type, type]:
    hosted = Hosted(plugin)

    class Evaluator:
        def metrics(self) -> list[Lowered]:
            try:
                return [Lowered(metric.name, metric.unit, metric.higher_is_better) for metric in hosted.plugin().metrics()]
            except Exception as error:
                # The interface has no failure here: an evaluator that reports nothing is refused by whoever needs its metrics.
                log.error(f"metrics: {type(error).__name__}: {error}" + where(error))
                return []

        @guarded
        def evaluate(self, rows: Any, report: Any) -> None:
            hosted.plugin().evaluate(Batch(rows), Report(report))

    return lifecycle(hosted), Evaluator
