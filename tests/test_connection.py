"""One WebSocket connection: input in turns, answers in one write, and every way to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from websockets.frames import Opcode

from snorky import connection as connection_module
from snorky.audience import Audience
from snorky.close_codes import ABNORMAL, SLOW_CLIENT
from snorky.connected_client import ConnectedClient
from snorky.connection import Connection
from snorky.envelope import Envelope, text_frame
from snorky.limits import Limits
from snorky.metrics import metrics
from tests.lines import Recorder, connect_in_memory, masked, take_frames, turns, until


def text(value: str) -> bytes:
    return masked(Opcode.TEXT, value.encode())


def close_frame(code: int, reason: str = "") -> bytes:
    return masked(Opcode.CLOSE, code.to_bytes(2) + reason.encode())


def frames(line: Any) -> list[tuple[int, bytes]]:
    return take_frames(bytearray(b"".join(line.writes)))


def echo(client: Any, message: Any) -> None:
    client.send(message)


# Input


async def test_messages_are_handled_in_order_whatever_pieces_they_come_in() -> None:
    receiver = Recorder()
    _client, line = connect_in_memory(receiver)
    line.feed(text("x" * 300) + text("two") + masked(Opcode.BINARY, b"\xff") + text("four"))
    await turns()
    assert receiver.messages == ["x" * 300, "two", b"\xff", "four"]


async def test_answers_to_what_came_together_leave_in_one_write() -> None:
    _client, line = connect_in_memory(Recorder(echo))
    line.feed(text("one") + text("two") + masked(Opcode.PING, b"three"))
    await turns()
    assert len(line.writes) == 1
    assert frames(line) == [(1, b'"one"'), (1, b'"two"'), (10, b"three")]


async def test_long_answers_leave_before_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "CORK_BYTES", 1000)
    unsent = []

    def answer(client: Any, message: Any) -> None:
        client.send("x" * 300)
        unsent.append(client.unsent_bytes - line.get_write_buffer_size())

    _client, line = connect_in_memory(Recorder(answer))
    line.feed(text("x") * 10)
    await turns()
    assert max(unsent) <= 1000
    assert len(line.writes) == 3
    assert len(frames(line)) == 10


async def test_one_client_handles_a_bounded_number_of_messages_in_a_turn() -> None:
    receiver = Recorder()
    _client, line = connect_in_memory(receiver, limits=Limits(max_messages_per_turn=4))
    line.feed(b"".join(text(str(number)) for number in range(10)))
    handled = []
    for _ in range(3):
        await turns(1)
        handled.append(len(receiver.messages))
        assert line.reading is (len(receiver.messages) == 10), "what was read comes first"
    assert handled == [4, 8, 10]
    assert receiver.messages == [str(number) for number in range(10)]


async def test_expensive_messages_give_way_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "SECONDS_PER_TURN", 0.002)

    def work(client: Any, message: Any) -> None:
        time.sleep(0.001)

    receiver = Recorder(work)
    _client, line = connect_in_memory(receiver)
    line.feed(text("x") * 14)
    await turns(1)
    assert len(receiver.messages) == 8
    await turns(3)
    assert len(receiver.messages) == 14


async def test_who_fills_the_whole_buffer_waits_until_the_others_had_their_turn() -> None:
    receiver = Recorder()
    client, line = connect_in_memory(receiver)
    connection = client.connection
    assert connection is not None
    buffer = connection.get_buffer(-1)
    message = text("x" * 2034)
    buffer[:] = (
        message * (len(buffer) // len(message))
        + text("y" * (len(buffer) % len(message)))[: len(buffer) % len(message)]
    )
    connection.buffer_updated(len(buffer))
    assert len(receiver.messages) == len(buffer) // len(message)
    assert not line.reading
    await turns(2)
    assert line.reading


async def test_a_message_is_awaited_before_the_next_is_handled() -> None:
    gates: list[asyncio.Future[None]] = []

    def wait(client: Any, message: Any) -> Awaitable[None]:
        gates.append(asyncio.get_running_loop().create_future())
        return gates[-1]

    receiver = Recorder(wait)
    _client, line = connect_in_memory(receiver)
    line.feed(text("one") + text("two"))
    await turns()
    assert receiver.messages == ["one"]
    assert not line.reading
    gates[0].set_result(None)
    await turns()
    assert receiver.messages == ["one", "two"]
    assert not line.reading
    gates[1].set_result(None)
    await turns()
    assert line.reading


async def test_what_a_transport_hands_over_while_reading_is_paused_is_kept_in_order() -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    receiver = Recorder(lambda client, message: None if gate.done() else gate)
    _client, line = connect_in_memory(receiver, insistent=True)
    line.feed(b"".join(text(f"{number} {'x' * 20}") for number in range(20)))
    await turns()
    assert len(receiver.messages) == 1
    gate.set_result(None)
    await turns()
    assert [int(message.split()[0]) for message in receiver.messages] == list(range(20))


async def test_a_transport_that_ignores_the_pause_is_cut_off() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client, line = connect_in_memory(
        Recorder(lambda client, message: never), limits=Limits(max_unsent_bytes=5000)
    )
    connection = client.connection
    assert connection is not None
    for _ in range(100):
        connection.data_received(text("x" * 100))
    assert line.is_closing()
    assert connection.close_code == ABNORMAL.code
    never.cancel()
    await turns()
    assert not client.connected


async def test_what_came_behind_the_handshake_is_handled_once_the_client_is_known() -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Opening(Recorder):
        def client_connected(self, client: Any) -> Awaitable[None]:
            client.send("welcome")
            return gate

    receiver = Opening(echo)
    client = ConnectedClient()
    connection = Connection(client, receiver, limits=Limits(), ping_interval=None, head=b"HEAD")
    connection.early = text("early")
    line = connect_in_memory()[1]  # any transport will do
    connection.connection_made(line)
    assert receiver.messages == []
    gate.set_result(None)
    await turns()
    assert line.writes == [b"HEAD", text_frame("welcome"), text_frame("early")]


async def test_a_heartbeat_is_answered_and_is_no_message() -> None:
    receiver = Recorder()
    _client, line = connect_in_memory(receiver, heartbeats=True)
    line.feed(text("") + text(" ") + text("hello"))
    await turns()
    assert frames(line) == [(1, b""), (1, b" ")]
    assert receiver.messages == ["hello"]


async def test_without_the_subprotocol_an_empty_text_is_a_message() -> None:
    receiver = Recorder()
    _client, line = connect_in_memory(receiver)
    line.feed(text(""))
    await turns()
    assert receiver.messages == [""]
    assert line.writes == []


# Output


async def test_a_client_that_does_not_read_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    slow_before = metrics.clients_slow
    receiver = Recorder()
    client, line = connect_in_memory(receiver, limits=Limits(max_unsent_bytes=1000))
    connection = client.connection
    assert connection is not None
    for _ in range(100):
        client.send("x" * 94)  # 98 bytes as a frame
        assert line.get_write_buffer_size() <= 1000 + 98
    await turns()
    assert connection.close_code == SLOW_CLIENT.code
    assert receiver.left == [client]
    assert metrics.clients_slow == slow_before + 1
    assert "Client memory is too slow: 1078 bytes unsent, at most 1000 may be" in caplog.text


async def test_any_single_message_fits_an_empty_queue() -> None:
    client, line = connect_in_memory(limits=Limits(max_unsent_bytes=1000))
    for size in (5000, 10_000):
        client.send("x" * size)
        assert not line.is_closing()
        line.drain(20_000)
    assert [len(payload) for _opcode, payload in take_frames(line.received)] == [5002, 10_002]


async def test_unsent_bytes_are_those_the_peer_has_not_read() -> None:
    client, line = connect_in_memory()
    assert client.unsent_bytes == 0
    client.send("x" * 10)
    assert client.unsent_bytes == 14
    line.drain(4)
    assert client.unsent_bytes == 10
    line.lose()
    await turns()
    assert client.unsent_bytes == 0


async def test_nothing_is_written_to_a_transport_that_has_failed() -> None:
    client, line = connect_in_memory()
    line.lose()
    for _ in range(10):
        client.send("too late")
    assert line.writes == []
    await turns()
    assert not client.connected


# Endings


@pytest.mark.usefixtures("each_fanout")
async def test_closing_says_everything_first_and_nothing_later() -> None:
    client, line = connect_in_memory()
    audience = Audience()
    audience.add(client)
    client.send("reply")
    audience.send(Envelope("service", "news"))
    client.close(4001, "enough")
    client.close(4002, "twice")
    client.send("too late")
    audience.send(Envelope("service", "too late"))
    await turns()
    assert frames(line) == [
        (1, b'"reply"'),
        (1, b'{"service":"service","message":"news"}'),
        (8, (4001).to_bytes(2) + b"enough"),
    ]
    assert line.eof, "the peer may go although it still has something to say"


async def test_closing_while_handling_a_message_answers_it_first() -> None:
    def answer_and_close(client: Any, message: Any) -> None:
        client.send(message)
        client.close(4001)

    receiver = Recorder(answer_and_close)
    _client, line = connect_in_memory(receiver)
    line.feed(text("one") + text("two") + masked(Opcode.PING))
    await turns()
    assert frames(line) == [(1, b'"one"'), (8, (4001).to_bytes(2))]
    assert receiver.messages == ["one"], "what comes after the end is dropped"


async def test_a_close_code_that_must_not_be_sent_is_refused() -> None:
    client, line = connect_in_memory()
    with pytest.raises(ValueError, match="1006 cannot be sent"):
        client.close(1006)
    assert client.connection is not None
    assert client.connection.close_code is None
    client.send("still here")
    assert len(line.writes) == 1


@pytest.mark.parametrize(
    ("said", "answer", "code"),
    [
        (close_frame(4000, "bye"), (4000).to_bytes(2) + b"bye", 4000),
        (masked(Opcode.CLOSE), (1000).to_bytes(2), 1005),
    ],
    ids=["with a code", "without one"],
)
async def test_a_goodbye_is_answered_behind_what_was_sent(
    said: bytes, answer: bytes, code: int
) -> None:
    receiver = Recorder(echo)
    client, line = connect_in_memory(receiver)
    connection = client.connection
    assert connection is not None
    line.feed(text("last words") + said + text("too late"))
    await turns()
    assert frames(line) == [(1, b'"last words"'), (8, answer)]
    assert connection.close_code == code
    assert client.connected, "it may still read"
    line.drain(1000)
    await turns()
    assert receiver.left == [client]


async def test_a_goodbye_that_crosses_ours_ends_the_connection() -> None:
    client, line = connect_in_memory()
    connection = client.connection
    assert connection is not None
    line.feed(close_frame(4000))
    client.close(4001)
    line.drain(1000)
    await turns()
    assert frames(line) == [(8, (4001).to_bytes(2))]
    assert connection.close_code == 4001
    assert not client.connected


@pytest.mark.parametrize("who", ["the server", "the client"])
async def test_who_does_not_finish_closing_is_cut_off(who: str) -> None:
    client, line = connect_in_memory(limits=Limits(close_timeout=0.05))
    if who == "the server":
        client.close(4001)
    else:
        line.feed(close_frame(4001))  # and does not read the answer
    await turns()
    assert client.connected
    await until(lambda: not client.connected)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (masked(Opcode.TEXT, b"\xff"), 1007),
        (masked(Opcode.TEXT, b"x" * 101), 1009),
        (masked(Opcode.TEXT, b"x" * 60, fin=False) + masked(Opcode.CONT, b"x" * 60), 1009),
    ],
    ids=["unmasked", "no UTF-8", "too long", "too long in parts"],
)
async def test_who_breaks_the_protocol_is_told_so_and_heard_no_more(data: bytes, code: int) -> None:
    receiver = Recorder(echo)
    _client, line = connect_in_memory(receiver, limits=Limits(max_message_bytes=100))
    line.feed(text("fine") + data + text("too late"))
    await turns()
    message, (opcode, payload) = frames(line)
    assert message == (1, b'"fine"')
    assert opcode == Opcode.CLOSE
    assert int.from_bytes(payload[:2]) == code
    assert receiver.messages == ["fine"]


async def test_everyone_forgets_a_client_that_has_gone() -> None:
    before = metrics.clients
    receiver = Recorder()
    client, line = connect_in_memory(receiver)
    audience = Audience()
    audience.add(client)
    assert metrics.clients == before + 1
    line.lose()
    await turns()
    assert metrics.clients == before
    assert receiver.left == [client]
    assert client.connection is None
    assert len(audience) == 0
    client.send("nobody")
    client.close()


# Faults of ours


def fail(client: Any, message: Any) -> None:
    raise LookupError("of ours")


async def fail_later(client: Any, message: Any) -> None:
    fail(client, message)


@pytest.mark.parametrize(
    ("answer", "line_in_log"),
    [
        (fail, "Unhandled exception in the connection of memory"),
        (fail_later, "Unhandled exception in the connection of memory"),
    ],
)
async def test_a_fault_in_handling_a_message_ends_the_connection(
    answer: Any, line_in_log: str, expect_log: Any
) -> None:
    receiver = Recorder(answer)
    _client, line = connect_in_memory(receiver)
    line.feed(text("one") + text("two"))
    await turns()
    assert frames(line) == [(8, (1011).to_bytes(2) + b"internal error")]
    assert receiver.messages == ["one"]
    expect_log(line_in_log)


async def test_a_fault_in_greeting_a_client_ends_the_connection(expect_log: Any) -> None:
    class Faulty(Recorder):
        def client_connected(self, client: Any) -> None:
            raise LookupError("of ours")

    client, _line = connect_in_memory(Faulty())
    assert client.connection is not None
    assert client.connection.close_code == 1011
    expect_log("Unhandled exception while connecting memory")


async def test_a_fault_in_parting_leaves_nothing_behind(expect_log: Any) -> None:
    class Faulty(Recorder):
        def client_disconnected(self, client: Any) -> None:
            raise LookupError("of ours")

    client, line = connect_in_memory(Faulty())
    audience = Audience()
    audience.add(client)
    line.lose()
    await turns()
    assert len(audience) == 0
    assert client.connection is None
    expect_log("Unhandled exception while disconnecting memory")


async def test_the_limit_of_warnings_is_the_clients() -> None:
    client, _line = connect_in_memory(limits=Limits(max_log_lines_per_client=7))
    assert client.log_lines_left == 7
