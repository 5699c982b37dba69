"""The reference has every limit, close code, metric and command, and none that is not there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.web import Application

import snorky
from snorky import ServiceRegistry, close_codes
from snorky.asgi import SnorkyASGI
from snorky.cli.program import Served
from snorky.cli.server import backend_application
from snorky.close_codes import CloseCode
from snorky.edges.comet.sessions import Endpoint as CometEndpoint
from snorky.identity.jwt import JWTAuthenticator
from snorky.identity.web import WebApplicationAuthenticator
from snorky.limits import DEFAULT_LIMITS
from snorky.protocols import comet, sessions, sockjs, websocket_frames
from snorky.request_handlers.socketio import SnorkySocketIOHandler
from snorky.request_handlers.sockjs import SnorkySockJSHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.base import RPCService
from snorky.services.chat import ChatBackend, ChatService
from snorky.services.cursors import CursorsService
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.events import EventsBackend, EventsService
from snorky.services.identity import IdentityBackend, IdentityService
from snorky.services.messaging import MessagingService
from snorky.services.pubsub import PubSubBackend, PubSubService
from tests.docs.reference_tables import COMMANDS, PAGES, REFERENCE, page_of, rewritten, shown
from tests.patience import patient

TAKES_OPTIONS: dict[str, Callable[..., Any]] = {
    "SnorkyWebSocketHandler": SnorkyWebSocketHandler.__init__,
    "SnorkySockJSHandler": SnorkySockJSHandler.get_routes,
    "SnorkyCometHandler": CometEndpoint,
    "SnorkySocketIOHandler": SnorkySocketIOHandler.get_route,
    "SnorkyASGI": SnorkyASGI.__init__,
    "DataSyncBackend": DataSyncBackend.__init__,
    "DataSyncService": DataSyncService.__init__,
    "JWTAuthenticator": JWTAuthenticator.__init__,
    "WebApplicationAuthenticator": WebApplicationAuthenticator.__init__,
}

SERVICES: dict[str, type[RPCService]] = {
    "PubSub": PubSubService,
    "DataSync": DataSyncService,
    "Identity": IdentityService,
    "Messaging": MessagingService,
    "Chat": ChatService,
    "Cursors": CursorsService,
    "Events": EventsService,
    "PubSubBackend": PubSubBackend,
    "ChatBackend": ChatBackend,
    "DataSyncBackend": DataSyncBackend,
    "EventsBackend": EventsBackend,
    "IdentityBackend": IdentityBackend,
}

SERVICE_FILES = sorted((Path(snorky.__file__).parent / "services").rglob("*.py"))


def chapters(page: Path) -> dict[str, str]:
    """The text below each heading."""
    parts = re.split(r"(?m)^##+ (.*)\n", page.read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of every table in ``text``, without those of its heads."""
    tables = re.findall(r"(?m)^\|.*\n\|[-|]+\n((?:\|.*\n)*)", text + "\n")
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_tables_made_from_the_code_are_those_of_today(page: str) -> None:
    assert page_of(page).read_text() == rewritten(page), (
        f"{page}.md is out of date: python -m tests.docs.captures"
    )


def test_every_command_is_on_the_page_of_commands() -> None:
    assert set(chapters(REFERENCE / "command-line.md")) == set(COMMANDS)


@pytest.mark.parametrize("name", TAKES_OPTIONS)
def test_every_option_that_is_a_number_has_its_default_on_the_page(name: str) -> None:
    parameters = inspect.signature(TAKES_OPTIONS[name]).parameters.values()
    numbers = {
        f"`{parameter.name}`": shown(parameter.name, parameter.default)
        for parameter in parameters
        if type(parameter.default) in (int, float)
    }
    on_page = rows(chapters(REFERENCE / "limits.md")[name])
    assert {option: (unit, default) for option, unit, default, _ in on_page} == numbers


def test_every_fixed_number_on_the_page_is_that_of_the_code() -> None:
    fixed = rows(chapters(REFERENCE / "limits.md")["Fixed"])
    assert len(fixed) > 5
    for dotted, unit, value, _ in fixed:
        module, _, name = dotted.strip("`").rpartition(".")
        number = getattr(importlib.import_module(module), name)
        assert (unit, value) == shown(name, number), dotted


