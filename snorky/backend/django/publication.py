"""Deltas on their way: they wait for the commit and leave together, in order.

What was done in a transaction is published once, after it committed; what was done in a
savepoint that was rolled back is not. An outage is logged and counted, never raised.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

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
    _outgoing.setdefault(connection, _Outgoing()).add(texts, connection)


class _Outgoing:
    """What one database connection has to publish.

    Django runs the hooks of a commit one by one, without saying which is the last, and drops
    those of a savepoint that is rolled back. So each list of deltas has two hooks: one makes it
    ready and is dropped with its savepoint, the other belongs to the whole transaction and sends
    what is ready, provided that it is the newest of its kind.
    """

    def __init__(self) -> None:
        self._ready: list[str] = []
        self._newest: object = None

    def add(self, texts: list[str], connection: BaseDatabaseWrapper) -> None:
        def make_ready() -> None:
            self._ready += texts

        def send_all() -> None:
            if self._newest is send_all:
                ready, self._ready = self._ready, []
                _send(ready)

        self._newest = send_all
        connection.on_commit(make_ready)
        savepoints, connection.savepoint_ids = connection.savepoint_ids, []
        try:
            connection.on_commit(send_all)
        finally:
            connection.savepoint_ids = savepoints


_outgoing: WeakKeyDictionary[BaseDatabaseWrapper, _Outgoing] = WeakKeyDictionary()


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
