"""What we use of Tornado that it does not promise to keep. Nothing else here does."""

from __future__ import annotations

from collections.abc import Iterator

from tornado.iostream import BaseIOStream
from tornado.web import RequestHandler


class LogsNoQuery(RequestHandler):
    """Tornado's access log shows its requests without the query: that may hold tokens."""

    def logged_path(self) -> str:
        """What the log may show of the path."""
        return self.request.path

    def _request_summary(self) -> str:
        return f"{self.request.method} {self.logged_path()} ({self.request.remote_ip})"


def bytes_unwritten(stream: BaseIOStream) -> int:
    """What was given to the stream and not to the operating system; 0 once it is closed."""
    return len(stream._write_buffer or b"")


def bytes_read_ahead(stream: BaseIOStream) -> int:
    """What the stream has read and nobody has asked for."""
    return stream._read_buffer_size


def headers_of(handler: RequestHandler) -> Iterator[tuple[str, str]]:
    """The headers of the response as they were set so far, cookies included."""
    yield from handler._headers.get_all()
    for cookie in getattr(handler, "_new_cookie", {}).values():
        yield "Set-Cookie", cookie.OutputString()


def reason_of(handler: RequestHandler) -> str:
    """The reason phrase of the response."""
    return handler._reason


def is_finished(handler: RequestHandler) -> bool:
    """Whether the response has been given to the connection as a whole."""
    return handler._finished
