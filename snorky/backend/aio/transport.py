"""The connector for asyncio: the same calls, awaited.

::

    async with SnorkyHTTPTransport("http://127.0.0.1:5002/backend", "swordfish") as transport:
        snorky = SnorkyBackend(transport)
        await snorky.call("pubsub_backend", "publish", channel="news", message="Hello")

What is sent and how answers are understood is `snorky.backend.exchange`.
"""

import json as standard_json
from typing import Any, Protocol, Self

import httpx2

from snorky.backend.exchange import (
    JSON,
    Address,
    NoAnswerError,
    SnorkyError,
    bare_answer,
    bare_envelope,
    call_envelope,
    call_result,
    encoded_call,
)

__all__ = ["NoAnswerError", "SnorkyBackend", "SnorkyError", "SnorkyHTTPTransport", "Transport"]


class Transport(Protocol):
    """What carries one envelope to Snorky. Raises RuntimeError when no proper answer came."""

    async def send(self, message: Any, json: JSON = ...) -> Any:
        """Send ``message``, an envelope, and return the decoded envelope that answers it."""


class SnorkyHTTPTransport:
    """Sends envelopes to a backend over HTTP, on connections that are kept and reused.

    Any number of tasks of one event loop may share one. ``timeout`` is how many seconds
    connecting, writing or waiting for the next bytes may take, each. Proxies named in the
    environment are not used: the key goes to ``url`` and nowhere else.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 10) -> None:
        self._address = Address(url, key)
        verify = self._address.is_https
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, verify=verify)

    async def send(self, message: Any, json: JSON = standard_json) -> Any:
        """Send ``message``, an envelope, and return the decoded envelope that answers it.

        Raises NoAnswerError where no answer came, RuntimeError where it is not what was expected.
        """
        request = self._address.request(message, json)
        try:
            response = await self._client.send(request)
        except httpx2.HTTPError as error:
            raise self._address.away(error) from error
        return self._address.answer(response, json)

    async def aclose(self) -> None:
        """Close the connections. Nothing can be sent afterwards."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._address}>"


class SnorkyBackend:
    """Calls the services of a backend. ``json`` is anything with ``dumps`` and ``loads``."""

    def __init__(self, transport: Transport, json: JSON = standard_json) -> None:
        self.transport = transport
        self.json = json

    async def call(self, service: str, command: str, **params: Any) -> Any:
        """Run a command and return its value.

        Raises SnorkyError with the text of the command's error, RuntimeError when there was no
        proper answer (NoAnswerError: none at all).
        """
        envelope = call_envelope(service, command, params)
        return call_result(await self.transport.send(envelope, json=self.json))

    async def call_encoded(self, service: str, command: str, params: str) -> Any:
        """The same for parameters that are JSON text already: it is sent as it is."""
        envelope: Any = encoded_call(service, command, params)
        if not isinstance(self.transport, SnorkyHTTPTransport):
            envelope = self.json.loads(envelope)  # it takes what is not encoded yet
        return call_result(await self.transport.send(envelope, json=self.json))

    async def send(self, message: Any) -> Any:
        """Send a bare envelope, for services that are not RPC, and return the one that answers."""
        envelope = bare_envelope(message)
        return bare_answer(await self.transport.send(envelope, json=self.json))
