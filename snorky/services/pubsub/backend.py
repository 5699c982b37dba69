"""What trusted servers may do with channels."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from snorky.services.base import Request, rpc_command
from snorky.services.listing import ListingBackend
from snorky.services.pubsub.frontend import PubSubService


class PubSubBackend(ListingBackend):
    """Lets trusted servers publish on the channels of ``frontend``, and see who is there.

    Over all its processes, where they share a broker.
    """

    def __init__(self, name: str, frontend: PubSubService) -> None:
        super().__init__(name, frontend)
        self.frontend: PubSubService = frontend

    @rpc_command
    def publish(self, req: Request, channel: Any, message: Any) -> Awaitable[None] | None:
        """Send ``message`` to all subscribers of ``channel``. Nobody is asked."""
        return self.frontend.do_publish(channel, message)

    @rpc_command
    def history(self, req: Request, channel: Any, since: str = "") -> Any:
        """What a channel's past has after a position, or all of it."""
        return self.frontend.history(channel, since)
