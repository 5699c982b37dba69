"""The SockJS addresses without a session, and what all addresses share: origins, CORS, caching.

Follows sockjs-protocol 0.3.3, whose chapters the comments name.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, ClassVar, cast

from tornado.escape import xhtml_escape
from tornado.http1connection import HTTP1Connection
from tornado.httputil import format_timestamp
from tornado.web import RequestHandler, stream_request_body

from snorky.edges.handshakes import REFUSAL_TYPE, log_refused_page, page_of, why_refused
from snorky.identity import Refused, origin_allowed
from snorky.metrics import metrics
from snorky.request_handlers.sockjs.sessions import Endpoint
from snorky.request_handlers.tornado_internals import LogsNoQuery, reason_of
from snorky.wire import encode

YEAR = 365 * 24 * 3600
FORTNIGHT = 14 * 24 * 3600
"""How long browsers keep the iframe page, and with it who may embed it."""

NOT_CACHED = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
"""Nothing may keep it, nor compress it: who compresses a stream holds it back."""
TEXT_TYPE = "text/plain; charset=UTF-8"
HTML_TYPE = "text/html; charset=UTF-8"

_READ_PAST_LIMIT = 4
"""How many times the limit of a body is read, and dropped, before the connection is cut."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?", re.ASCII | re.IGNORECASE)

# The protocol fixes it to the letter ("IFrame page").
IFRAME_PAGE = """<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script>
    document.domain = document.domain;
    _sockjs_onload = function(){SockJS.bootstrap_iframe();};
  </script>
  <script src="%s"></script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"""


def logged_path(handler: RequestHandler) -> str:
    """The path as logs may have it. Where nobody is asked who it is, whoever knows the name of a
    session has it."""
    parts = handler.request.path.split("/")
    if "session_id" in handler.path_kwargs:
        parts[-2] = "*"
    return "/".join(parts)


@stream_request_body
class SockJSRequestHandler(LogsNoQuery, RequestHandler):
    """What all addresses share: origins, CORS, caching, errors, and bodies of a bounded size."""

    METHODS: ClassVar[str] = "OPTIONS, GET"
    refusal = ""
    """Why it was refused, for the log."""

    def initialize(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.keeps_body = False
        self.body = bytearray()
        self.body_bytes = 0

    async def prepare(self) -> None:
        # What is too long is read to its end and dropped, so that the answer arrives.
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(_READ_PAST_LIMIT * self.endpoint.max_body_bytes)
        connection.set_body_timeout(2 * self.endpoint.heartbeat_interval)

    def data_received(self, chunk: bytes) -> None:
        self.body_bytes += len(chunk)
        if self.keeps_body and self.body_bytes <= self.endpoint.max_body_bytes:
            self.body += chunk

    def allow_page(self) -> bool:
        """Refuse the request, or let its page read the answer (CORS)."""
        try:
            self.check_page()
        except Refused as refused:
            self.refuse(refused)
            return False
        return True

    def check_page(self) -> None:
        """Let the page read the answer (CORS). Raises Refused where it may not ask at all."""
        allowed_origins = self.endpoint.allowed_origins
        page = page_of(self.request.headers)
        if not origin_allowed(page, self.request.host, allowed_origins):
            log_refused_page(str(page), self.request.host, self.request.remote_ip)
            raise Refused(403, f"Cross origin requests not allowed: {page}")
        origin = self.request.headers.get("Origin", "*")
        if origin == "null" and allowed_origins is not None and self.request.method == "OPTIONS":
            # So the protocol has it; but with cookies, browsers would let no page read the answer.
            origin = "*"
        self.set_header("Access-Control-Allow-Origin", origin)
        self.set_header("Access-Control-Allow-Credentials", "true")
        self.set_header("Vary", "Origin")
        requested = self.request.headers.get("Access-Control-Request-Headers")
        if requested:
            self.set_header("Access-Control-Allow-Headers", requested)

    def options(self, **path: str) -> None:
        if not self.allow_page():
            return
        self.keep_for(YEAR)
        self.set_header("Access-Control-Max-Age", str(YEAR))
        self.set_header("Access-Control-Allow-Methods", self.METHODS)
        self.set_status(204)
        self.finish()

    def keep_for(self, seconds: int) -> None:
        self.set_header("Cache-Control", f"public, max-age={seconds}")
        self.set_header("Expires", format_timestamp(time.time() + seconds))

    def answer(self, status: int, text: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", TEXT_TYPE)
        self.finish(text)

    def refuse(self, refused: Refused) -> None:
        metrics.clients_refused += 1
        self.refusal = why_refused(refused)
        self.set_header("Content-Type", REFUSAL_TYPE)
        self.set_status(refused.status)
        self.finish(refused.reason)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", self.METHODS)
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.set_header("Content-Type", TEXT_TYPE)
            self.finish(reason_of(self))

    def check_xsrf_cookie(self) -> None:
        """The origin is checked instead: the SockJS client knows nothing of such cookies."""

    def logged_path(self) -> str:
        return logged_path(self)


class GreetingHandler(SockJSRequestHandler):
    def get(self, **path: str) -> None:
        self.answer(200, "Welcome to SockJS!\n")


class InfoHandler(SockJSRequestHandler):
    def get(self, **path: str) -> None:
        if not self.allow_page():
            return
        self.set_header("Cache-Control", NOT_CACHED)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        info = {
            "websocket": self.endpoint.websocket,
            "cookie_needed": self.endpoint.jsessionid,
            "origins": ["*:*"],
            "entropy": secrets.randbits(32),
        }
        self.finish(encode(info))


class IframeHandler(SockJSRequestHandler):
    """The page by which other pages reach us from our own origin: it says who may embed it."""

    def get(self, **path: str) -> None:
        self.keep_for(FORTNIGHT)
        ancestors = self._ancestors()
        if ancestors is not None:
            self.set_header("Content-Security-Policy", f"frame-ancestors {ancestors}")
        self.set_header("Content-Type", HTML_TYPE)
        self.finish(IFRAME_PAGE % xhtml_escape(self.endpoint.sockjs_url))

    def _ancestors(self) -> str | None:
        """As ``origin_allowed`` has it; None: everybody."""
        listed = list(self.endpoint.allowed_origins or ())
        if "*" in listed:
            return None
        host = _HOST.fullmatch(self.request.host)
        same = [] if host is None else [f"http://{host[1]}:*", f"https://{host[1]}:*"]
        return " ".join(["'self'", *same, *listed])
