"""What services have in common that several processes serve together."""

from __future__ import annotations

from snorky.brokers import Broker
from snorky.brokers.memory import MemoryBroker
from snorky.processes import Processes
from snorky.services.base import RPCService


class SharedService(RPCService):
    """One service, whichever of the processes that share ``broker`` a client is connected to.

    Subclasses make in ``_use`` what depends on the broker.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name)
        self.has_own_broker = broker is not None
        self._use(broker or MemoryBroker(), Processes(name, broker))

    def use_broker(self, broker: Broker) -> None:
        """Use another broker, before the first client comes."""
        self._use(broker, Processes(self.name, broker))

    def _use(self, broker: Broker, processes: Processes) -> None:
        self.broker = broker
        self.processes = processes

    async def start(self) -> None:
        """Meet the other processes. Counted: stop as often."""
        await self.processes.start()

    async def stop(self) -> None:
        await self.processes.stop()
