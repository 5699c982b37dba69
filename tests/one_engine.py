"""An engine in memory, and the connections of several processes to it.

What ``Connection`` delivers comes later, and as text: as over a network. It can be cut, and loses
then what comes meanwhile; its logs find that out when it is mended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from snorky.brokers import (
    Broker,
    BrokerUnavailable,
    Deliver,
    Entry,
    Position,
    PositionLost,
    Retention,
)
from snorky.brokers.memory import MemoryBroker, MemoryLog
from snorky.brokers.window import Window
from snorky.envelope import Envelope


class Connection(Broker):
    """One process's. ``engine`` is shared by all."""

    def __init__(self, engine: MemoryBroker) -> None:
        self.engine = engine
        self.cut = False
        self.lose: Callable[[str, Any], bool] = lambda topic, message: False
        """Says what gets lost on its way out though nothing is cut."""
        self.logs: dict[str, ConnectionLog] = {}
        self._delivers: dict[tuple[str, Deliver], Deliver] = {}

    def publish(self, topic: str, payload: Envelope) -> Any:
        text = payload.text
        if not self.lose(topic, json.loads(text)["message"]):
            return self._later(self._publish, topic, text)
        return self._later(lambda: None)

    def _publish(self, topic: str, text: bytes) -> None:
        self.engine.publish(topic, Envelope(**json.loads(text)))

    def subscribe(self, topic: str, deliver: Deliver) -> Any:
        def receive(envelope: Envelope) -> None:
            if not self.cut:
                deliver(Envelope(**json.loads(envelope.text)))

        self._delivers[topic, deliver] = receive
        return self._later(self.engine.subscribe, topic, receive)

    def unsubscribe(self, topic: str, deliver: Deliver) -> Any:
        return self._later(self.engine.unsubscribe, topic, self._delivers.pop((topic, deliver)))

    def log(self, name: str, retention: Retention | None = None) -> ConnectionLog:
        return ConnectionLog(self, self.engine.log(name, retention), retention or Retention())

    def claim(self, key: str, ttl: float) -> Any:
        return self._later(self.engine.claim, key, ttl)

    def put(self, key: str, value: Any, ttl: float) -> Any:
        return self._later(self.engine.put, key, value, ttl)

    def get(self, key: str) -> Any:
        return self._later(self.engine.get, key)

    def delete(self, key: str) -> Any:
        return self._later(self.engine.delete, key)

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def check(self) -> None:
        pass

    def _later(self, action: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._act(action, *arguments))

    async def _act(self, action: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(0)
        if self.cut:
            raise BrokerUnavailable("cut")
        return action(*arguments)


class ConnectionLog(Window):
    """A log as one process has it: a window of its own, which follows the engine's."""

    def __init__(self, connection: Connection, log: MemoryLog, retention: Retention) -> None:
        super().__init__(Position("", 0, ""), retention)
        self._connection = connection
        self._log = log
        self._end: Callable[[], None] | None = None
        self.held = False
        """Whether what comes is kept back: this process is behind."""

    @property
    def lag(self) -> float:
        return 0.0

    async def start(self) -> None:
        await self._connection._act(lambda: None)
        if self._end is not None:
            return
        first = self._log.first
        self.fill(first, [_copy(each) for each in self._log.read(first, 10**6)], self._log.head)
        self._end = self._log.follow(lambda entry: self.catch_up(), self.restart_there)

    async def stop(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    def restart_there(self, beside: Any = ()) -> None:
        self.restart(self._log.head)

    def catch_up(self) -> None:
        """Take what is there, unless it is cut off; also what was missed before."""
        if self._connection.cut or self.held:
            return
        try:
            entries = self._log.read(self.head, 10**6)
        except PositionLost:
            self.restart(self._log.head)
            return
        for entry in entries:
            self.push(_copy(entry))

    def append(self, *arguments: Any, **keywords: Any) -> Any:
        return self._connection._later(lambda: self._log.append(*arguments, **keywords))

    def append_step(self, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    def kept_beside(self) -> Any:
        return self._log.kept_beside()

    take_lease = renew_lease = leases = ask = asked = append_step  # not needed here


def _copy(entry: Entry) -> Entry:
    return Entry(entry.position, entry.text, entry.at)
