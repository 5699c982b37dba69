"""Clients of every way in to Snorky: what each says to connect, to call, and to receive.

Each does what its JavaScript client does, as long as nothing goes wrong: over plain HTTP one
connection receives, and another sends. What is delivered has to be what was published: each message
once, in order and unchanged. Leaves what is said when to transports.py, and bytes to lines.py.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from harness import BenchmarkError
from lines import Line

CHANNEL = "c0"
SEPARATOR = "\x1e"
"""Between the packets of Engine.IO."""


@lru_cache(maxsize=4096)
def decoded(text: bytes | str) -> Any:
    """What all clients are sent is decoded once."""
    return msgspec.json.decode(text)


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


class Count:
    """Something that is counted, up to where somebody waits for it."""

    def __init__(self, what: str) -> None:
        self.value = 0
        self._what = what
        self._goal = -1
        self._reached = asyncio.Event()

    def add(self) -> None:
        self.value += 1
        if self.value == self._goal:
            self._reached.set()

    async def reach(self, goal: int, seconds: float) -> None:
        """Raises BenchmarkError where it does not within ``seconds``."""
        if self.value >= goal:
            return
        self._goal = goal
        self._reached.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._reached.wait()
        except TimeoutError as error:
            raise BenchmarkError(
                f"after {seconds:g} s {self.value} of {goal} {self._what} had come"
            ) from error


class Crowd:
    """All clients of a measurement: what they have received, and the first fault of any."""

    def __init__(self, port: int, tasks: asyncio.TaskGroup) -> None:
        self.published: list[dict[str, Any]] = []
        """Every message of the channel, its number being its place."""
        self.deliveries = Count("deliveries")
        self.beats = Count("signs of life")
        self._port = port
        self._tasks = tasks
        self._receiving: list[asyncio.Task[None]] = []
        self._lines: list[Line] = []
        self._ended = False

    async def open_line(self) -> Line:
        line = await Line.open(self._port, self.fail)
        self._lines.append(line)
        return line

    def start(self, receiving: Coroutine[Any, Any, None]) -> None:
        """Let a client go on receiving until the end."""
        self._receiving.append(self._tasks.create_task(receiving))

    def fail(self, text: str) -> None:
        async def fail() -> None:
            raise BenchmarkError(text)

        if not self._ended:
            self._ended = True
            self._tasks.create_task(fail())

    def leave(self) -> None:
        self._ended = True
        for task in self._receiving:
            task.cancel()
        for line in self._lines:
            line.close()


class Client:
    """What all ways share: calls and deliveries, once they have been unwrapped."""

    def __init__(self, crowd: Crowd, path: str) -> None:
        self.crowd = crowd
        self.path = path
        self._next = 0
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last_call = 0

    async def connect(self) -> None:
        raise NotImplementedError

    async def say(self, text: bytes) -> None:
        """Bring one message to the server."""
        raise NotImplementedError

    def rest(self) -> None:
        """Close what a page that does nothing does not keep open for long."""

    async def subscribe(self) -> None:
        await self.call("pubsub", "subscribe", channel=CHANNEL)
        self._next = len(self.crowd.published)

    async def call(self, service: str, command: str, **params: Any) -> Any:
        self._last_call += 1
        answer = self._calls[self._last_call] = asyncio.get_running_loop().create_future()
        await self.say(self.as_call(service, command, params, self._last_call))
        return await answer

    def as_call(self, service: str, command: str, params: Any, number: int) -> bytes:
        message = {"command": command, "params": params, "callId": number}
        return encoded({"service": service, "message": message})

    def take(self, text: bytes | str) -> None:
        """A message of the server's."""
        self.take_envelope(decoded(text))

    def take_envelope(self, envelope: Any) -> None:
        message = envelope["message"]
        if message["type"] == "message":
            self.take_delivery(message["message"])
        else:
            self.take_answer(message["callId"], message)

    def take_answer(self, number: int, answer: Any) -> None:
        if answer["type"] != "response" or number not in self._calls:
            raise BenchmarkError(f"expected the answer to a call, got {answer!r}")
        self._calls.pop(number).set_result(answer["data"])

    def take_delivery(self, message: Any) -> None:
        published = self.crowd.published
        if self._next >= len(published) or message != published[self._next]:
            raise BenchmarkError(f"expected message {self._next}, got {message!r}")
        self._next += 1
        self.crowd.deliveries.add()

    def beat(self) -> None:
        self.crowd.beats.add()


