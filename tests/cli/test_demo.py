"""``snorky demo`` as a process: what it serves, refuses and keeps, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from tests.patience import patient

Start = Callable[..., Any]
ADDRESS = r"Open (http://localhost:(\d+)/)"


@pytest.fixture
def start(run_program: Callable[..., Any]) -> Start:
    def start(*options: str) -> Any:
        command = [sys.executable, "-m", "snorky", "demo", "--no-browser", *options]
        return run_program(command)

    return start


@pytest.fixture
def address(start: Start) -> str:
    found: str = start("--port", "0").wait_for(ADDRESS)[1]
    return found.replace("localhost", "127.0.0.1")


def test_the_list_as_an_api(address: str) -> None:
    with httpx2.Client(base_url=address, timeout=patient(20)) as http:
        added = http.post("api/items", json={"title": " Milk "})
        assert added.status_code == 201
        item = added.json()
        assert item == {"id": item["id"], "title": "Milk", "done": False}
        one = f"api/items/{item['id']}"
        assert http.patch(one, json={"done": True}).json() == item | {"done": True}
        assert http.get("api/items").json()[-1] == item | {"done": True}
        assert http.delete(one).status_code == 204
        assert http.delete(one).json() == {"error": "That item is gone."}
        assert http.patch(one, json={"done": True}).status_code == 404
        assert item["id"] not in [other["id"] for other in http.get("api/items").json()]


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("POST", "api/items", b"", "title: expected some text."),
        ("POST", "api/items", b"[" * 5000, "title: expected some text."),
        ("POST", "api/items", b'{"title": "  "}', "title: expected some text."),
        ("POST", "api/items", b'{"title": 1}', "title: expected some text."),
        (
            "POST",
            "api/items",
            json.dumps({"title": "x" * 201}).encode(),
            "title: expected at most 200 characters, got 201.",
        ),
        ("PATCH", "api/items/1", b'{"done": 1}', "done: expected true or false, got 1."),
    ],
)
def test_what_the_list_does_not_take(
    address: str, method: str, path: str, body: bytes, error: str
) -> None:
    answer = httpx2.request(method, address + path, content=body, timeout=patient(20))
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_the_list_is_bounded(address: str) -> None:
    with httpx2.Client(base_url=address, timeout=patient(20)) as http:
        while (answer := http.post("api/items", json={"title": "x"})).status_code == 201:
            assert answer.json()["id"] <= 100
        assert answer.json() == {"error": "The list is full: 100 items."}


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}],
    ids=str,
)
def test_other_sites_neither_read_nor_change_it(address: str, headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        answer = httpx2.request(method, f"{address}api/items", headers=headers, timeout=patient(20))
        assert answer.status_code in (403, 404)


async def test_the_steps_of_a_change_in_their_order(address: str) -> None:
    url = address.replace("http:", "ws:") + "ws"
    async with websockets.connect(url) as page, httpx2.AsyncClient(base_url=address) as http:
        for number, channel in enumerate(("steps", "windows")):
            call = {"command": "subscribe", "params": {"channel": channel}, "callId": number}
            await page.send(json.dumps({"service": "wire", "message": call}))
            assert json.loads(await page.recv())["message"]["type"] == "response"
        await http.post("api/items", json={"title": "Milk"}, headers={"X-Window": "w1"})
        steps: list[dict[str, Any]] = []
        while not steps or steps[-1]["text"] != "201 Created":
            steps.append(json.loads(await page.recv())["message"]["message"])
    assert {step["window"] for step in steps} == {"w1"}
    described = [(step["from"], step["to"], step["text"].split(" ")[0]) for step in steps]
    assert described == [
        ("window", "app", "POST"),
        ("app", "database", "SELECT"),
        ("app", "database", "BEGIN"),
        ("app", "database", "INSERT"),
        ("app", "database", "COMMIT"),
        ("app", "snorky", "publishDeltas"),
        ("app", "window", "201"),
    ]


def test_a_database_file_keeps_the_list(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "list.sqlite3"
    demo = start("--port", "0", "--database", str(file))
    httpx2.post(
        f"{demo.wait_for(ADDRESS)[1]}api/items", json={"title": "Milk"}, timeout=patient(20)
    )
    assert demo.stop(signal.SIGTERM) == 0
    with sqlite3.connect(file) as connection:
        titles = [title for (title,) in connection.execute("SELECT title FROM item")]
    connection.close()
    again = start("--port", "0", "--database", str(file)).wait_for(ADDRESS)[1]
    assert [item["title"] for item in httpx2.get(f"{again}api/items").json()] == titles
    assert titles[-1] == "Milk"


def test_a_file_that_is_no_database_is_refused(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("no database" * 100)
    demo = start("--port", "0", "--database", str(file))
    assert demo.end() == 1
    assert demo.lines == [f"Error: {file} cannot be used: file is not a database."]


def test_a_port_that_is_taken_is_replaced(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        demo = start("--port", str(taken))
        demo.wait_for(f"Port {taken} is taken.")
        assert int(demo.wait_for(ADDRESS)[2]) != taken


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_without_a_word_too_many(start: Start, number: signal.Signals) -> None:
    demo = start("--port", "0")
    demo.wait_for(ADDRESS)
    assert demo.stop(number) == 0
    assert [line for line in demo.lines if line][1:] == ["The demo has stopped."]
