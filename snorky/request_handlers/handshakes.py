"""A request of Tornado's as the Handshake that every edge shares."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

from snorky.identity import Handshake


def handshake_of(request: HTTPServerRequest) -> Handshake:
    return Handshake(
        path=request.path,
        headers=request.headers,
        arguments={
            name: [value.decode("utf-8", "replace") for value in values]
            for name, values in request.query_arguments.items()
        },
        cookies={name: morsel.value for name, morsel in request.cookies.items()},
        remote_address=request.remote_ip,
        secure=request.protocol == "https",
    )
