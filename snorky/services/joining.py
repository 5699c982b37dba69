"""Joining and leaving, where either may take its time: the last word of a client holds.

A permission may be looked up in a database, a broker may be slow to subscribe. Who leaves
meanwhile has left, and nothing stays behind of what it had asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from snorky.client import Peer
from snorky.services.base import RPCError
from snorky.topics import Topic, Topics, forget

WITHDRAWN = "Withdrawn"
"""What a call to join is answered whose client has left before it was decided."""


class Wish:
    """What a client has asked for under a key, and has not got yet."""

    __slots__ = ("client", "key", "withdrawn")

    def __init__(self, client: Peer, key: str) -> None:
        self.client = client
        self.key = key
        self.withdrawn = False

    def counts(self) -> bool:
        """Whether it still counts; not for who has gone. Raises RPCError where it was withdrawn."""
        if not getattr(self.client, "connected", True):
            return False
        if self.withdrawn:
            raise RPCError(WITHDRAWN)
        return True


class Joining:
    """Decides who joins what, for one service.

    ``topics``: what is joined is received through these, under the same keys.
    """

    def __init__(self, topics: Topics[Any] | None = None) -> None:
        self.topics = topics
        self._wishes: dict[Peer, dict[str, list[Wish]]] = {}

    def __len__(self) -> int:
        """Clients that wait for something."""
        return len(self._wishes)

    def join(
        self,
        client: Peer,
        key: str,
        allowed: bool | Awaitable[bool],
        then: Callable[[], Any],
        refusal: str = "Not authorized",
    ) -> Any:
        """Call ``then`` and return what it returns, or an awaitable of it.

        That is when ``allowed`` is true and the topic subscribed, which ``then`` finds held: one
        ``release`` of it is due when the client leaves. Raises RPCError.
        """
        topic = None
        if not inspect.isawaitable(allowed):
            if not allowed:
                raise RPCError(refusal)
            topic = self.hold(key)
            if topic is None or topic.pending is None:
                try:
                    return then()
                except BaseException:
                    self.release(topic)
                    raise
        return _Call(self, self.wish(client, key), allowed, topic, then, refusal)

    def wish(self, client: Peer, key: str) -> Wish:
        """Note what is not decided at once; ``end`` is due when it is."""
        wish = Wish(client, key)
        self._wishes.setdefault(client, {}).setdefault(key, []).append(wish)
        return wish

    def end(self, wish: Wish) -> None:
        keys = self._wishes.get(wish.client, {})
        wishes = keys.get(wish.key, [])
        if wish in wishes:
            wishes.remove(wish)
            if not wishes:
                del keys[wish.key]
            if not keys:
                del self._wishes[wish.client]

    def withdraw(self, client: Peer, key: str) -> bool:
        """The client leaves. Returns whether it was about to join."""
        keys = self._wishes.get(client)
        if keys is None:
            return False
        wishes = keys.pop(key, [])
        if not keys:
            del self._wishes[client]
        for wish in wishes:
            wish.withdrawn = True
        return bool(wishes)

    def forget(self, client: Peer) -> None:
        """The client has gone."""
        for wishes in self._wishes.pop(client, {}).values():
            for wish in wishes:
                wish.withdrawn = True

    def hold(self, key: str) -> Topic | None:
        topic: Topic | None = None if self.topics is None else self.topics.hold(key)
        return topic

    def release(self, topic: Topic | None) -> None:
        if topic is not None and self.topics is not None:
            forget(self.topics.release(topic))


class _Call:
    """A call to join that is not decided at once: to be awaited once, or closed."""

    def __init__(
        self,
        joining: Joining,
        wish: Wish,
        allowed: bool | Awaitable[bool],
        topic: Topic | None,
        then: Callable[[], Any],
        refusal: str,
    ) -> None:
        self._joining = joining
        self._wish = wish
        self._allowed = allowed
        self._topic = topic
        self._then = then
        self._refusal = refusal

    def __await__(self) -> Generator[Any, None, Any]:
        return self._decide().__await__()

    async def _decide(self) -> Any:
        wish, allowed = self._wish, self._allowed
        try:
            if not (await allowed if inspect.isawaitable(allowed) else allowed):
                raise RPCError(self._refusal)
            if not wish.counts():
                return None
            if self._topic is None:
                self._topic = self._joining.hold(wish.key)
            if self._topic is not None and self._topic.pending is not None:
                await self._topic.subscribed()
                if not wish.counts():
                    return None
            reply = self._then()
            self._topic = None  # the client holds it now
            return reply
        finally:
            self.close()

    def close(self) -> None:
        """Let go of what was held for it. Twice does nothing."""
        if inspect.iscoroutine(self._allowed):
            self._allowed.close()
        self._joining.end(self._wish)
        topic, self._topic = self._topic, None
        self._joining.release(topic)