def test_the_limits_that_clients_meet_are_told_with_the_protocol() -> None:
    names = ["max_message_bytes", "max_unsent_bytes", "max_pending_calls"]
    names += ["command_timeout", "max_subscriptions", "handshake_timeout"]
    defaults = [shown(name, getattr(DEFAULT_LIMITS, name))[1] for name in names]
    on_page = rows(chapters(REFERENCE / "protocol.md")["Limits"])
    assert [default for _, default, _ in on_page] == defaults


def comes_back(code: int) -> str:
    final = 3500 <= code < 4000 or 4500 <= code < 5000
    return "no" if final else "yes"


def test_every_close_code_is_on_the_page_with_what_it_asks_for() -> None:
    on_page = rows(chapters(REFERENCE / "close-codes.md")["Snorky's"])
    ours = {name: code for name, code in vars(close_codes).items() if isinstance(code, CloseCode)}
    expected = [
        [str(code), f"`{name}`", f"`{reason}`", comes_back(code)]
        for name, (code, reason) in sorted(ours.items(), key=lambda item: item[1])
    ]
    assert [row[:4] for row in on_page] == expected
    assert all(len(row[4]) > 20 for row in on_page)


def test_the_codes_of_the_protocols_are_on_the_page() -> None:
    on_page = rows(chapters(REFERENCE / "close-codes.md")["The protocols'"])
    theirs = {
        value.code
        for module in (comet, sessions, sockjs)
        for value in vars(module).values()
        if isinstance(value, CloseCode) and value not in vars(close_codes).values()
    }
    faults = {websocket_frames._PROTOCOL_FAULT, websocket_frames._NOT_UTF8}
    codes = theirs | faults | {websocket_frames._TOO_BIG}
    assert [row[0] for row in on_page] == [str(code) for code in sorted(codes)]
    assert all(row[2] == comes_back(int(row[0])) for row in on_page)


async def test_the_metrics_on_the_page_are_those_that_a_server_has(
    listen: Callable[[Application], int],
) -> None:
    served = Served(ServiceRegistry([DataSyncService("datasync")]), None, (), None)
    port = listen(backend_application(served))
    async with httpx2.AsyncClient(timeout=patient(20)) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    families = text_string_to_metric_families(text)
    expected = [
        [f"`{family.samples[0].name}`", family.type, family.documentation] for family in families
    ]
    page = (REFERENCE / "metrics.md").read_text()
    table, _, advice = page.partition("## What to look at")
    assert sorted(rows(table)) == sorted(expected)
    named = {f"`{name}`" for name in re.findall(r"snorky_\w+", advice)}
    assert named <= {name for name, _, _ in expected}


@pytest.mark.parametrize("name", SERVICES)
def test_every_command_of_a_service_is_on_the_page_with_its_parameters(name: str) -> None:
    service = SERVICES[name]
    expected = {
        f"`{command}({', '.join(parameters_of(service, command))})`"
        for command in service.rpc_commands
    }
    on_page = rows(chapters(REFERENCE / "services.md")[name])
    assert {row[0] for row in on_page} == expected


def test_every_error_that_a_service_answers_with_is_on_a_page() -> None:
    pages = "".join((REFERENCE / f"{name}.md").read_text() for name in ("protocol", "services"))
    texts = {text for file in SERVICE_FILES for text in error_texts_in(file)}
    assert len(texts) > 20
    assert {text for text in texts if text not in pages} == set()


def error_texts_in(file: Path) -> Iterator[str]:
    """What follows ``RPCError(`` or ``request.error(``, up to what a text has put in."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("RPCError", "request.error"):
            first: ast.AST | None = node.args[0] if node.args else None
            if isinstance(first, ast.JoinedStr):
                first = first.values[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def parameters_of(service: type[RPCService], command: str) -> list[str]:
    _, _, *parameters = inspect.signature(getattr(service, command)).parameters
    return parameters


@pytest.mark.parametrize("page", sorted(REFERENCE.rglob("*.md")), ids=lambda page: page.stem)
def test_sizes_and_times_in_the_text_of_a_page_are_defaults_of_some_limit(page: Path) -> None:
    tables = (REFERENCE / "limits.md").read_text()
    defaults = set(re.findall(r"\| ([\d.,]+ (?:KiB|MiB|s)) \|", tables))
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    said = set(re.findall(r"\b[\d.,]+ (?:KiB|MiB|s)\b", prose))
    client_side = {"0.1 s", "20 s", "90 s", "25 s", "0.5 s", "2 KiB"}
    assert said <= defaults | client_side
