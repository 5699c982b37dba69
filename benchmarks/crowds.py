"""What many clients of one way in do together: connect, receive what is published, and call.

Knows how long each stage may take, and reads the server's clock. Leaves what is measured to
transports.py, and what a client says to ways.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from harness import BenchmarkError
from ways import CHANNEL, Client, Crowd, WebSocketClient

JOINING_AT_ONCE = 50
"""Below every server's listen backlog."""
LONGER_THAN_A_TICK = 0.02
ENVELOPE_BYTES = 100
"""Of a delivery: what is around its pad."""


@asynccontextmanager
async def gathering(port: int, seconds: float) -> AsyncIterator["Gathering"]:
    """Clients of the server at ``port``, gone when the block is left. Raises the first fault.

    ``seconds``: for each of their stages.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            here = Gathering(Crowd(port, tasks), seconds)
            try:
                yield here
            finally:
                here.crowd.leave()
    except BaseExceptionGroup as group:
        faults, others = group.split(BenchmarkError)
        if faults is None or others is not None:
            raise
        fault: BaseException = faults
        while isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
        raise fault from None


class Gathering:
    def __init__(self, crowd: Crowd, seconds: float) -> None:
        self.crowd = crowd
        self.subscribers: list[Client] = []
        self._seconds = seconds

    async def join(self, kind: type[Client], path: str, count: int) -> None:
        """Connect and subscribe ``count`` more clients, which then do nothing."""
        left = iter(range(count))

        async def connect_in_turn() -> None:
            for _ in left:
                client = kind(self.crowd, path)
                self.subscribers.append(client)
                await client.connect()
                await client.subscribe()
                client.rest()

        async with self._stage(f"connecting {count} clients"):
            await asyncio.gather(*(connect_in_turn() for _ in range(JOINING_AT_ONCE)))

    async def publisher(self, path: str, frame_bytes: int) -> "Publisher":
        client = WebSocketClient(self.crowd, path)
        await client.connect()
        return Publisher(self, client, frame_bytes)

    async def delivered(self) -> None:
        """Wait until everybody has everything."""
        due = len(self.crowd.published) * len(self.subscribers)
        await self.crowd.deliveries.reach(due, self._seconds)

    async def alive(self, beats: int) -> int:
        """Wait for as many signs of life more; returns how many there were then."""
        count = self.crowd.beats
        before = count.value
        await count.reach(before + beats, self._seconds)
        return count.value - before

    async def call(self, callers: Sequence[Client], times: int, frame_bytes: int) -> None:
        """Let all of them call at once, and each of them one time after the other."""
        pad = pad_of(frame_bytes)

        async def call_in_turn(number: int, client: Client) -> None:
            for turn in range(times):
                value = {"seq": number * times + turn, "pad": pad}
                answer = await client.call("echo", "echo", value=value)
                if answer != value:
                    raise BenchmarkError(f"expected the answer {value!r}, got {answer!r}")

        async with self._stage(f"{len(callers) * times} calls"):
            await asyncio.gather(*(call_in_turn(*each) for each in enumerate(callers)))

    @asynccontextmanager
    async def _stage(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except TimeoutError as error:
            raise BenchmarkError(f"{what}: not done after {self._seconds:g} s") from error


class Publisher:
    """Publishes to everybody who is there."""

    def __init__(self, gathering: Gathering, client: Client, frame_bytes: int) -> None:
        self._gathering = gathering
        self._client = client
        self._pad = pad_of(frame_bytes)

    async def publish(self, count: int, *, at_once: bool = False) -> None:
        """Each when everybody has the one before, or all of them at once."""
        if at_once:
            await asyncio.gather(*(self._publish() for _ in range(count)))
            await self._gathering.delivered()
            return
        for _ in range(count):
            await self._publish()
            await self._gathering.delivered()

    async def _publish(self) -> None:
        published = self._gathering.crowd.published
        message = {"seq": len(published), "pad": self._pad}
        published.append(message)
        await self._client.call("pubsub", "publish", channel=CHANNEL, message=message)


def pad_of(frame_bytes: int) -> str:
    return "x" * max(1, frame_bytes - ENVELOPE_BYTES)


def cpu_seconds(pids: Sequence[int]) -> float:
    """The clocks of processes, as the kernel has brought them up to date at its last tick."""
    # What clock_getcpuclockid makes of a process; Python has no name for it.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


async def cpu_at_rest(pids: Sequence[int]) -> float:
    """The same as soon as they do nothing; meanwhile clients do what they have left to do."""
    cpu = cpu_seconds(pids)
    for _ in range(200):
        await asyncio.sleep(LONGER_THAN_A_TICK)
        before, cpu = cpu, cpu_seconds(pids)
        if before == cpu:
            return cpu
    raise BenchmarkError("the server did not come to rest")