# WebSocket, with and without something around the messages


class WebSocketClient(Client):
    async def connect(self) -> None:
        self._line = await self.crowd.open_line()
        await self._line.upgrade(self.path, self.take_text, self.beat)

    async def say(self, text: bytes) -> None:
        self._line.send(text)

    def take_text(self, text: bytes) -> None:
        self.take(text)


class SockJSInfo(Client):
    """Every client of SockJS asks first what there is."""

    sessions = 0

    async def connect(self) -> None:
        line = await self.crowd.open_line()
        await line.request("GET", f"{self.path}/info")
        self.receiving = line
        SockJSInfo.sessions += 1
        self.session = f"{self.path}/000/s{SockJSInfo.sessions}"
        self.opened = asyncio.Event()

    def take_frame(self, frame: bytes) -> None:
        kind = frame[:1]
        if kind == b"a":
            for text in decoded(frame[1:]):
                self.take(text)
        elif kind == b"o":
            self.opened.set()
        elif kind == b"h":
            self.beat()
        else:
            raise BenchmarkError(f"expected a frame of SockJS, got {frame!r}")


class SockJSWebSocketClient(SockJSInfo):
    async def connect(self) -> None:
        await super().connect()
        self.receiving.close()
        self._line = await self.crowd.open_line()
        # Pings are not counted: SockJS has signs of life of its own.
        await self._line.upgrade(f"{self.session}/websocket", self.take_frame, lambda: None)
        await self.opened.wait()

    async def say(self, text: bytes) -> None:
        self._line.send(encoded([text.decode()]))


class SocketIOPackets(Client):
    """Packets of Engine.IO, and within them those of Socket.IO."""

    opened: asyncio.Event
    sid: str

    def as_call(self, service: str, command: str, params: Any, number: int) -> bytes:
        event = [service, {"command": command, "params": params}]
        return b"42%d%b" % (number, encoded(event))

    def take_packet(self, packet: str) -> bytes | None:
        """Returns what it has to be answered."""
        if packet.startswith("42"):
            self.take_delivery(decoded(packet[2:])[1]["message"])
        elif packet.startswith("43"):
            number, bracket, rest = packet[2:].partition("[")
            self.take_answer(int(number), decoded(bracket + rest)[0])
        elif packet == "2":
            self.beat()
            return b"3"
        elif packet.startswith("0"):
            self.sid = decoded(packet[1:])["sid"]
            return b"40"
        elif packet.startswith("40"):
            self.opened.set()
        else:
            raise BenchmarkError(f"expected a packet of Socket.IO, got {packet!r}")
        return None


class SocketIOWebSocketClient(SocketIOPackets):
    async def connect(self) -> None:
        self.opened = asyncio.Event()
        self._line = await self.crowd.open_line()
        path = f"{self.path}/?EIO=4&transport=websocket"
        await self._line.upgrade(path, self.take_text, lambda: None)
        await self.opened.wait()

    def take_text(self, text: bytes) -> None:
        reply = self.take_packet(text.decode())
        if reply:
            self._line.send(reply)

    async def say(self, text: bytes) -> None:
        self._line.send(text)


# Plain HTTP


class HTTPClient(Client):
    """One connection receives, another sends."""

    receiving: Line
    _sending: Line | None = None

    def __init__(self, crowd: Crowd, path: str) -> None:
        super().__init__(crowd, path)
        self._posting = asyncio.Lock()

    async def post(self, path: str, body: bytes) -> bytes:
        async with self._posting:
            if self._sending is None:
                self._sending = await self.crowd.open_line()
            return await self._sending.request("POST", path, body)

    async def receive(self) -> None:
        while True:
            await self.receive_once()

    async def receive_once(self) -> None:
        """One response."""
        raise NotImplementedError

    def rest(self) -> None:
        if self._sending is not None:
            self._sending.close()
            self._sending = None


class Pieces:
    """Takes a stream as it comes, and gives what is between separators."""

    def __init__(self, separator: bytes) -> None:
        self._separator = separator
        self._rest = b""

    def of(self, data: bytes) -> Iterator[bytes]:
        *whole, self._rest = (self._rest + data).split(self._separator)
        yield from whole


