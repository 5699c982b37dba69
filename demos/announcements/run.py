"""Runs the announcements until Ctrl-C: the page and Snorky at one port, the back end at another."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from tornado.web import Application

from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from live import backend, frontend  # noqa: E402
from one_program import options_parser, page_routes, run, serve_page  # noqa: E402
from running import HOST, free_port, refuse_second_run, run_file  # noqa: E402


def make_application() -> Application:
    return Application(
        [SnorkyWebSocketHandler.get_route(frontend, "/ws"), *page_routes(HERE / "page")]
    )


def backend_application(key: str) -> Application:
    """A program of its own behind a port of its own: browsers have no business there."""
    keyed = {"service_registry": backend, "api_key": key}
    return Application([("/backend", BackendHTTPHandler, keyed)])


async def main(options: argparse.Namespace) -> None:
    file = options.data / "run.json"
    refuse_second_run(file)
    port = free_port(options.port, "the page")
    backend_port = free_port(options.backend_port, "the back end")
    key = os.environ.get("SNORKY_API_KEY") or secrets.token_urlsafe(32)
    settings = {
        "PORT": str(port),
        "SNORKY_BACKEND_URL": f"http://{HOST}:{backend_port}/backend",
        "SNORKY_API_KEY": key,
    }
    options.data.mkdir(exist_ok=True)
    with run_file(file, settings):
        server = backend_application(key).listen(backend_port, HOST)
        await serve_page(port, frontend, make_application, browser=options.browser)
        server.stop()
        await server.close_all_connections()


if __name__ == "__main__":
    parser = options_parser("Run the announcements, until Ctrl-C.")
    parser.add_argument("--backend-port", type=int, default=5002, help="port of the back end")
    parser.add_argument(
        "--data", type=Path, default=HERE / "data", help="folder where publish.py finds the key"
    )
    sys.exit(run(main(parser.parse_args())))
