"""One client misbehaves, another waits for its answers: it must not wait longer.

Server and offender are processes of their own; the bystander is here. On the way the server's
memory and log stay bounded.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Program
from tests.lines import Peer

HERE = Path(__file__).parent
SECONDS = 1.2
"""How long an offender keeps offending."""

ATTEMPTS = 3
"""Other work on the machine delays answers too, but not every time."""

LONGEST_LATENCY = 0.15
"""Seconds; or five times what it is without the offender."""

LONGEST_TURN = 0.025
"""Seconds of processor time."""

MOST_MORE_BYTES = 24 << 20

LEFT_IN_PEACE = [
    "calls",
    "publications",
    "the_longest_messages",
    "calls_without_reading_answers",
    "complicated_messages",
    "expensive_calls",
    "calls_that_are_never_answered",
    "subscriptions",
    "pings",
    "endless_fragments",
    "text_that_is_no_json",
    "unknown_services",
    "invalid_calls",
    "half_handshakes",
]
THROWN_OUT = [
    "a_flooded_channel_that_is_not_read",
    "too_long_messages",
    "broken_frames",
    "huge_heads",
    "huge_bodies",
]
DEPENDING_ON_THE_LOOP = [*LEFT_IN_PEACE[:4], *THROWN_OUT[:3]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Server(Program):
    def __init__(self, loop: str) -> None:
        super().__init__([sys.executable, str(HERE / "server.py"), loop], {})
        self.port = int(self.wait_for(r"^(\d+)$")[1])

    @property
    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(status.split()[1]) * 4096


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Server]]:
    running: dict[str, Server] = {}

    def get(loop: str) -> Server:
        if loop not in running:
            running[loop] = Server(loop)
        return running[loop]

    yield get
    for server in running.values():
        server.stop()


class Bystander:
    """Calls, waits for the answer, calls again."""

    def __init__(self, peer: Peer, server: Server) -> None:
        self._peer = peer
        self._server = server

    async def call(self, service: str, command: str, **params: Any) -> Any:
        call = {"command": command, "params": params, "callId": 1}
        self._peer.send_text(json.dumps({"service": service, "message": call}))
        return json.loads(await self._peer.text())["message"]["data"]

    async def latency(self, over: Callable[[], bool]) -> float:
        """The 99th percentile of its round trips, in seconds."""
        trips = []
        self.most_resident_bytes = 0
        while not over():
            begin = time.perf_counter()
            assert await self.call("echo", "echo", value=1) == 1
            trips.append(time.perf_counter() - begin)
            self.most_resident_bytes = max(self.most_resident_bytes, self._server.resident_bytes)
            await asyncio.sleep(0.002)
        return sorted(trips)[len(trips) * 99 // 100]


async def offend(kind: str, server: Server) -> dict[str, int]:
    offender = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "offender.py"),
        kind,
        str(server.port),
        str(SECONDS),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await offender.communicate()
    result: dict[str, int] = json.loads(output)
    return result


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(
    ("kind", "loop"),
    [(kind, "uvloop") for kind in LEFT_IN_PEACE + THROWN_OUT]
    + [(kind, "asyncio") for kind in DEPENDING_ON_THE_LOOP],
)
async def test_a_bystander_does_not_notice(
    kind: str, loop: str, servers: Callable[[str], Server]
) -> None:
    server = servers(loop)
    peer = await Peer.connect(server.port)
    bystander = Bystander(peer, server)
    resident_bytes = server.resident_bytes
    lines = len(server.lines)
    for _ in range(ATTEMPTS):
        calm = asyncio.create_task(asyncio.sleep(0.3))
        alone = await bystander.latency(calm.done)
        await bystander.call("turns", "percentile")
        offending = asyncio.create_task(offend(kind, server))
        disturbed = await bystander.latency(offending.done)
        turn = await bystander.call("turns", "percentile")
        result = offending.result()
        more_bytes = bystander.most_resident_bytes - resident_bytes
        print(f"p99 {alone:.4f} -> {disturbed:.4f} s, turns {turn:.4f} s,", end=" ")
        print(f"{more_bytes >> 10} KiB more, {result}")
        assert result["sent_bytes"] > 10_000
        assert result["thrown_out"] > 0 or kind not in THROWN_OUT
        assert more_bytes < MOST_MORE_BYTES
        assert turn < LONGEST_TURN
        if disturbed < max(LONGEST_LATENCY, 5 * alone):
            break
    else:
        pytest.fail(f"p99 alone {alone:.4f} s, disturbed {disturbed:.4f} s")
    await peer.leave()
    assert len(server.lines) - lines < 500 * ATTEMPTS
    assert not [line for line in server.lines[lines:] if "Traceback" in line]
