"""Plain WSGI, and pages of another origin: python wsgi_site.py"""

import json
import os
from wsgiref.simple_server import make_server

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.datasync import DataSync
from snorky.backend.lists import Lists

URL = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
PAGES = ["https://app.example.com"]
TASKS = {}

transport = SnorkyHTTPTransport(URL, os.environ["SNORKY_API_KEY"], timeout=2)
lists = Lists(DataSync(SnorkyBackend(transport)), PAGES)


def app(environ, start_response):
    headers = {
        name.removeprefix("HTTP_").replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    method = environ["REQUEST_METHOD"]
    if method == "OPTIONS":  # a browser asks what a page of another origin may do
        start_response("204 No Content", list(lists.preflight(headers).items()))
        return []
    if method == "GET":
        with lists.read(headers) as done:
            done.subscribe([{"dealer": "Tasks", "query": ["and"]}])
            answer = list(TASKS.values())
    else:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        with lists.write(headers) as done:
            answer = {"id": len(TASKS) + 1, "title": environ["wsgi.input"].read(size).decode()}
            TASKS[answer["id"]] = answer
            done.insert("Task", answer)
    start_response("200 OK", [("Content-Type", "application/json"), *done.headers.items()])
    return [json.dumps(answer).encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        server.serve_forever()
