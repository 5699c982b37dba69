"""Identity by cookie: the web application is asked whose session it is.

Knows HTTP and how to be careful with it; what a session is, only the web application knows.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Collection
from hashlib import sha256
from typing import Any

import httpx2

from snorky.identity import Authenticated, Handshake, Refused
from snorky.log import printable, snorky_log

MAX_ANSWER_BYTES = 16 * 1024

_COOKIE = re.compile(r"[!#-+\--:<-\[\]-~]+", re.ASCII)  # RFC 6265, 4.1.1

_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, RecursionError, ValueError)


class WebApplicationAuthenticator:
    """Sends the peer's ``cookies`` of these names to ``url``: ``authenticate=`` of a registry.

    The answer is ``{"identity": ...}`` with status 200; with ``"expiresIn": seconds`` in it the
    connection is closed then. 401, 403, and redirections (to a page for logging in) say no. So do
    all failures, and answers that take more than ``timeout`` seconds: the peer is refused with
    status 503. A yes is remembered for ``cache_seconds`` (0: not at all), so that pages that come
    back all at once do not overrun the web application; who logs out may connect for as long.
    """

    def __init__(
        self,
        url: str,
        *,
        cookies: Collection[str],
        method: str = "GET",
        timeout: float = 5,
        cache_seconds: float = 5,
        max_cached: int = 10_000,
        max_requests: int = 20,
    ) -> None:
        if isinstance(cookies, str) or not cookies:
            raise ValueError(f"expected a list of names of cookies, got {cookies!r}")
        if method not in ("GET", "POST"):
            raise ValueError(f"expected GET or POST, got {method!r}")
        self._url = url
        self._cookies = sorted(cookies)
        self._method = method
        self._timeout = timeout
        self._cache_seconds = cache_seconds
        self._max_cached = max_cached
        self._limits = httpx2.Limits(max_connections=max_requests)
        self._client: httpx2.AsyncClient | None = None
        self._cache: dict[bytes, tuple[float, Any]] = {}
        """Who came with which cookies, by their hash, the oldest first: until when it holds."""

    async def __call__(self, handshake: Handshake) -> Any:
        header = self._header_of(handshake)
        key = sha256(header.encode()).digest()
        cached = self._cache.get(key)
        if cached is not None and time.monotonic() < cached[0]:
            return cached[1]
        identity = await self._ask(header)
        if self._cache_seconds and self._max_cached:
            self._cache.pop(key, None)
            if len(self._cache) >= self._max_cached:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = time.monotonic() + self._cache_seconds, identity
        return identity

    async def aclose(self) -> None:
        """Close the connections to the web application."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _header_of(self, handshake: Handshake) -> str:
        cookies = [name for name in self._cookies if name in handshake.cookies]
        # Unquoted, a cookie may hold line breaks, and more that is no cookie.
        if not cookies or not all(_COOKIE.fullmatch(handshake.cookies[name]) for name in cookies):
            raise Refused
        return "; ".join(f"{name}={handshake.cookies[name]}" for name in cookies)

    async def _ask(self, header: str) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._request(header)
            if 300 <= status < 400 or status in (401, 403):
                raise Refused
            if status != 200:
                raise ValueError(f"expected status 200, 401 or 403, got {status}")
            return _identity_in(json.loads(body))
        except _FAILURES as error:
            # Not the traceback: peers decide how often this is written.
            snorky_log.warning(
                "The web application does not say who connects: %s",
                printable(f"{type(error).__name__} {error}"),
            )
            raise Refused(503, "Cannot find out who you are") from error

    async def _request(self, header: str) -> tuple[int, bytes]:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                limits=self._limits, timeout=self._timeout, trust_env=False
            )
        headers = {"Cookie": header, "Accept": "application/json"}
        body = bytearray()
        async with self._client.stream(self._method, self._url, headers=headers) as response:
            if response.status_code == 200:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ValueError(f"expected at most {MAX_ANSWER_BYTES} bytes, got more")
            # Its answers may set cookies; they are one visitor's, and none of the next one's.
            self._client.cookies.clear()
            return response.status_code, bytes(body)


def _identity_in(answer: Any) -> Any:
    if not isinstance(answer, dict) or "identity" not in answer:
        raise ValueError("expected an object with an identity")
    identity, seconds = answer["identity"], answer.get("expiresIn")
    if identity is None:
        raise Refused
    if seconds is None:
        return identity
    if type(seconds) not in (int, float) or not 0 < seconds < 1e10:
        raise ValueError(f"expected expiresIn as seconds, got {seconds!r}")
    return Authenticated(identity, time.time() + seconds, time.monotonic() + seconds)
