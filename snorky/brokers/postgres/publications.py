"""The publications that a process receives: in their order, each once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from snorky.brokers import Deliver
from snorky.brokers.connecting import deliver
from snorky.brokers.postgres.link import Statement
from snorky.envelope import Envelope
from snorky.log import snorky_log

ROWS, BYTES = 500, 4 * 1024 * 1024
"""That are read at once."""

MOST_NAMED = 100
"""Topics that are told to the database; who receives more reads all publications."""


class Publications:
    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._delivers: dict[bytes, list[Deliver]] = {}
        self._joining: dict[bytes, dict[asyncio.Future[None], Deliver]] = {}
        self._written: deque[tuple[int, list[asyncio.Future[None]]]] = deque()
        self.has_begun = False
        """Whether it is known where to go on."""
        self._life = ""
        self._last = 0  # that was delivered

    @property
    def is_wanted(self) -> bool:
        return bool(self._delivers or self._written)

    # Subscriptions

    def add(self, answer: asyncio.Future[None], topic: bytes, deliver: Deliver) -> None:
        """Subscribe when all that was published before has been read: at ``join``."""
        self._joining.setdefault(topic, {})[answer] = deliver

    @property
    def joining(self) -> list[tuple[bytes, asyncio.Future[None]]]:
        return [(topic, answer) for topic, answers in self._joining.items() for answer in answers]

    def joining_to(self, topic: bytes) -> asyncio.Future[None] | None:
        """The newest subscription to a topic that is under way, if any."""
        answers = self._joining.get(topic)
        return next(reversed(answers)) if answers else None

    def join(self, topic: bytes, answer: asyncio.Future[None]) -> None:
        deliver = self._leave(topic, answer)
        if deliver is not None and not answer.done():
            self._delivers.setdefault(topic, []).append(deliver)
            answer.set_result(None)

    def _leave(self, topic: bytes, answer: asyncio.Future[None]) -> Deliver | None:
        answers = self._joining.get(topic, {})
        deliver = answers.pop(answer, None)
        if not answers:
            self._joining.pop(topic, None)
        return deliver

    def remove(self, topic: bytes, deliver: Deliver) -> None:
        """Raises KeyError."""
        delivers = self._delivers.get(topic, [])
        if deliver in delivers:
            delivers.remove(deliver)
            if not delivers:
                del self._delivers[topic]
            return
        for answer, joining in self._joining.get(topic, {}).items():
            if joining == deliver:
                self._leave(topic, answer)
                answer.set_result(None)
                return
        raise KeyError(topic)

    # What this process published

    def written(
        self, last: int, topics: Iterable[bytes], answers: Iterable[asyncio.Future[None]]
    ) -> None:
        """Answer what is committed up to an id: where it is received here, when it is read."""
        later = []
        for topic, answer in zip(topics, answers, strict=True):
            if topic in self._delivers and last > self._last:
                later.append(answer)
            elif not answer.done():
                answer.set_result(None)
        if later:
            self._written.append((last, later))

    def _answer_written(self) -> None:
        while self._written and self._written[0][0] <= self._last:
            for answer in self._written.popleft()[1]:
                if not answer.done():
                    answer.set_result(None)

    def give_up(self) -> list[asyncio.Future[None]]:
        """The connection has ended: returns who waits in vain. Subscriptions stay."""
        waiting = [answer for _, answer in self.joining]
        waiting += [answer for _, answers in self._written for answer in answers]
        self._joining.clear()
        self._written.clear()
        return waiting

    # Reading

    def statement(self) -> Statement:
        """What is new on our topics; in the last row, the newest there is at all."""
        names = list(self._delivers) if len(self._delivers) <= MOST_NAMED else None
        publications = f"{self._schema}.publications"
        return (
            "SELECT new.id, new.topic, new.text, NULL AS life, NULL AS dropped FROM ("
            "SELECT id, topic, text, sum(octet_length(text)) OVER (ORDER BY id) AS size "
            f"FROM {publications} WHERE id > %b "
            f"AND (%b::bytea[] IS NULL OR topic = ANY(%b::bytea[])) ORDER BY id LIMIT {ROWS}"
            f") AS new WHERE new.size - octet_length(new.text) < {BYTES} "
            f"UNION ALL SELECT greatest(dropped, (SELECT max(id) FROM {publications})), "
            f"NULL, NULL, life, dropped FROM {self._schema}.publishing",
            (self._last, names, names),
        )

    def take(self, rows: list[Any]) -> bool:
        """Deliver what was read, the last row apart. Returns whether there is more."""
        if not rows or rows[-1][3] is None:
            # Emptied by a crash, or nothing was ever published.
            self.has_begun, self._life, self._last = True, "", 0
            return False
        newest, _, _, life, dropped = rows.pop()
        if not self.has_begun:
            self.has_begun, self._life, self._last = True, life, newest
            return False
        if life != self._life:
            self._life, self._last = life, 0
            return True
        if self._last < dropped and self._delivers:
            snorky_log.warning(
                "Publications %d to %d were lost: this process did not read them in time",
                self._last + 1,
                dropped,
            )
        size = 0
        for _, topic, text, _, _ in rows:
            size += len(text)
            deliver(self._delivers.get(topic, ()), text, Envelope.received, topic)
        is_more = len(rows) >= ROWS or size >= BYTES
        self._last = rows[-1][0] if is_more else newest
        self._answer_written()
        return is_more
