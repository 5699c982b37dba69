"""The back end: trusted servers send one envelope by POST and get the service's answer."""

from __future__ import annotations

import asyncio
import hmac
import inspect
from collections.abc import Awaitable, Collection
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler, stream_request_body

from snorky.client import Client
from snorky.log import snorky_log
from snorky.metrics import metrics, prometheus_text
from snorky.service_registry import ServiceRegistry
from snorky.wire import MalformedMessage, decode, encode

_READ_PAST_LIMIT = 16
"""How many times the limit of a body is read, and dropped, before the connection is cut."""


class HTTPClient(Client):
    """The sender of one request. The first message a service sends it is the response."""

    def __init__(self, remote_address: str | None) -> None:
        self.remote_address = remote_address
        self.response: asyncio.Future[tuple[int, bytes]] = (
            asyncio.get_running_loop().create_future()
        )

    def send(self, msg: Any) -> None:
        body = encode(msg)
        if self.response.done():
            if self.connected:
                snorky_log.warning("More than one message for one back end request: dropped")
        else:
            self.response.set_result((200, body))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.message_refused(reason or "The request was closed", 500)

    def message_refused(self, reason: str, status: int = 400) -> None:
        if not self.response.done():
            self.response.set_result((status, encode({"error": reason})))


@stream_request_body
class BackendHTTPHandler(RequestHandler):
    """POST one envelope as UTF-8 JSON, with the header ``X-Backend-Key``.

    Answers the service's single reply in its envelope, with status 200 also for RPC errors. Every
    other answer is ``{"error": "<text>"}``: 400 for what is no message, 401 for the key, 405, 413
    past ``limits.max_backend_message_bytes``, 500, 504 where the service does not answer within
    ``limits.backend_timeout``. Key and size are checked before the body is kept.
    """

    refusal = ""
    """Why the request was refused, for the log."""

    def initialize(self, service_registry: ServiceRegistry, api_key: str | Collection[str]) -> None:
        """``api_key``: one key, or several of which any opens (to change keys without a pause)."""
        self.service_registry = service_registry
        self.api_key = api_key
        self._body = bytearray()
        # Nobody comes in where prepare has not said so.
        self._refusal: HTTPError | None = HTTPError(401, "Missing X-Backend-Key header")
        self.client = HTTPClient(self.request.remote_ip)

    async def prepare(self) -> None:
        metrics.backend_requests += 1
        limits = self.service_registry.limits
        # What is refused is read to its end and dropped, so that the answer arrives: a connection
        # closed with unread input is reset, and the answer may be lost with it.
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(_READ_PAST_LIMIT * limits.max_backend_message_bytes)
        connection.set_body_timeout(limits.backend_timeout)
        try:
            key = self.request.headers.get("X-Backend-Key")
            if key is None:
                return
            # Tornado reads header fields as Latin-1.
            checking = self.check_api_key(key.encode("latin-1").decode("utf-8", "replace"))
            if inspect.isawaitable(checking):
                await checking
            self._refusal = None
            length = self.request.headers.get("Content-Length", "")
            # What is no number Tornado refuses when it comes to the body.
            if length.isdecimal() and (len(length) > 18 or int(length) > self._max_bytes):
                raise self._too_large()
        except HTTPError as refusal:
            self._refusal = refusal

    def check_api_key(self, api_key: str) -> Awaitable[None] | None:
        """Raise ``tornado.web.HTTPError`` unless ``api_key`` opens.

        May be overridden, also by an ``async`` method. This one compares with every key, each in
        constant time: the time taken tells nothing about any of them.
        """
        keys = [self.api_key] if isinstance(self.api_key, str) else list(self.api_key)
        matches = [hmac.compare_digest(api_key.encode(), key.encode()) for key in keys if key]
        if not any(matches):
            raise HTTPError(401, "Invalid API key")
        return None

    def check_xsrf_cookie(self) -> None:
        """The key is checked instead: programs know nothing of such cookies."""

    def data_received(self, chunk: bytes) -> None:
        if self._refusal is not None:
            return
        self._body += chunk
        if len(self._body) > self._max_bytes:
            self._body.clear()
            self._refusal = self._too_large()

    async def post(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        try:
            msg = decode(bytes(self._body))
        except MalformedMessage as error:
            raise HTTPError(400, "Invalid JSON") from error
        self.service_registry.process_message_from(self.client, msg)
        try:
            async with asyncio.timeout(self.service_registry.limits.backend_timeout):
                status, body = await self.client.response
        except TimeoutError as error:
            raise HTTPError(504, "The service did not answer in time") from error
        if not self.client.connected:
            return
        if status != 200:
            metrics.backend_refused += 1
        self.set_status(status)
        self._finish_json(body)

    def on_finish(self) -> None:
        self.client.connected = False

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.client.connected = False
        self.client.message_refused("The sender has gone")  # nobody waits any more

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        metrics.backend_refused += 1
        error = kwargs.get("exc_info", (None, None))[1]
        text = None
        if isinstance(error, HTTPError) and error.log_message:
            text = error.log_message % error.args if error.args else error.log_message
        self.refusal = text or self._reason
        self._finish_json(encode({"error": text or self._reason}))

    def _finish_json(self, body: bytes) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(body)

    @property
    def _max_bytes(self) -> int:
        return self.service_registry.limits.max_backend_message_bytes

    def _too_large(self) -> HTTPError:
        return HTTPError(413, f"Expected at most {self._max_bytes} bytes")


class LiveHandler(RequestHandler):
    """Says that the process runs and its loop turns."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write({"status": "live"})


class MetricsHandler(RequestHandler):
    """The metrics of this process for Prometheus. For the private port."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(prometheus_text())
