"""Where the servers are: one, the master that sentinels name, or the nodes of a cluster.

Knows addresses and how to connect; what is said over a connection is the business of others.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from redis.asyncio import Sentinel
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError

Node = tuple[str, int]
"""Host and port of a node of a cluster; ``ONLY`` where there is but one server."""

ONLY: Node = ("", 0)

SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
}

EXPECTED = (
    "expected redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH, "
    "redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT"
)

PORT, SENTINEL_PORT = 6379, 26379


class Servers(ABC):
    """Makes connections; ``options`` are those of ``redis.asyncio.Connection``."""

    is_cluster = False

    def __init__(self, options: Mapping[str, Any], seconds: float) -> None:
        self._class = options.get("connection_class", Connection)
        self._seconds = seconds
        self._options = {
            **{name: value for name, value in options.items() if name != "connection_class"},
            # Time limits are ours: a reply may take as long as nobody publishes.
            "socket_timeout": None,
            "socket_connect_timeout": seconds,
            "decode_responses": False,
            "protocol": 2,
        }

    @abstractmethod
    def node_of(self, key: bytes) -> Node:
        """Which node a key, or the topic of that name, belongs to, as far as is known."""

    @abstractmethod
    async def connect(self, node: Node) -> Connection:
        """A new connection. Raises RedisError, OSError or TimeoutError."""

    async def look(self) -> None:
        """Learn which nodes there are, where that may change."""
        return

    async def _open(self, **address: Any) -> Connection:
        connection = self._class(**{**self._options, **address})
        try:
            async with asyncio.timeout(self._seconds):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection  # type: ignore[no-any-return]


class OneServer(Servers):
    """One server, at an address that does not change."""

    def node_of(self, key: bytes) -> Node:
        return ONLY

    async def connect(self, node: Node) -> Connection:
        return await self._open()


class MasterOfSentinels(Servers):
    """The master that sentinels name; they are asked at each connection."""

    def __init__(
        self, sentinels: Sequence[Node], master: str, options: Mapping[str, Any], seconds: float
    ) -> None:
        # One that is away is not tried again while others may know.
        asked: dict[str, Any] = {"socket_timeout": seconds, "protocol": 2}
        asked["retry"] = Retry(NoBackoff(), 0)
        its_own: dict[str, Any] = {}
        for name, value in options.items():
            if name.startswith("sentinel_"):
                asked[name.removeprefix("sentinel_")] = value
            else:
                its_own[name] = value
        super().__init__(its_own, seconds)
        self._master = master
        self._sentinels = sentinels
        self._asked = asked

    def node_of(self, key: bytes) -> Node:
        return ONLY

    async def connect(self, node: Node) -> Connection:
        sentinels: Any = Sentinel(self._sentinels, sentinel_kwargs=self._asked)  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._seconds):
                host, port = await sentinels.discover_master(self._master)
        finally:
            await sentinels.aclose()
        return await self._open(host=host, port=port)


class Cluster(Servers):
    """The nodes of a cluster: each slot has one that is its master."""

    is_cluster = True

    def __init__(self, nodes: Sequence[Node], options: Mapping[str, Any], seconds: float) -> None:
        super().__init__(options, seconds)
        self._seeds = list(nodes)
        self._ranges: list[tuple[int, int, Node]] = []

    def node_of(self, key: bytes) -> Node:
        slot = key_slot(key)
        for first, last, node in self._ranges:
            if first <= slot <= last:
                return node
        return self._seeds[0]

    async def connect(self, node: Node) -> Connection:
        return await self._open(host=node[0], port=node[1])

    async def look(self) -> None:
        known = dict.fromkeys([*(node for _, _, node in self._ranges), *self._seeds])
        fault: Exception = RedisError("expected a cluster")
        for node in known:
            try:
                self._ranges = await self._ranges_by(node)
            except (RedisError, OSError) as error:
                fault = error
            else:
                return
        raise fault

    async def _ranges_by(self, node: Node) -> list[tuple[int, int, Node]]:
        connection = await self.connect(node)
        try:
            async with asyncio.timeout(self._seconds):
                await connection.send_command("CLUSTER SLOTS")
                answer: Any = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        return [
            # A node that does not know its own address leaves it out: it is the one we asked.
            (first, last, (master[0].decode() if master[0] else node[0], master[1]))
            for first, last, master, *_ in answer
        ]


def servers_of(url: str, seconds: float) -> Servers:
    """What a URL names. Raises ValueError, without a password in its text."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if (
        scheme not in SCHEMES
        or kind not in ("", "sentinel", "cluster")
        or (scheme == "unix" and kind)
    ):
        raise ValueError(f"{EXPECTED}; got {parts.scheme}://")
    if not kind:
        return OneServer(_options(parts, scheme), seconds)
    credentials, at, hosts = parts.netloc.rpartition("@")
    nodes = [
        _node(host, SENTINEL_PORT if kind == "sentinel" else PORT) for host in hosts.split(",")
    ]
    parts = parts._replace(netloc=f"{credentials}{at}{hosts.split(',')[0]}")
    if kind == "cluster":
        return Cluster(nodes, _options(parts, scheme), seconds)
    master, _, database = parts.path.strip("/").partition("/")
    if not master:
        raise ValueError(f"{EXPECTED}; the name of the master is missing")
    options = _options(parts._replace(path=f"/{database}"), scheme)
    return MasterOfSentinels(nodes, master, options, seconds)


def take_query(url: str, name: str) -> tuple[str, str | None]:
    """The URL without one argument of its query, and the value of that."""
    parts = urlsplit(url)
    found, others = None, []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == name:
            found = value
        else:
            others.append((key, value))
    return urlunsplit(parts._replace(query=urlencode(others))), found


def without_secrets(url: str) -> str:
    """The URL for a log or an error: without a user's name, a password and the query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _options(parts: SplitResult, scheme: str) -> dict[str, Any]:
    options = dict(parse_url(urlunsplit(parts._replace(scheme=SCHEMES[scheme]))))
    options.setdefault("host", "localhost") if scheme != "unix" else None
    return options


def _node(text: str, port: int) -> Node:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{EXPECTED}; got the host {text!r}")
    return parts.hostname, parts.port or port
