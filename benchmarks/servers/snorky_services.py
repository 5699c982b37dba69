"""The services that Snorky's servers offer to the load generator, and to a web application."""

from typing import Any

from snorky import ServiceRegistry
from snorky.services.base import Request, RPCService, rpc_command
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer
from snorky.services.pubsub import PubSubBackend, PubSubService


class EchoService(RPCService):
    """Answers with what it was given."""

    @rpc_command
    def echo(self, req: Request, value: Any) -> Any:
        return value


class Rows(FilterDealer):
    name = "Rows"
    model = "Row"


pubsub = PubSubService("pubsub")
datasync = DataSyncService("datasync", [Rows])
frontend = ServiceRegistry([pubsub, EchoService("echo"), datasync])
backend = ServiceRegistry(
    [PubSubBackend("pubsub_backend", pubsub), DataSyncBackend("datasync_backend", datasync)]
)
api_key = "benchmark"
