"""A line for each request and each WebSocket, with the reason where it was refused."""

from __future__ import annotations

import logging
import re

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from snorky.log import allowance, printable

access_log = logging.getLogger("snorky.access")

_SOCKJS_SESSION = re.compile(r"^(/sockjs/[^/]*/)[^/]*/")


def log_handled(handler: RequestHandler) -> None:
    """``refusal`` is what handlers of ours say."""
    log_request(handler.request, handler.get_status(), getattr(handler, "refusal", ""))


def log_request(request: HTTPServerRequest, status: int, why: str = "") -> None:
    """``why`` it was refused, if it was.

    Without the query, which may hold tokens, and without the names of SockJS sessions: where nobody
    is asked who it is, they are all that somebody else would need. Of refusals an address causes
    no more lines than of other faults: they are warnings, and cost a stranger nothing.
    """
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    if not access_log.isEnabledFor(level):
        return
    if 400 <= status < 500 and not allowance.take(request.remote_ip):
        return
    access_log.log(
        level,
        "%s %s %d %s %.1f ms%s",
        request.method,
        printable(_SOCKJS_SESSION.sub(r"\1*/", request.path)),
        status,
        request.remote_ip,
        1000 * request.request_time(),
        f", {printable(why)}" if why else "",
    )
