"""Pings from one timer, and the end of those who do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.frames import Opcode

from snorky.close_codes import SILENT_CLIENT
from snorky.metrics import metrics
from snorky.wheel import SLOTS, PingWheel, _wheels, wheel_of
from tests.lines import Recorder, connect_in_memory, masked, take_frames, until

INTERVAL = 32.0


class Timer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop whose time passes when the test says so. It only has timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[Timer] = []

    @property
    def timers(self) -> list[Timer]:
        return [timer for timer in self._timers if not timer.cancelled]

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        self._timers.append(Timer(self.now + delay, callback))
        return self._timers[-1]

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while timers := [timer for timer in self.timers if timer.when <= end]:
            timer = min(timers, key=lambda timer: timer.when)
            self._timers.remove(timer)
            self.now = timer.when
            timer.callback()
        self.now = end


class Pinged:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pinged_at: list[float] = []

    def ping_or_close(self) -> None:
        self.pinged_at.append(self._clock.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheel(clock: Clock) -> PingWheel:
    return PingWheel(clock, INTERVAL)  # type: ignore[arg-type]  # all of a loop that it uses


def test_a_connection_is_pinged_once_per_interval(clock: Clock, wheel: PingWheel) -> None:
    peer = Pinged(clock)
    wheel.add(peer)
    clock.pass_time(3.5 * INTERVAL)
    assert peer.pinged_at == [INTERVAL, 2 * INTERVAL, 3 * INTERVAL]


def test_connections_are_pinged_when_their_own_interval_is_over(
    clock: Clock, wheel: PingWheel
) -> None:
    peers = []
    for _ in range(2 * SLOTS):
        peers.append((clock.now, Pinged(clock)))
        wheel.add(peers[-1][1])
        clock.pass_time(INTERVAL / SLOTS / 2)
    clock.pass_time(INTERVAL)
    for joined, peer in peers:
        first, second, *_ = [*peer.pinged_at, peer.pinged_at[0] + INTERVAL]
        assert INTERVAL - INTERVAL / SLOTS <= first - joined <= INTERVAL
        assert second - first == INTERVAL


def test_all_connections_share_one_timer(clock: Clock, wheel: PingWheel) -> None:
    for _ in range(1000):
        wheel.add(Pinged(clock))
        clock.pass_time(0.01)
        assert len(clock.timers) == 1


def test_who_has_gone_is_not_pinged(clock: Clock, wheel: PingWheel) -> None:
    stays, goes = Pinged(clock), Pinged(clock)
    wheel.add(stays)
    slot = wheel.add(goes)
    clock.pass_time(1.5 * INTERVAL)
    wheel.remove(goes, slot)
    clock.pass_time(INTERVAL)
    assert len(stays.pinged_at) == 2
    assert len(goes.pinged_at) == 1


def test_an_empty_wheel_stands_still_and_starts_again(clock: Clock, wheel: PingWheel) -> None:
    assert clock.timers == []
    for _ in range(3):
        peer = Pinged(clock)
        slot = wheel.add(peer)
        assert len(clock.timers) == 1
        clock.pass_time(INTERVAL)
        assert len(peer.pinged_at) == 1
        wheel.remove(peer, slot)
        assert clock.timers == []


def test_the_last_one_may_leave_while_it_is_pinged(clock: Clock, wheel: PingWheel) -> None:
    class Leaving(Pinged):
        def ping_or_close(self) -> None:
            super().ping_or_close()
            wheel.remove(self, slot)

    peer = Leaving(clock)
    slot = wheel.add(peer)
    clock.pass_time(3 * INTERVAL)
    assert len(peer.pinged_at) == 1
    assert clock.timers == []


async def test_connections_of_one_loop_and_interval_share_a_wheel() -> None:
    loop = asyncio.get_running_loop()
    assert wheel_of(loop, 90) is wheel_of(loop, 90)
    assert wheel_of(loop, 90) is not wheel_of(loop, 30)


@pytest.mark.parametrize("interval", [0, None, INTERVAL])
async def test_no_interval_means_no_pings(interval: float | None) -> None:
    client, line = connect_in_memory(ping_interval=interval)
    connection = client.connection
    assert connection is not None
    wheels = _wheels.get(asyncio.get_running_loop(), {}).values()
    looked_at = [slot for wheel in wheels for slot in wheel._slots if connection in slot]
    assert len(looked_at) == (1 if interval else 0)
    line.lose()
    await asyncio.sleep(0)


async def test_a_silent_client_is_cut_off_after_two_intervals() -> None:
    before = metrics.clients_silent
    client, line = connect_in_memory(ping_interval=INTERVAL)
    connection = client.connection
    assert connection is not None
    for _ in range(2):
        connection.ping_or_close()
        assert not line.is_closing()
    connection.ping_or_close()
    assert line.is_closing()
    assert connection.close_code == SILENT_CLIENT.code
    assert take_frames(bytearray(b"".join(line.writes))) == [(Opcode.PING, b"")] * 2
    assert metrics.clients_silent == before + 1
    line.lose()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "sign",
    [masked(Opcode.PONG), masked(Opcode.TEXT, b"hello"), b"\x81"],
    ids=["pong", "message", "half a message"],
)
async def test_any_sign_of_life_will_do(sign: bytes) -> None:
    client, line = connect_in_memory(ping_interval=INTERVAL)
    connection = client.connection
    assert connection is not None
    for _ in range(6):
        connection.ping_or_close()
        connection.ping_or_close()
        connection.data_received(sign[:1])
        sign = sign[1:] or sign
        assert not line.is_closing()
    line.lose()
    await asyncio.sleep(0)


async def test_who_is_not_heard_because_we_do_not_read_is_not_silent() -> None:
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wait(_client: Any, _message: Any) -> Awaitable[None]:
        return gate

    client, line = connect_in_memory(Recorder(wait), ping_interval=INTERVAL)
    connection = client.connection
    assert connection is not None
    connection.data_received(masked(Opcode.TEXT, b"hello"))
    for _ in range(5):
        connection.ping_or_close()
    assert not line.is_closing()
    gate.set_result(None)
    await asyncio.sleep(0)
    for _ in range(3):
        connection.ping_or_close()
    assert connection.close_code == SILENT_CLIENT.code
    await asyncio.sleep(0)


async def test_who_says_goodbye_is_not_silent() -> None:
    before = metrics.clients_silent
    client, line = connect_in_memory(ping_interval=INTERVAL)
    connection = client.connection
    assert connection is not None
    client.close(1001)
    for _ in range(5):
        connection.ping_or_close()
    assert connection.close_code == 1001
    assert metrics.clients_silent == before
    line.lose()
    await asyncio.sleep(0)


async def test_a_wheel_turns_by_itself_and_stops_with_its_last_connection() -> None:
    interval = 0.16
    wheel = wheel_of(asyncio.get_running_loop(), interval)
    client, line = connect_in_memory(ping_interval=interval)
    await until(lambda: not client.connected)
    assert take_frames(bytearray(b"".join(line.writes))) == [(Opcode.PING, b"")] * 2
    assert wheel._timer is None
