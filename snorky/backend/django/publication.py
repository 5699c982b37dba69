"""Changes on their way: they wait for the commit and leave with it, together, in order.

What was done in a transaction is published once, after it committed; what was done in a savepoint
that was rolled back is not. The turn is held from before the commit until Snorky has accepted the
publication, so the commits of a process are published in their order. An outage is logged and
counted, never raised.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from snorky.backend.django import outbox, settings
from snorky.backend.django.connector import failures
from snorky.backend.django.datasync import datasync
from snorky.backend.django.gathering import gathered_keys
from snorky.backend.django.registry import wire_name
from snorky.backend.django.settings import project_json
from snorky.backend.entries import Change, models_of, new_key
from snorky.backend.exchange import SnorkyError, snorky_log


def publish_deltas(deltas: Iterable[dict[str, Any]], using: str | None = None) -> None:
    """Publish changes, in order: ``{"type": "insert", "model": "Task", "data": {...}}`` etc.

    In a transaction of the database ``using`` they join what it has to publish after its commit, by
    its outbox where it has one; otherwise they leave now. They are encoded now: later changes to
    them are not seen, and what is no JSON, or no delta, raises here. A failure of Snorky is logged
    and counted in ``failures``.
    """
    publish([Change.of(delta, project_json.dumps) for delta in deltas], using)


def reset_models(*models: type[Model] | str, using: str | None = None) -> None:
    """Say that rows changed in a way that nobody told: who shows these models fetches anew.

    After ``QuerySet.update``, raw SQL and the like. Leaves as `publish_deltas` does.
    """
    names = [model if isinstance(model, str) else wire_name(model) for model in models]
    publish([Change(name) for name in names], using)


def is_told_all() -> bool:
    """Whether all that a query saw has been told, or will be before its page says it is live."""
    if not datasync.turn.passed() or datasync.lost:
        return False
    # A relay passes once more before that.
    return settings.outbox() != "orm" or outbox.drained()


def publish(changes: Iterable[Change], using: str | None = None) -> None:
    """The same for rows that are encoded already."""
    changes = list(changes)
    if not changes:
        return
    connection = transaction.get_connection(using)
    if settings.has_outbox(connection.alias):
        outbox.write(changes, connection.alias)
        return
    if not connection.in_atomic_block and connection.get_autocommit():
        with datasync.turn.taken() as in_turn:
            _deliver(changes, in_turn)
        return
    _publish_at_commit(connection)
    waiting = _Waiting(changes)
    made_before = _SavepointsUntil(connection.savepoint_state)
    connection.run_on_commit.append((made_before, waiting, False))


class _Waiting:
    """Changes that wait for a commit, among Django's hooks, and are dropped where they are."""

    def __init__(self, changes: list[Change]) -> None:
        self._changes = changes

    def take(self) -> list[Change]:
        changes, self._changes = self._changes, []
        return changes

    def __call__(self) -> None:
        # Nothing is left after a real commit. A TestCase, which has none, runs the hooks itself.
        if changes := self.take():
            with datasync.turn.taken() as in_turn:
                _deliver(changes, in_turn)


class _SavepointsUntil:
    """The savepoints whose rollback undoes a change: those made before it, by whatever means.

    Django remembers those of ``atomic()`` alone; their names end in a number that grows.
    """

    def __init__(self, number: int) -> None:
        self._number = number

    def __contains__(self, savepoint: str) -> bool:
        number = savepoint.rpartition("_x")[2]
        return number.isdecimal() and int(number) <= self._number


def _publish_at_commit(connection: BaseDatabaseWrapper) -> None:
    """Let the commits of this connection publish, before any hook of the project runs."""
    if "commit" in vars(connection):
        return
    commit: Callable[[], None] = connection.commit

    def commit_and_publish() -> None:
        hooks = [entry[1] for entry in connection.run_on_commit if isinstance(entry[1], _Waiting)]
        changes = [change for hook in hooks for change in hook.take()]
        if not changes:
            commit()
            return
        with datasync.turn.taken() as in_turn:
            try:
                commit()
            except (OperationalError, InterfaceError):
                # The connection may have been lost after the commit.
                datasync.lost.remember(models_of(changes))
                raise
            _deliver(changes, in_turn)

    setattr(connection, "commit", commit_and_publish)  # noqa: B010 mypy: cannot assign to a method


def _deliver(changes: Sequence[Change], in_turn: bool) -> None:
    key = new_key()
    try:
        datasync.publish_in_turn(changes, key, in_turn)
    except (RuntimeError, SnorkyError) as error:
        failures.count_publication(len(changes))
        snorky_log.error("%d deltas not published: %s", len(changes), error)
    except Exception:
        # The transaction has committed: whatever this is, it is not the user's failure.
        failures.count_publication(len(changes))
        snorky_log.exception("%d deltas not published", len(changes))
    else:
        keys = gathered_keys.get()
        if keys is not None:
            keys.append(key)
