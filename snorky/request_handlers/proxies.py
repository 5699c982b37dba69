"""Proxies in front of us: which are believed, and for whom they ask.

Tornado's ``xheaders`` believes everybody, and knows no networks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Iterable
from typing import Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.netutil import is_valid_ip

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX_PEER = ""
"""The address of a peer at a Unix socket. Its permissions say who that may be: it is believed."""

UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104  # as Tornado has it; nobody listens there
"""Of a visitor at a Unix socket of whom nobody says where it comes from."""


def peer_of(address: Any) -> str:
    """The IP address in what ``socket.accept`` says; ``UNIX_PEER`` for a Unix socket."""
    return str(address[0]) if isinstance(address, tuple) else UNIX_PEER


class TrustedProxies:
    """Addresses (``10.0.0.7``) and networks (``10.0.0.0/8``) of proxies.

    Raises ValueError for anything else.
    """

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        networks = [ipaddress.ip_network(text) for text in addresses]
        self._addresses = {str(network[0]) for network in networks if _is_single(network)}
        self._networks = [network for network in networks if not _is_single(network)]

    def __contains__(self, address: str) -> bool:
        if address in self._addresses or address == UNIX_PEER:
            return True
        if not (self._networks or self._addresses):
            return False
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        if ip.version == 6 and ip.ipv4_mapped is not None:  # at a socket for both
            ip = ip.ipv4_mapped
        return str(ip) in self._addresses or any(ip in network for network in self._networks)

    def visitor(self, headers: HTTPHeaders, peer: str, protocol: str) -> tuple[str, str]:
        """Address and protocol of the visitor for whom ``peer``, a proxy of ours, asks.

        The last address in ``X-Forwarded-For`` that is no proxy of ours counts: what is before it
        the visitor may have written. ``X-Real-Ip`` counts more; ``X-Scheme``, else
        ``X-Forwarded-Proto``, says the protocol. What is none is ignored.
        """
        address = peer
        for candidate in reversed(headers.get("X-Forwarded-For", peer).split(",")):
            address = candidate.strip()
            if address not in self:
                break
        address = headers.get("X-Real-Ip", address)
        if not is_valid_ip(address):
            address = peer or UNKNOWN_ADDRESS
        scheme = headers.get("X-Scheme", headers.get("X-Forwarded-Proto", ""))
        scheme = scheme.split(",")[-1].strip()
        return address, scheme if scheme in ("http", "https") else protocol


def _is_single(network: IPNetwork) -> bool:
    return network.prefixlen == network.max_prefixlen


class BehindProxies(HTTPServerConnectionDelegate):
    """Gives requests to ``application`` as their visitors', where a proxy of ours asks."""

    def __init__(self, application: HTTPServerConnectionDelegate, proxies: TrustedProxies) -> None:
        self._application = application
        self._proxies = proxies

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        delegate = self._application.start_request(server_conn, request_conn)
        if peer_of(request_conn.context.address) not in self._proxies:  # type: ignore[attr-defined]  # every HTTP1Connection has it
            return delegate
        return _Request(delegate, request_conn, self._proxies)


class _Request(HTTPMessageDelegate):
    """Corrects what the connection says of its peer, before the request is made of it."""

    def __init__(
        self, delegate: HTTPMessageDelegate, connection: HTTPConnection, proxies: TrustedProxies
    ) -> None:
        self._delegate = delegate
        self._context: Any = connection.context  # type: ignore[attr-defined]
        self._proxies = proxies

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        peer = peer_of(self._context.address)
        # "http": TLS ends at the proxy. What the request before it said does not matter.
        visitor = self._proxies.visitor(headers, peer, "http")
        self._context.remote_ip, self._context.protocol = visitor
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()