class CometClient(HTTPClient):
    async def connect(self) -> None:
        self.receiving = await self.crowd.open_line()
        opened = decoded(await self.receiving.request("POST", self.path))
        self.session = opened["session"]
        self.after = 0
        self._first = 1
        self.crowd.start(self.receive())

    async def say(self, text: bytes) -> None:
        batch = {"first": self._first, "after": self.after, "messages": [text.decode()]}
        self._first += 1
        path = f"{self.path}/messages?session={self.session}"
        answer = decoded(await self.post(path, encoded(batch)))
        if answer["received"] != batch["first"]:
            raise BenchmarkError(f"expected message {batch['first']} to be taken, got {answer!r}")


class EventsClient(CometClient):
    async def connect(self) -> None:
        self._opened = asyncio.Event()
        await super().connect()
        await self._opened.wait()

    async def receive_once(self) -> None:
        self._events = Pieces(b"\n\n")
        path = f"{self.path}/events?session={self.session}&after={self.after}"
        await self.receiving.request("GET", path, take=self._take_events)

    def _take_events(self, data: bytes) -> None:
        for event in self._events.of(data):
            if event.startswith(b"id: "):
                number, data = event[4:].split(b"\ndata: ", 1)
                if int(number) != self.after + 1:
                    raise BenchmarkError(f"expected event {self.after + 1}, got {event!r}")
                self.after += 1
                self.take(data)
            elif event == b":":
                self.beat()
            elif event.startswith(b"event: open"):
                self._opened.set()
            elif not event.startswith(b": "):
                raise BenchmarkError(f"expected an event, got {event!r}")


class PollClient(CometClient):
    async def receive_once(self) -> None:
        path = f"{self.path}/poll?session={self.session}&after={self.after}"
        answer = decoded(await self.receiving.request("GET", path))
        self.after += len(answer["messages"])
        if answer["after"] != self.after or "close" in answer:
            raise BenchmarkError(f"expected messages up to {self.after}, got {answer!r}")
        if not answer["messages"]:
            self.beat()
        for envelope in answer["messages"]:
            self.take_envelope(envelope)


class SockJSHTTPClient(SockJSInfo, HTTPClient):
    ADDRESS: str
    METHOD = "POST"
    SEPARATOR = b"\n"

    async def connect(self) -> None:
        await super().connect()
        self.crowd.start(self.receive())
        await self.opened.wait()

    async def say(self, text: bytes) -> None:
        await self.post(f"{self.session}/xhr_send", encoded([text.decode()]))

    async def receive_once(self) -> None:
        self._frames = Pieces(self.SEPARATOR)
        path = f"{self.session}/{self.ADDRESS}"
        await self.receiving.request(self.METHOD, path, take=self.take_data)

    def take_data(self, data: bytes) -> None:
        for frame in self._frames.of(data):
            if frame[:2] != b"hh":  # the prelude
                self.take_frame(frame)


class XHRStreamingClient(SockJSHTTPClient):
    ADDRESS = "xhr_streaming"


class XHRClient(SockJSHTTPClient):
    ADDRESS = "xhr"


class EventSourceClient(SockJSHTTPClient):
    ADDRESS = "eventsource"
    METHOD = "GET"
    SEPARATOR = b"\r\n\r\n"

    def take_data(self, data: bytes) -> None:
        for event in self._frames.of(data):
            frame = event.removeprefix(b"\r\n").removeprefix(b"data: ")
            self.take_frame(frame.replace(b"%25", b"%"))


class SocketIOPollingClient(SocketIOPackets, HTTPClient):
    async def connect(self) -> None:
        self.opened = asyncio.Event()
        self.receiving = await self.crowd.open_line()
        self._address = f"{self.path}/?EIO=4&transport=polling"
        first = (await self.receiving.request("GET", self._address)).decode()
        connect = self.take_packet(first)
        assert connect
        self._address += f"&sid={self.sid}"
        self.crowd.start(self.receive())
        await self.say(connect)
        await self.opened.wait()

    async def say(self, text: bytes) -> None:
        await self.post(self._address, text)

    async def receive_once(self) -> None:
        payload = await self.receiving.request("GET", self._address)
        for packet in payload.decode().split(SEPARATOR):
            reply = self.take_packet(packet)
            if reply:
                await self.say(reply)
