"""An alerter that posts to a web hook. The host owns retries: the plugin only says whether one can help."""

import json
from typing import Any

from tidegate import Failure, Issues, log
from tidegate.alerter import Request, send


class Plugin:
    def __init__(self, config: dict) -> None:
        self.url: str = config["url"]
        if not self.url.startswith("https://"):
            raise Issues().push("/url", f"`{self.url}` is not an https address")

    def notify(self, alert: Any) -> str | None:
        body = json.dumps({"key": alert.key, "resolved": alert.resolved, "title": alert.title}, separators=(",", ":"))
        status = send(Request("POST", self.url, [], body.encode(), None)).status
        if 200 <= status < 300:
            return None
        if status == 429 or status >= 500:
            raise Failure(f"the hook answered {status}", retry_after_ms=10_000)
        log.error(f"the hook answered {status}")
        raise Failure(f"the hook answered {status}; expected 200")
