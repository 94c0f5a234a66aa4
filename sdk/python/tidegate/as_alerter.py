"""A class as the alerter of its component: `notify(alert)`, which returns a reference or None."""

from typing import Any

from wit_world.exports.alerter import Receipt

from .failure import guarded
from .lifecycle import Hosted, lifecycle


def exported(plugin: type) -> tuple[type, type]:
    hosted = Hosted(plugin)

    class Alerter:
        @guarded
        def notify(self, alert: Any) -> Receipt:
            return Receipt(hosted.plugin().notify(alert))

    return lifecycle(hosted), Alerter
