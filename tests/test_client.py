"""What every client is to the services."""

import logging
from typing import Any

import pytest

from snorky.client import Client, refuse_message
from snorky.metrics import metrics
from snorky.request_handlers.http import HTTPClient
from snorky.request_handlers.sockjs import SockJSClient
from snorky.request_handlers.websocket import WebSocketClient
from snorky.testing import FakeClient


class Quiet(Client):
    """Skips the initialisation of its base, as many subclasses do."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, int]] = []

    def message_refused(self, reason: str, status: int = 400) -> None:
        self.refusals.append((reason, status))


def test_a_client_is_anonymous_until_somebody_says_who_it_is() -> None:
    client = Quiet()

    assert client.identity is None
    assert client.remote_address is None
    assert client.connected
    assert client.unsent_bytes == 0


@pytest.mark.parametrize("edge", [WebSocketClient, SockJSClient, HTTPClient, FakeClient])
def test_a_client_of_any_edge_is_a_client(edge: type) -> None:
    assert issubclass(edge, Client)


def test_two_clients_are_never_equal() -> None:
    one, other = Quiet(), Quiet()

    assert len({one, other, one}) == 2


def test_an_edge_says_how_to_send_and_close() -> None:
    with pytest.raises(NotImplementedError):
        Client().send("hello")
    with pytest.raises(NotImplementedError):
        Client().close()


def test_a_refused_message_is_logged_counted_and_told_to_the_edge(expect_log: Any) -> None:
    client = Quiet()
    before = metrics.messages_refused

    refuse_message(client, "100 % wrong")

    assert expect_log("100 % wrong").levelno == logging.WARNING
    assert metrics.messages_refused == before + 1
    assert client.refusals == [("100 % wrong", 400)]


def test_a_message_refused_by_our_fault_is_an_error(expect_log: Any) -> None:
    client = Quiet()
    try:
        raise RuntimeError("out of order")
    except RuntimeError:
        refuse_message(client, "it failed", status=500, exc_info=True)

    record = expect_log("it failed")
    assert record.levelno == logging.ERROR
    assert "out of order" in str(record.exc_info[1])
    assert client.refusals == [("it failed", 500)]


def test_past_a_hundred_warnings_a_client_is_only_counted(expect_log: Any) -> None:
    client = Quiet()
    before = metrics.messages_refused

    for _ in range(150):
        refuse_message(client, "garbage")

    assert expect_log.all("garbage") == 100
    expect_log("Further lines about client None are not logged")
    assert metrics.messages_refused == before + 150
    assert len(client.refusals) == 150


def test_an_object_that_is_no_client_of_ours_is_warned_about_every_time(expect_log: Any) -> None:
    class Peer:
        """Whatever has ``send``; it may have slots, so nothing is kept on it."""

        __slots__ = ()

    for _ in range(3):
        refuse_message(Peer(), "garbage")

    assert expect_log.all("garbage") == 3


def test_a_log_that_is_switched_off_costs_a_client_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "snorky")
    client = FakeClient()
    refuse_message(client, "no")
    assert client.log_lines_left == Client.log_lines_left
