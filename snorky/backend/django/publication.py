"""Deltas on their way: they wait for the commit and leave together, in order.

What was done in a transaction is published once, after it committed; what was done in a
savepoint that was rolled back is not. An outage is logged and counted, never raised.

What a commit hook of the project saves is committed and published while hooks are still running:
after what was changed before the hook was registered, before the rest of its transaction. Where a
hook raises, Django runs none after it: what those had to publish is lost.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from snorky.backend.django import settings
from snorky.backend.django.connector import failures, snorky_backend
from snorky.backend.django.settings import project_json
from snorky.backend.exchange import SnorkyError, snorky_log

MAX_PUBLICATION_BYTES = 512 * 1024  # more leaves in several calls: servers limit their size


def publish_deltas(deltas: Iterable[dict[str, Any]], using: str | None = None) -> None:
    """Publish changes, in order: ``{"type": "insert", "model": "Task", "data": {...}}`` etc.

    In a transaction of the database ``using`` they join what it has to publish after its commit,
    otherwise they leave now. They are encoded now: later changes to them are not seen, and what
    is no JSON raises here. A failure of Snorky is logged and counted in ``failures``.
    """
    texts = [project_json.dumps(delta) for delta in deltas]
    if not texts:
        return
    connection = transaction.get_connection(using)
    if not connection.in_atomic_block and not connection.get_autocommit():
        # Django calls nobody after the commit of a transaction that the program manages itself.
        snorky_log.error("%d deltas not published: autocommit is off", len(texts))
        failures.count_publication(len(texts))
        return
    _Batch.of(connection).add(texts)


class _Batch:
    """What one transaction has to publish.

    Django runs the hooks of a commit one by one, without saying which is the last, and drops
    those of a savepoint that is rolled back. So each list of deltas has two hooks: one makes it
    ready and is dropped with its savepoint, the other belongs to the whole transaction and sends
    what is ready, provided that it is the newest of its kind.

    Only those hooks keep the batch alive: with them goes what another one's exception cut off.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._ready: list[str] = []
        self._newest = 0  # a number, since the hook itself would be a cycle: see __del__

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper) -> "_Batch":
        """The batch of the transaction that is open, a new one if it has none yet."""
        # From the end: there is the newest of our hooks, behind it at most those of others.
        for entry in reversed(connection.run_on_commit):
            hook = entry[1]
            if isinstance(hook, _SendAll):
                return hook.batch
        return cls(connection)

    def add(self, texts: list[str]) -> None:
        connection = self._connection
        self._newest += 1
        connection.on_commit(partial(self._make_ready, texts))
        savepoints, connection.savepoint_ids = connection.savepoint_ids, []
        try:
            connection.on_commit(_SendAll(self, self._newest))
        finally:
            connection.savepoint_ids = savepoints

    def _make_ready(self, texts: list[str]) -> None:
        last = _last_ready.get(self._connection)
        interrupted = last() if last else None
        if interrupted is not None and interrupted is not self:
            # A hook among those of that batch is saving. What was committed first leaves first.
            interrupted.send_ready()
        _last_ready[self._connection] = ref(self)
        self._ready += texts

    def send_all(self, number: int) -> None:
        if number == self._newest:
            self.send_ready()

    def send_ready(self) -> None:
        ready, self._ready = self._ready, []
        _send(ready)

    def __del__(self) -> None:
        if self._ready:
            failures.count_publication(len(self._ready))
            snorky_log.error(
                "%d deltas, and what their transaction changed after them, not published: "
                "another hook of its commit failed",
                len(self._ready),
            )


@dataclass(frozen=True)
class _SendAll:
    """A hook, by which the batch of a transaction is found again."""

    batch: _Batch
    number: int

    def __call__(self) -> None:
        self.batch.send_all(self.number)


_last_ready: WeakKeyDictionary[BaseDatabaseWrapper, ref[_Batch]] = WeakKeyDictionary()


def _send(texts: list[str]) -> None:
    sent = 0
    try:
        for part in _parts(texts):
            deltas = [project_json.loads(text) for text in part]
            snorky_backend.call(settings.datasync_service(), "publishDeltas", deltas=deltas)
            sent += len(part)
    except (RuntimeError, SnorkyError) as error:
        failures.count_publication(len(texts) - sent)
        snorky_log.error("%d deltas not published: %s", len(texts) - sent, error)
    except Exception:
        # The transaction has committed: whatever this is, it is not the user's failure.
        failures.count_publication(len(texts) - sent)
        snorky_log.exception("%d deltas not published", len(texts) - sent)


def _parts(texts: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size_bytes = 0
    for text in texts:
        size_bytes += len(text.encode())
        if part and size_bytes > MAX_PUBLICATION_BYTES:
            yield part
            part, size_bytes = [], len(text.encode())
        part.append(text)
    if part:
        yield part
