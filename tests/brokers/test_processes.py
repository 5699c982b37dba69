"""Processes that join an engine and are killed, or suspended and woken, whichever the engine is."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import psycopg
import pytest
import uvloop

from snorky.brokers import Broker, connecting
from snorky.brokers.postgres import reader, writer
from snorky.brokers.redis import log as redis_log
from snorky.cli.brokers import broker_at
from snorky.envelope import Envelope
from snorky.testing.brokers.log import Inbox, done, opened, until
from tests.patience import patient

LISTENER = """
import asyncio, sys
from snorky.cli.brokers import broker_at
async def main():
    broker = broker_at(sys.argv[1])
    await broker.start()
    log = broker.log("orders")
    await log.start()
    log.follow(lambda entry: print("entry", entry.data, flush=True))
    await broker.subscribe("news", lambda envelope: print(len(envelope["message"]), flush=True))
    print("ready", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture(params=["valkey", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return str(request.getfixturevalue("valkey").url)


@pytest.fixture
async def broker(url: str) -> AsyncIterator[Broker]:
    broker = broker_at(url)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def listener(url: str, broker: Broker, run_program: Any) -> Any:
    """Another process, which prints what it receives."""
    program = run_program([sys.executable, "-c", LISTENER, url])
    await asyncio.to_thread(program.wait_for, "ready")
    return program


async def test_a_suspended_process_holds_nobody_up_and_misses_no_entry(
    broker: Broker, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SLICE_SECONDS", 0.2)
    inbox = Inbox()
    await done(broker.subscribe("news", inbox.deliver))
    log = await opened(broker)
    listener.process.send_signal(signal.SIGSTOP)
    began = monotonic()
    for number in range(40):
        await done(broker.publish("news", Envelope("pubsub", "x" * 100_000)))
        await done(broker.publish("news", Envelope("pubsub", "x" * (number + 1))))
        await done(log.append(number))
    assert monotonic() - began < patient(10)
    assert len(await inbox.messages(80)) == 80

    listener.process.send_signal(signal.SIGCONT)
    await asyncio.to_thread(listener.wait_for, "entry 39")
    assert [line for line in listener.lines if "entry" in line] == [
        f"entry {number}" for number in range(40)
    ]


async def test_a_process_that_was_killed_leaves_nothing_behind(
    url: str, broker: Broker, listener: Any, request: pytest.FixtureRequest
) -> None:
    held = held_on_valkey if url.startswith("redis") else held_on_postgresql
    both = held(url, request)
    listener.stop(signal.SIGKILL)
    await until(lambda: held(url, request) < both)
    left = held(url, request)
    assert left == (0 if url.startswith("redis") else 3)


def held_on_valkey(url: str, request: pytest.FixtureRequest) -> int:
    """Subscriptions of the channel."""
    with request.getfixturevalue("valkey").client() as client:
        found = client.execute_command("PUBSUB SHARDNUMSUB", "snorky:t:news")
    return int(dict(found).get(b"snorky:t:news", 0))


def held_on_postgresql(url: str, request: pytest.FixtureRequest) -> int:
    """Sessions of our broker, and the lock of the one that sleeps."""
    with psycopg.connect(url, autocommit=True) as connection:
        ((sessions, locks),) = connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snorky' "
            "AND datname = current_database()), (SELECT count(*) FROM pg_locks "
            "WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database()))"
        ).fetchall()
    return int(sessions + locks)


async def test_processes_do_not_come_back_to_an_engine_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(connecting.asyncio, "sleep", note)
    pauses = [connecting.Pause() for _ in range(20)]
    for _ in range(10):
        for pause in pauses:
            await pause.wait()
    last = waited[-len(pauses) :]
    assert len({*last}) == len(pauses)
    assert max(last) > 1.2 * min(last)
    assert max(waited[: len(pauses)]) < 0.1
    assert max(waited) <= 2


def test_a_connection_that_was_closed_meanwhile_is_lost_and_no_error_of_ours() -> None:
    async def write_late() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.read()
        writer.transport.abort()
        server.close()
        await asyncio.sleep(0.01)
        while True:
            writer.writelines([b"late"])

    async def fault() -> Exception:
        return await connecting.first_fault([write_late()], (OSError,))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert connecting.is_closed(runner.run(fault()))


def test_a_log_that_does_not_continue_is_noticed_within_ten_seconds() -> None:
    """Each entry is compared with the one before it; where none comes, a look tells."""
    for seconds in (redis_log.LOOK_EVERY + redis_log.BLOCK_SECONDS, reader.LOOK_EVERY):
        assert seconds < 10
