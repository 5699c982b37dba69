"""What the log shows of a call: never a secret, never a forged line, never without end."""

from __future__ import annotations

import logging
from typing import Any

from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.testing import FakeClient


class Vault(RPCService):
    secret_params = frozenset({"token"})

    @rpc_command
    def open(self, req: Request, token: Any) -> None:
        raise RPCError(f"No such token for {req.client.identity}")

    @rpc_command
    def crack(self, req: Request, token: Any) -> None:
        req.error(object())  # type: ignore[arg-type]  # cannot be encoded


def send(client: FakeClient, message: Any) -> None:
    Vault("vault").process_message_from(client, message)


def test_secret_params_are_hidden_however_wrong_the_call_is(expect_log: Any, caplog: Any) -> None:
    client = FakeClient("alice")
    send(client, {"command": "open", "params": {"token": "s3cret"}})
    send(client, {"command": "open", "params": {"token": "s3cret", "more": 1}})
    send(client, {"params": {"token": "s3cret"}})
    assert '{"more": 1, "token": "(hidden)"}' in expect_log("Invalid params").getMessage()
    assert "(hidden)" in expect_log("Invalid format").getMessage()
    assert "(hidden)" in expect_log("No such token", level=logging.INFO).getMessage()
    assert "s3cret" not in caplog.text


def test_the_text_of_a_refusal_stays_on_its_line(expect_log: Any) -> None:
    send(FakeClient("eve\nCRITICAL forged"), {"command": "open", "params": {"token": ""}})
    assert "\n" not in expect_log("No such token").getMessage()


def test_refused_calls_do_not_fill_the_log(expect_log: Any) -> None:
    client = FakeClient("alice")
    for _ in range(1000):
        send(client, {"command": "open", "params": {"token": ""}})
    assert len(client.received) == 1000
    assert expect_log.all("No such token") == 100
    expect_log("Further lines about client fake are not logged")


def test_an_error_that_cannot_be_encoded_is_still_an_answer(expect_log: Any) -> None:
    client = FakeClient()
    send(client, {"command": "crack", "params": {"token": ""}, "callId": 1})
    assert client.received[0]["message"]["message"] == "Internal error"
    expect_log("Unhandled exception in RPC service")
