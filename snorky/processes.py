"""The processes that serve one service together: who is there, and what they ask each other.

Each says every few seconds that it is there, through the broker; one that is not heard of any more
has gone. While a process is cut off from the broker it hears nobody, itself included: then it takes
nobody for gone.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from snorky.brokers import Broker, BrokerUnavailable
from snorky.envelope import Envelope
from snorky.log import snorky_log
from snorky.services.base import RPCError
from snorky.topics import awaited, forget

BEAT_SECONDS = 5.0
GONE_SECONDS = 20.0
"""Who is not heard for so long has gone; it is noticed at the next beat."""

ANSWER_SECONDS = 0.9
"""How long an answer of others is waited for."""


class Processes:
    """This process among those that serve the service called ``name``.

    ``broker`` None: there is no other, and nothing is sent.
    """

    def __init__(
        self,
        name: str,
        broker: Broker | None,
        *,
        beat: float = BEAT_SECONDS,
        gone: float = GONE_SECONDS,
    ) -> None:
        self.id = secrets.token_hex(6)
        self.broker = broker
        self.answers: dict[str, Callable[[Any], Any]] = {}
        """What this process does when it is asked; may return an awaitable."""
        self.beat_news: Callable[[], Any] = lambda: None
        """What goes with each beat, any JSON value."""
        self.on_beat: Callable[[str, Any], None] = lambda process, news: None
        self.on_new: Callable[[str], None] = lambda process: None
        self.on_gone: Callable[[str], None] = lambda process: None
        self._service = name
        self._topic = f"{name}!processes"
        self._beat_seconds = beat
        self._gone_seconds = gone
        self._heard: dict[str, float] = {}
        """When each was heard last, this one included."""
        self._asked: dict[int, _Asked] = {}
        self._next_question = 0
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def others(self) -> list[str]:
        """Those that are there, as far as this one knows."""
        return [process for process in self._heard if process != self.id]

    async def start(self) -> None:
        """Let the others know. Several may start it; as many have to stop it."""
        if self.broker is not None and not self._users:
            for topic in (self._topic, self._topic_of(self.id)):
                await awaited(self.broker.subscribe(topic, self._receive))
            await self._say(self._topic, {"kind": "hello"})
            self._beat()
        self._users += 1

    async def stop(self) -> None:
        self._users -= 1
        if self.broker is None or self._users:
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._say(self._topic, {"kind": "bye"})
            for topic in (self._topic, self._topic_of(self.id)):
                await awaited(self.broker.unsubscribe(topic, self._receive))
        except BrokerUnavailable:
            pass  # the others will notice
        self._heard.clear()

    def mark(self, token: str) -> str:
        """A token that tells the others whose it is; the token itself where there are none."""
        return token if self.broker is None else f"{self.id}-{token}"

    def marked_by(self, token: str) -> str | None:
        """The other process that has marked a token, if it is there."""
        process = token.partition("-")[0]
        return process if process != self.id and process in self._heard else None

    def ask_all(self, what: str, params: Any) -> list[Any] | Awaitable[list[Any]]:
        """What each process answers, this one first; who is silent is left out.

        Raises what this process's answer raises, or an RPCError that another's has raised.
        """
        own = self._answer(what, params)
        others = self.others
        if not others and not inspect.isawaitable(own):
            return [own]
        return self._ask_all(own, others, what, params)

    async def _ask_all(self, own: Any, others: list[str], what: str, params: Any) -> list[Any]:
        asked = self._question(others)
        try:
            if others:
                self._say_soon(self._topic, self._asking(asked, what, params))
            answers = [await awaited(own)]
            if asked.missing:
                await asyncio.wait([asked.done], timeout=ANSWER_SECONDS)
            for answer in asked.answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers + asked.answers
        finally:
            del self._asked[asked.number]

    async def ask(
        self,
        process: str,
        what: str,
        params: Any,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Any:
        """What one process answers. Raises LookupError where there is no such process.

        An RPCError of the other's is raised here; TimeoutError where it does not answer.
        """
        if process == self.id:
            own = self._answer(what, params)
            return await awaited(own)
        if process not in self._heard:
            raise LookupError(process)
        asked = self._question([process])
        try:
            await self._say(self._topic_of(process), self._asking(asked, what, params))
            async with asyncio.timeout(ANSWER_SECONDS if timeout is None else timeout):
                await asked.done
        finally:
            del self._asked[asked.number]
        (answer,) = asked.answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _question(self, of: list[str]) -> _Asked:
        self._next_question += 1
        asked = _Asked(self._next_question, of)
        self._asked[asked.number] = asked
        return asked

    def _asking(self, asked: _Asked, what: str, params: Any) -> dict[str, Any]:
        return {"kind": "ask", "question": asked.number, "what": what, "params": params}

    def _answer(self, what: str, params: Any) -> Any:
        answer = self.answers.get(what)
        return None if answer is None else answer(params)

    def _topic_of(self, process: str) -> str:
        return f"{self._topic}/{process}"

    def _say(self, topic: str, message: dict[str, Any]) -> Awaitable[None]:
        assert self.broker is not None
        envelope = Envelope(self._service, {"from": self.id, **message})
        return awaited(self.broker.publish(topic, envelope))

    # Who is there

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._beat_seconds, self._beat)
        self._drop_gone()
        self._say_soon(self._topic, {"kind": "beat", "news": self.beat_news()})

    def _say_soon(self, topic: str, message: dict[str, Any]) -> None:
        # What the broker does not take it logs itself, and the next beats make up for it.
        forget(self._say(topic, message))

    def _drop_gone(self) -> None:
        now = time.monotonic()
        heard_itself = self._heard.get(self.id, now)
        for process, heard in tuple(self._heard.items()):
            if process != self.id and heard_itself - heard > self._gone_seconds:
                self._forget(process)

    def _forget(self, process: str) -> None:
        if self._heard.pop(process, None) is not None:
            self.on_gone(process)

    def _hear(self, process: str) -> None:
        now = time.monotonic()
        if process == self.id and now - self._heard.get(process, now) > 2 * self._beat_seconds:
            # It was cut off, or stood still: the others have their time from now on.
            self._heard = dict.fromkeys(self._heard, now)
        is_new = process not in self._heard and process != self.id
        self._heard[process] = now
        if is_new:
            self.on_new(process)

    # What comes

    def _receive(self, envelope: Envelope) -> None:
        message = envelope["message"]
        process, kind = message["from"], message["kind"]
        if kind == "bye":
            self._forget(process)
        elif kind == "answer":
            asked = self._asked.get(message["question"])
            if asked is not None:
                asked.take(process, message)
        else:
            self._hear(process)
            if kind == "beat":
                self.on_beat(process, message["news"])
            elif process == self.id:
                pass
            elif kind == "hello":
                self._say_soon(self._topic_of(process), {"kind": "here"})
            elif kind == "ask":
                forget(asyncio.ensure_future(self._reply(process, message)))

    async def _reply(self, process: str, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"kind": "answer", "question": message["question"]}
        try:
            value = self._answer(message["what"], message["params"])
            answer["value"] = await awaited(value)
        except RPCError as error:
            answer["error"] = str(error)
        except Exception:
            snorky_log.exception(
                'Unhandled exception in service "%s", asked for %s by another process',
                self._service,
                message["what"],
            )
            answer["error"] = "Internal error"
        self._say_soon(self._topic_of(process), answer)


class _Asked:
    """A question, and the answers so far: values, or the errors that others have met."""

    def __init__(self, number: int, of: list[str]) -> None:
        self.number = number
        self.missing = set(of)
        self.answers: list[Any] = []
        self.done = asyncio.get_running_loop().create_future()

    def take(self, process: str, message: dict[str, Any]) -> None:
        if process not in self.missing:
            return
        self.missing.remove(process)
        error = message.get("error")
        self.answers.append(message["value"] if error is None else RPCError(error))
        if not self.missing and not self.done.done():
            self.done.set_result(None)
