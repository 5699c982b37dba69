"""What monitors ask a relay of its own process: ``/metrics``, ``/ready`` and ``/live``."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click

from snorky.backend.outbox.relay import Relay
from snorky.log import snorky_log
from snorky.metrics import prometheus_text


def serve_metrics(relay: Relay, port: int, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Answer at ``http://host:port`` from a thread. Raises click.ClickException."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(200, prometheus_text(), "text/plain; version=0.0.4")
                case "/ready":
                    ready = relay.figures.ready
                    self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n")
                case "/live":
                    self._answer(200, b"live\n")
                case _:
                    self._answer(404, b"expected /metrics, /ready or /live\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as its base has it
            snorky_log.debug(format, *args)

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise click.ClickException(f"Cannot listen on port {port}: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    snorky_log.info("/metrics, /ready and /live at http://%s:%d", host, server.server_port)
    return server
