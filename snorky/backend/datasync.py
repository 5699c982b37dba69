"""DataSync for web applications: who may see what, and what has changed.

::

    datasync = DataSync(snorky)

    place = datasync.head()                                      # 1. before permission is checked
    token = datasync.authorize(items, after=place)               # 2. before the query
    datasync.publish([{"type": "insert", "model": "Task", "data": row}])     # after the commit

The same for asyncio is `snorky.backend.aio.DataSync`. `snorky.backend.lists` does all of it around
a request, the headers included.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from snorky.backend import SnorkyBackend
from snorky.backend.entries import Change, LostModels, entry_text, models_of, new_key
from snorky.backend.exchange import NoAnswerError, SnorkyError
from snorky.backend.turns import Turn

HEAD_SECONDS = 10.0  # how old a token's place may be
PAUSES_SECONDS = (0.05, 0.2)  # before a publication that may have arrived is repeated

Items = Sequence[Mapping[str, Any]]  # {"dealer": name, "query": any} each


class Head:
    """The newest position of the log that was heard of, and when. An older one is as right.

    A token that begins there is told more than it need be, never less.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: tuple[str, float] | None = None

    def learn(self, position: str | None) -> None:
        if position is not None:
            self._known = position, self._clock()

    @property
    def fresh(self) -> str | None:
        """The position, unless it is too old to be used."""
        if self._known is None or self._clock() - self._known[1] > HEAD_SECONDS:
            return None
        return self._known[0]


class DataSync:
    """The commands of a DataSyncBackend. For many threads.

    A publication that fails is repeated under its key, so that it is applied once. What could not
    be delivered all the same is remembered by model in ``lost``: the next call that succeeds tells
    the pages of these models to fetch anew, and until then nobody is given a token.
    """

    def __init__(self, snorky: SnorkyBackend, service: str = "datasync_backend") -> None:
        self.snorky = snorky
        self.service_name = service
        self.lost = LostModels()
        self.turn = Turn()
        self._head = Head()

    @property
    def service(self) -> str:
        """The name of the DataSyncBackend."""
        return self.service_name

    def head(self) -> str:
        """Return the position of the newest change, or one from the last 10 seconds.

        To be asked for before permission is checked, and given to `authorize` as ``after``: so a
        revocation between the check and the token is not lost.
        """
        position = self._head.fresh
        if position is None:
            newest: str = self._call("head")
            self._head.learn(newest)
            return newest
        return position

    def authorize(self, items: Items, subject: Any = None, after: str | None = None) -> str:
        """Return a token for a subscription to ``items``, ``{"dealer": name, "query": any}`` each.

        ``subject`` is whose it is, any JSON value: compared with the ``identity`` of the client
        that opens it, and what `revoke` goes by. ``after`` is where it begins: see `head`.
        """
        self.deliver_lost()
        params: dict[str, Any] = {"items": items}
        if subject is not None:
            params["subject"] = subject
        if after is not None:
            params["after"] = after
        token: str = self._call("authorizeSubscription", **params)
        return token

    def publish(self, deltas: Iterable[Mapping[str, Any]], key: str | None = None) -> str | None:
        """Publish the changes of one transaction, in order, and return their position in the log.

        ``{"type": "insert", "model": "Task", "data": row}`` and the like; ``{"type": "reset",
        "model": "Task"}`` stands for changes that cannot be told. Raises what `SnorkyBackend.call`
        raises, after having remembered the models.
        """
        return self.publish_changes(
            [Change.of(delta, self.snorky.json.dumps) for delta in deltas], key
        )

    def publish_changes(self, changes: Sequence[Change], key: str | None = None) -> str | None:
        """The same for rows that are encoded already."""
        losses = self.lost.now()
        try:
            text = entry_text([*map(Change, losses), *changes])
            position = self._publish(text, key or new_key())
        except BaseException:
            self.lost.remember(models_of(changes))
            raise
        self.lost.forget(losses)
        self._head.learn(position)
        return position

    def forget(self) -> None:
        """Begin anew, with a server that is another one."""
        self.lost = LostModels()
        self._head = Head()

    def deliver_lost(self) -> None:
        """Tell those to fetch anew who may have missed something, if there are any."""
        if self.lost:
            with self.turn.taken():
                self.publish_changes([])

    def revoke(
        self,
        *,
        subject: Any = None,
        items: Items | None = None,
        models: Iterable[str] | None = None,
    ) -> Any:
        """End the subscriptions that match all that is given: at least one is needed.

        Any one item, any one model is enough. Nothing that is appended to the log after this has
        returned reaches them.
        """
        return self._call("revokeSubscriptions", **_selection(subject, items, models))

    def refresh(
        self,
        *,
        subject: Any = None,
        items: Items | None = None,
        models: Iterable[str] | None = None,
    ) -> Any:
        """Let the pages of these subscriptions fetch again, while the subscriptions go on."""
        return self._call("refreshSubscriptions", **_selection(subject, items, models))

    def reset(self, *models: str) -> None:
        """Say that something changed in these models that cannot be told: pages fetch anew."""
        self.publish({"type": "reset", "model": model} for model in models)

    def subscriptions(self) -> Any:
        """Return counts of the subscriptions, for operators."""
        return self._call("listSubscriptions")

    def _call(self, command: str, **params: Any) -> Any:
        return self.snorky.call(self.service, command, **params)

    def _publish(self, deltas: str, key: str) -> str | None:
        params = f'{{"deltas":{deltas}}}'
        position: str | None = self.snorky.call_encoded(self.service, "publishDeltas", params)
        return position


def _selection(subject: Any, items: Items | None, models: Iterable[str] | None) -> dict[str, Any]:
    models = None if models is None else list(models)
    given = {"subject": subject, "items": items, "models": models}
    selection = {name: value for name, value in given.items() if value is not None}
    if not selection:
        raise ValueError("expected at least one of subject, items and models")
    return selection


__all__ = ["DataSync", "NoAnswerError", "SnorkyError"]
