"""Requests of Tornado's in the words of every edge, and what handlers of ours need besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tornado.httputil import HTTPServerRequest

from snorky.identity import Handshake


def handshake_of(request: HTTPServerRequest) -> Handshake:
    """A request of Tornado's as the Handshake that every edge shares."""
    return Handshake(
        path=request.path,
        headers=request.headers,
        arguments={
            name: [value.decode("utf-8", "replace") for value in values]
            for name, values in request.query_arguments.items()
        },
        cookies=_Cookies(request),
        remote_address=request.remote_ip,
        secure=request.protocol == "https",
    )


class _Cookies(Mapping[str, str]):
    """Parsed when somebody looks at them: who authenticates by a token never does."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request

    def __getitem__(self, name: str) -> str:
        return self._request.cookies[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._request.cookies)

    def __len__(self) -> int:
        return len(self._request.cookies)


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
