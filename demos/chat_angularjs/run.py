"""Runs the rooms until Ctrl-C: the page, who is who, and Snorky at one port."""

import sys
from pathlib import Path

from tornado.web import Application

from snorky.request_handlers.websocket import SnorkyWebSocketHandler

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from live import frontend  # noqa: E402
from one_program import main, page_routes  # noqa: E402
from visitors import VisitorHandler  # noqa: E402


def make_application():
    return Application(
        [
            ("/visitor", VisitorHandler, {"frontend": frontend}),
            SnorkyWebSocketHandler.get_route(frontend, "/ws"),
            *page_routes(HERE / "page"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main("Run the rooms, until Ctrl-C.", frontend, make_application))
