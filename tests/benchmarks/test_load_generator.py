"""The load generator notices every fault: what it counts has been delivered, once and in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosedError

from benchmarks import harness
from tests.patience import patient

Message = dict[str, Any]
Deliver = Callable[[list[Message]], list[Message]]


class FakeServer:
    """Speaks to the generator as Snorky does, and makes the mistakes it is told to make.

    ``deliver`` is given everything published so far on a channel, and returns what its
    subscribers should have been sent by now; the last of them gets what ``spoil`` makes of it.
    """

    def __init__(
        self,
        deliver: Deliver = list,
        spoil: Callable[[Message], Message] = dict,
        echo: Callable[[Message], Any] = dict,
    ) -> None:
        self.deliver = deliver
        self.spoil = spoil
        self.echo = echo
        self.subscribers: dict[str, list[ServerConnection]] = {}
        self.published: dict[str, list[Message]] = {}
        self.sent: dict[str, int] = {}

    async def serve_client(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosedError):  # the generator leaves without a word
            await self.answer_calls(connection)

    async def answer_calls(self, connection: ServerConnection) -> None:
        async for text in connection:
            call = json.loads(text)
            service, command = call["service"], call["message"]["command"]
            params, call_id = call["message"]["params"], call["message"]["callId"]
            data = None
            if command == "subscribe":
                self.subscribers.setdefault(params["channel"], []).append(connection)
            elif command == "publish":
                await self.publish(params["channel"], params["message"])
            elif command == "echo":
                data = self.echo(params["value"])
            answer = {"type": "response", "callId": call_id, "data": data}
            await connection.send(json.dumps({"service": service, "message": answer}))

    async def publish(self, channel: str, message: Message) -> None:
        self.published.setdefault(channel, []).append(message)
        due = self.deliver(self.published[channel])
        for one in due[self.sent.get(channel, 0) :]:
            *others, last = self.subscribers[channel]
            for subscriber, message in (
                *((other, one) for other in others),
                (last, self.spoil(one)),
            ):
                delivery = {"type": "message", "channel": channel, "message": message}
                await subscriber.send(json.dumps({"service": "pubsub", "message": delivery}))
        self.sent[channel] = len(due)


@asynccontextmanager
async def listening(server: FakeServer) -> AsyncIterator[int]:
    async with serve_websockets(
        server.serve_client, "127.0.0.1", 0, compression=None, ping_interval=None
    ) as sockets:
        yield next(iter(sockets.sockets)).getsockname()[1]


async def generate(server: FakeServer, *options: str) -> dict[str, Any]:
    """What the generator prints after its work with the fake server."""
    async with listening(server) as port:
        process = await asyncio.create_subprocess_exec(
            harness.build("load"),
            *options,
            *("--port", str(port), "--clients", "3", "--timeout", "1"),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(patient(20)):
            printed, _ = await process.communicate()
    result: dict[str, Any] = json.loads(printed)
    assert process.returncode == ("error" in result)
    return result


def fan_out(deliver: Deliver, *options: str) -> Any:
    return generate(FakeServer(deliver), "fanout", "--messages", "6", *options)


def fifth_changed(**changes: object) -> Deliver:
    return lambda published: [
        {**message, **changes} if message["seq"] == 4 else message for message in published
    ]


async def test_it_counts_what_a_faultless_server_delivers() -> None:
    result = await fan_out(list)
    assert result["deliveries"] == 6 * 3
    assert result["messages"] == 6
    assert result["seconds"] > 0


async def test_it_counts_each_channel_s_subscribers() -> None:
    result = await fan_out(list, "--channels", "3", "--subscriptions", "2", "--lockstep")
    assert result["deliveries"] == 6 * 2


async def test_it_notices_a_lost_message() -> None:
    result = await fan_out(lambda published: [m for m in published if m["seq"] != 4])
    assert "expected message 4" in result["error"]


async def test_it_notices_that_the_last_message_is_lost() -> None:
    result = await fan_out(lambda published: published[:6])
    assert "18 of 21 deliveries and 7 of 7 answers had come" in result["error"]
    assert "subscriber 0 waits for message 6" in result["error"]


async def test_it_notices_a_message_lost_among_many_channels() -> None:
    result = await fan_out(
        lambda published: [m for m in published if m["seq"] != 2], "--channels", "2"
    )
    assert "expected message 2" in result["error"]


async def test_it_notices_a_repeated_message() -> None:
    result = await fan_out(
        lambda published: [m for m in published for _ in range(2 if m["seq"] == 4 else 1)]
    )
    assert "expected message 5" in result["error"]


async def test_it_notices_that_the_last_measured_message_is_repeated() -> None:
    result = await fan_out(
        lambda published: [m for m in published for _ in range(2 if m["seq"] == 5 else 1)]
    )
    assert "subscriber" in result["error"]


async def test_it_notices_messages_in_another_order() -> None:
    def swapped(published: list[Message]) -> list[Message]:
        if len(published) == 5:
            return published[:4]
        return [*published[:4], *published[4:6][::-1], *published[6:]]

    result = await fan_out(swapped)
    assert "expected message 4, got" in result["error"]


@pytest.mark.parametrize("changes", [{"pad": "xxx"}, {"pad": "y" * 19}, {"at": 1}])
async def test_it_notices_a_changed_message(changes: dict[str, object]) -> None:
    result = await fan_out(fifth_changed(**changes))
    assert "message 4 was changed" in result["error"]


async def test_it_notices_a_message_that_was_changed_for_one_subscriber_alone() -> None:
    server = FakeServer(spoil=lambda message: {**message, "pad": "y" * len(message["pad"])})
    result = await generate(server, "fanout", "--messages", "6")
    assert "subscriber 2: message 0 was changed" in result["error"]


async def test_it_notices_a_message_of_a_channel_that_was_not_subscribed() -> None:
    server = FakeServer()
    server.subscribers = {}

    def everybody_everything(published: list[Message]) -> list[Message]:
        everyone = [one for members in server.subscribers.values() for one in members]
        server.subscribers = dict.fromkeys(server.subscribers, everyone)
        return published

    server.deliver = everybody_everything
    result = await generate(server, "fanout", "--messages", "6", "--channels", "3")
    assert "expected no such delivery" in result["error"]


async def test_it_notices_an_answer_to_no_call() -> None:
    server = FakeServer()

    async def answer_twice(connection: ServerConnection) -> None:
        async for text in connection:
            message = {"type": "response", "callId": json.loads(text)["message"]["callId"]}
            answer = json.dumps({"service": "pubsub", "message": message})
            await connection.send(answer)
            if json.loads(text)["message"]["command"] == "publish":
                await connection.send(answer)

    server.answer_calls = answer_twice  # type: ignore[method-assign]
    result = await generate(server, "fanout", "--messages", "6")
    assert "no such answer" in result["error"]


async def test_it_notices_that_the_server_closes_a_connection() -> None:
    server = FakeServer()

    async def close(connection: ServerConnection) -> None:
        await connection.close(1013)

    server.answer_calls = close  # type: ignore[method-assign]
    result = await generate(server, "fanout", "--messages", "6")
    assert "closed with code 1013" in result["error"]


async def test_it_counts_calls() -> None:
    result = await generate(FakeServer(), "calls", "--seconds", "0.2", "--outstanding", "4")
    assert result["calls"] >= 3 * 4
    assert result["calls_per_second"] == pytest.approx(result["calls"] / result["seconds"], abs=1)


@pytest.mark.parametrize("changes", [{"seq": 1}, {"at": 1}, {"pad": "x"}])
async def test_it_notices_the_answer_to_another_call(changes: dict[str, object]) -> None:
    server = FakeServer(echo=lambda value: {**value, **changes})
    result = await generate(server, "calls", "--seconds", "0.2")
    assert "expected an echo of what was sent" in result["error"]


async def test_a_bystander_s_calls_are_measured_during_a_fan_out() -> None:
    result = await fan_out(list, "--bystander", "--lockstep")
    assert 0 < result["bystander_p50_us"] <= result["bystander_max_us"]


async def test_a_bystander_s_wrong_echo_is_noticed() -> None:
    server = FakeServer(echo=lambda value: {**value, "pad": "changed"})
    result = await generate(server, "fanout", "--messages", "6", "--bystander")
    assert "expected an echo of what was sent" in result["error"]


async def test_a_connection_lost_while_it_is_held_is_a_fault() -> None:
    """``hold`` says that all are connected; then one goes."""
    connections: list[ServerConnection] = []
    server = FakeServer()

    async def keep(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.wait_closed()

    server.answer_calls = keep  # type: ignore[method-assign]
    async with listening(server) as port:
        process = await asyncio.create_subprocess_exec(
            harness.build("load"),
            *("hold", "--subscriptions", "0", "--port", str(port), "--clients", "3"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(patient(20)):
            assert json.loads(await process.stdout.readline())["connections"] == 3
            await connections[0].close(1001)
            printed, _ = await process.communicate()
    assert "closed with code 1001" in json.loads(printed)["error"]
