"""What only an alerter imports: requests to the hosts that the operator granted, and the time."""

from wit_world.imports.clock import now_us
from wit_world.imports.http import Header, Request, Response, send

__all__ = ["Header", "Request", "Response", "now_us", "send"]
