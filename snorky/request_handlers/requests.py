"""What handlers of ours need of a request beyond what Tornado says of it."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest


def ends_with_the_connection(request: HTTPServerRequest) -> bool:
    """Whether a response without a known length ends where the connection does.

    HTTP/1.0 has no chunks: its client would wait for the end of a stream for ever, where the
    connection was kept.
    """
    return request.version == "HTTP/1.0"


def end_with_the_connection(request: HTTPServerRequest) -> None:
    """Call it before such a response begins; its end has to close the connection."""
    if ends_with_the_connection(request):
        # Else Tornado would answer that it is kept.
        request.headers["Connection"] = "close"
