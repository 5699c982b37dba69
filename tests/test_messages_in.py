"""Messages for nobody, and messages that cost more than their size says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.service_registry import ServiceRegistry
from snorky.services.base import Service
from snorky.testing import FakeClient


class Notes(Service):
    def __init__(self) -> None:
        super().__init__("notes")
        self.messages: list[Any] = []

    def process_message_from(self, client: Any, msg: Any) -> None:
        self.messages.append(msg)


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def notes() -> Notes:
    return Notes()


def raw(service: str, message: Any) -> bytes:
    return json.dumps({"service": service, "message": message}).encode()


def test_a_call_to_a_service_that_is_not_there_is_answered(
    client: FakeClient, expect_log: Any
) -> None:
    call = {"command": "echo", "params": {}, "callId": 0}
    ServiceRegistry().process_message_raw(client, raw("nobody", call))

    error = {"type": "error", "callId": 0, "message": "Unknown service"}
    assert client.received == [{"service": "nobody", "message": error}]
    expect_log('Message for non existing service "nobody"')


@pytest.mark.parametrize("message", [None, "hello", [], {"command": "echo", "callId": None}])
def test_what_is_no_call_to_a_service_that_is_not_there_is_dropped(
    client: FakeClient, message: Any, expect_log: Any
) -> None:
    ServiceRegistry().process_message_raw(client, raw("nobody", message))

    assert client.received == []
    expect_log('Message for non existing service "nobody"')


def test_an_edge_that_tells_of_refusals_is_not_told_twice(expect_log: Any) -> None:
    class Teller(FakeClient):
        def message_refused(self, reason: str, status: int = 400) -> None:
            self.refused = status

    teller = Teller()
    ServiceRegistry().process_message_raw(teller, raw("nobody", {"callId": 1}))

    assert (teller.refused, teller.received) == (400, [])
    expect_log('Message for non existing service "nobody"')


def test_a_message_of_very_many_small_objects_is_dropped(
    client: FakeClient, notes: Notes, expect_log: Any
) -> None:
    registry = ServiceRegistry([notes], limits=Limits(max_message_containers=100))
    before = metrics.messages_refused
    registry.process_message_raw(
        client, raw("notes", [[], " " * 1000, *[[]] * 97])
    )  # with the array, and the envelope
    registry.process_message_raw(client, raw("notes", [[]] * 500))
    registry.process_message_raw(client, raw("notes", [{}] * 500).decode())

    assert [len(message) for message in notes.messages] == [99]
    assert metrics.messages_refused == before + 2
    for _ in range(2):
        expect_log("Message of more than 100 arrays and objects")


def test_a_call_of_very_many_small_objects_is_answered(
    client: FakeClient, notes: Notes, expect_log: Any
) -> None:
    registry = ServiceRegistry([notes], limits=Limits(max_message_containers=100))
    registry.process_message_raw(client, raw("notes", {"callId": 3, "params": [[]] * 500}))

    error = {"type": "error", "callId": 3, "message": "Too many arrays and objects"}
    assert client.received == [{"service": "notes", "message": error}]
    assert notes.messages == []
    expect_log("Message of more than 100 arrays and objects")


@pytest.mark.parametrize("text", ["[" * 5000, '\\"[{' * 500, "\\[" * 400, "ö[" * 300, '"'])
def test_brackets_in_texts_are_none(client: FakeClient, notes: Notes, text: str) -> None:
    registry = ServiceRegistry([notes], limits=Limits(max_message_containers=100))
    registry.process_message_raw(client, raw("notes", [text, "[" * 200]))

    assert notes.messages == [[text, "[" * 200]]


def test_a_text_that_does_not_end_is_read_in_one_go(client: FakeClient, expect_log: Any) -> None:
    """Time that grows with the square of the length would show here."""
    registry = ServiceRegistry(limits=Limits(max_message_containers=100))
    registry.process_message_raw(client, b'"' + b'\\"[' * 300_000)

    expect_log("Invalid JSON")
