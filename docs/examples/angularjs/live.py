"""A channel that everybody reads, and where links are refused."""

from snorky import ServiceRegistry
from snorky.services.base import RPCError, rpc_command
from snorky.services.pubsub import PubSubService


class News(PubSubService):
    @rpc_command
    def publish(self, req, channel, message: str):
        if "://" in message:
            raise RPCError("No links, please")
        return super().publish(req, channel, message)


frontend = ServiceRegistry([News("pubsub")])
