"""Who is connected to which path, and what they are sent.

Updates travel through the broker, each connected path being a topic; the ids of pages are known
in the process that holds their connections. Nothing is kept for who is away.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

from snorky.brokers import Broker
from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.log import printable, snorky_log
from snorky.metrics import metrics
from snorky.processes import Processes
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.events.paths import (
    CONNECT,
    DISCONNECT,
    EVERYTHING,
    BadPath,
    check_path,
    paths_in,
    patterns_of,
)
from snorky.services.joining import Joining
from snorky.services.sharing import SharedService
from snorky.topics import Topic, Topics, forget, when_all

MAX_CHAINED_UPDATES = 10_000
"""Updates that callbacks may cause while one is delivered: a circle of them has to end."""


class Part(Protocol):
    """What updates come from and go to: anything with this shape can be connected."""

    @property
    def id(self) -> str:
        """Its name among parts and clients."""

    def update(self, sender: Any, path: str, message: Any) -> Any:
        """``sender`` says ``message`` about ``path``, a JSON value."""


Receiver = Part | Callable[[Any, str, Any], Any]
"""A part, or a plain function that is called as its ``update`` would be."""


class EventsService(SharedService):
    """Connects pages and parts of this program to paths.

    A path is a text such as ``/jobs/7``; a client never gives one to us, but to the web
    application. Updates of one path arrive in order. Who is connected to a path and to patterns
    that match it gets an update once for each, with the ``pattern``.

    Processes that share ``broker`` share the paths, and each knows the pages of all.
    """

    def __init__(self, name: str, broker: Broker | None = None) -> None:
        super().__init__(name, broker)
        self._pages: dict[Peer, _Page] = {}
        self._pages_by_id: dict[str, _Page] = {}
        self._waiting: deque[tuple[_Listeners, Envelope]] = deque()
        self._is_delivering = False

    def _use(self, broker: Broker, processes: Processes) -> None:
        super()._use(broker, processes)
        processes.answers["connect"] = lambda asked: self.connect_client(*asked)
        processes.answers["disconnect"] = lambda asked: self.disconnect_client(*asked)
        self._listeners = Topics(broker, lambda name: _Listeners(name, self._deliver))
        self._joining = Joining(self._listeners)

    @property
    def id(self) -> str:
        """The service is a part as well: it can be connected to another one."""
        return self.name

    # For pages

    @rpc_command
    def getId(self, req: Request) -> str:
        """The id of this connection. It ends with it, and nobody can guess it."""
        page = self._pages.get(req.client)
        if page is None:
            token = self.processes.mark(secrets.token_hex(16))
            page = self._pages[req.client] = _Page(req.client, token)
            self._pages_by_id[page.id] = page
        return page.id

    @rpc_command
    def leave(self, req: Request, path: Any) -> Awaitable[None] | None:
        """Disconnect from a path, or an array of them: nobody has to allow that."""
        paths = paths_in(path)
        page = self._pages.get(req.client)
        return None if page is None else self._disconnect_page(page, paths)

    def client_disconnected(self, client: Peer) -> None:
        self._joining.forget(client)
        page = self._pages.pop(client, None)
        if page is not None:
            del self._pages_by_id[page.id]
            forget(self._disconnect_page(page, list(page.paths)))

    # For this program

    def connect(self, receiver: Receiver, path: str) -> Awaitable[None] | None:
        """Let ``receiver`` be called with ``(service, path, message)`` at each update.

        ``path`` may be a pattern, ``*`` for everything. Once, however often it is connected.
        Returns None when it is done, or an awaitable. Raises BadPath.
        """
        if inspect.iscoroutinefunction(getattr(receiver, "update", receiver)):
            raise TypeError("expected a plain function: updates would overtake each other")
        if path != EVERYTHING:
            check_path(path)
        name = self._topic(path)
        listeners = self._listeners.get(name)
        if listeners is not None and receiver in listeners.parts:
            return listeners.pending and asyncio.shield(listeners.pending)
        listeners = self._listeners.hold(name)
        listeners.parts[receiver] = None
        if listeners.pending is not None:
            return asyncio.ensure_future(self._connect_later(listeners, receiver, path))
        self._announce(CONNECT, _id_of(receiver), path)
        return None

    def disconnect(self, receiver: Receiver, path: str) -> Awaitable[None] | None:
        """End what ``connect`` began; nothing happens where there is nothing to end."""
        listeners = self._listeners.get(self._topic(path))
        if listeners is None or receiver not in listeners.parts:
            return None
        del listeners.parts[receiver]
        done = self._listeners.release(listeners)
        self._announce(DISCONNECT, _id_of(receiver), path)
        return done

    def update(self, sender: Any, path: str, message: Any = None) -> Awaitable[None] | None:
        """Deliver ``message``, any JSON value, to all who are connected to ``path``.

        ``sender`` is the part that says so, or its id; nobody is told. Returns None when the
        broker has taken it at once, or an awaitable. Raises BadPath.
        """
        check_path(path)
        if path.startswith("::"):
            raise BadPath(f"Only Snorky itself updates {CONNECT} and {DISCONNECT}")
        if path.endswith("*"):
            raise BadPath("An update goes to one path, without *")
        metrics.publications += 1
        return self._publish(path, message)

    # For EventsBackend

    def connect_client(self, client_id: str, path: Any) -> Awaitable[None] | None:
        """Connect a page to a path or a list of paths: to all, or to none where one is bad."""
        page = self._pages_by_id.get(client_id)
        if page is None:
            return self._ask_elsewhere("connect", client_id, path)
        paths = paths_in(path)
        for each in paths:
            if each.startswith("::"):
                raise BadPath("Paths that begin with :: are not for clients")
        new = [each for each in dict.fromkeys(paths) if each not in page.paths]
        if len(page.paths) + len(new) > self.limits.max_subscriptions:
            raise RPCError("Too many subscriptions")
        topics: list[_Listeners] = []
        try:
            for each in new:
                topics.append(self._listeners.hold(self._topic(each)))  # may raise
        except BaseException:
            self._release(topics)
            raise
        if any(topic.pending is not None for topic in topics):
            return asyncio.ensure_future(self._connect_client_later(page, new, topics))
        for each, topic in zip(new, topics, strict=True):
            self._connect_page(page, each, topic)
        return None

    def disconnect_client(self, client_id: str, path: Any) -> Awaitable[None] | None:
        """Disconnect a page from a path or a list of paths."""
        page = self._pages_by_id.get(client_id)
        if page is None:
            return self._ask_elsewhere("disconnect", client_id, path)
        return self._disconnect_page(page, paths_in(path))

    def _ask_elsewhere(self, what: str, client_id: str, path: Any) -> Awaitable[None]:
        """Let the process do it that has the client. Raises RPCError."""
        process = self.processes.marked_by(client_id)
        if process is None:
            raise RPCError("Unknown client id")
        return self._ask(process, what, client_id, path)

    async def _ask(self, process: str, what: str, client_id: str, path: Any) -> None:
        try:
            await self.processes.ask(process, what, [client_id, path])
        except (LookupError, TimeoutError) as error:
            raise RPCError("Unknown client id") from error

    def _disconnect_page(self, page: _Page, paths: list[str]) -> Awaitable[None] | None:
        done = []
        for path in paths:
            self._joining.withdraw(page.client, self._topic(path))
            listeners = page.paths.pop(path, None)
            if listeners is None:
                continue
            metrics.subscriptions -= 1
            listeners.audience.remove(page.client)
            done.append(self._listeners.release(listeners))
            self._announce(DISCONNECT, page.id, path)
        return when_all(done)

    def _connect_page(self, page: _Page, path: str, listeners: _Listeners) -> None:
        page.paths[path] = listeners
        metrics.subscriptions += 1
        listeners.audience.add(page.client)
        self._announce(CONNECT, page.id, path)

    async def _connect_client_later(
        self, page: _Page, paths: list[str], topics: list[_Listeners]
    ) -> None:
        """To all, or to none where the broker fails; but to none that the page leaves meanwhile."""
        wishes = [self._joining.wish(page.client, topic.name) for topic in topics]
        held = dict(zip(paths, topics, strict=True))
        try:
            for topic in topics:
                await topic.subscribed()
            for path, wish in zip(paths, wishes, strict=True):
                if not wish.withdrawn and path not in page.paths:
                    self._connect_page(page, path, held.pop(path))
        finally:
            for wish in wishes:
                self._joining.end(wish)
            self._release(held.values())

    async def _connect_later(self, listeners: _Listeners, receiver: Receiver, path: str) -> None:
        try:
            await listeners.subscribed()
        except BaseException:
            listeners.parts.pop(receiver, None)
            raise
        if receiver in listeners.parts:
            self._announce(CONNECT, _id_of(receiver), path)

    def _release(self, topics: Iterable[_Listeners]) -> None:
        for topic in topics:
            forget(self._listeners.release(topic))

    def _announce(self, path: str, part_id: str, connected_to: str) -> None:
        forget(self._publish(path, f"{part_id}->{connected_to}"))

    def _publish(self, path: str, message: Any) -> Awaitable[None] | None:
        notification = {"type": "update", "path": path, "message": message}
        done = [self.broker.publish(self._topic(path), Envelope(self.name, notification))]
        for pattern in patterns_of(path):
            envelope = Envelope(self.name, {**notification, "pattern": pattern})
            done.append(self.broker.publish(self._topic(pattern), envelope))
        return when_all(done)

    def _topic(self, path: str) -> str:
        return f"{self.name}/{path}"

    def _deliver(self, listeners: _Listeners, envelope: Envelope) -> None:
        """Call the parts, one update after the other: what they update meanwhile comes later."""
        self._waiting.append((listeners, envelope))
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            chained = 0
            while self._waiting and chained < MAX_CHAINED_UPDATES:
                self._call_parts(*self._waiting.popleft())
                chained += 1
            if self._waiting:
                snorky_log.error(
                    'Callbacks of service "%s" update without end: %d updates dropped, '
                    "the first of %s",
                    self.name,
                    len(self._waiting),
                    printable(self._waiting[0][1]["message"]["path"]),
                )
        finally:
            self._waiting.clear()
            self._is_delivering = False

    def _call_parts(self, listeners: _Listeners, envelope: Envelope) -> None:
        notification = envelope["message"]
        for receiver in tuple(listeners.parts):
            if receiver not in listeners.parts:
                continue  # one before it has disconnected it
            try:
                update = cast(Callable[..., Any], getattr(receiver, "update", receiver))
                update(self, notification["path"], notification["message"])
            except Exception:
                snorky_log.exception(
                    'Unhandled exception in %s, connected to service "%s", path %s',
                    printable(_id_of(receiver)),
                    self.name,
                    printable(notification["path"]),
                )


class _Page:
    """A client that has asked for its id."""

    __slots__ = ("client", "id", "paths")

    def __init__(self, client: Peer, page_id: str) -> None:
        self.id = page_id
        self.client = client
        self.paths: dict[str, _Listeners] = {}


class _Listeners(Topic):
    """All who are connected to one path or pattern."""

    __slots__ = ("_call_parts", "parts")

    def __init__(self, name: str, call_parts: Callable[[_Listeners, Envelope], None]) -> None:
        super().__init__(name)
        self.parts: dict[Receiver, None] = {}
        self.deliver = self._receive
        self._call_parts = call_parts

    def _receive(self, envelope: Envelope) -> None:
        if self.audience:
            self.audience.send(envelope)
        if self.parts:
            self._call_parts(self, envelope)


def _id_of(receiver: Receiver) -> str:
    """A function's id is its name."""
    part_id = getattr(receiver, "id", None) if hasattr(receiver, "update") else None
    return str(part_id or getattr(receiver, "__qualname__", type(receiver).__qualname__))
