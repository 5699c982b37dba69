"""DataSync for web applications: who may see what, and what has changed.

::

    datasync = DataSync(snorky)

    place = datasync.head()                                      # 1. before permission is checked
    token = datasync.authorize(items, after=place)               # 2. before the query
    datasync.publish([{"type": "insert", "model": "Task", "data": row}])     # after the commit

The same for asyncio is `snorky.backend.aio.DataSync`. `snorky.backend.lists` does all of it around
a request, the headers included.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from snorky.backend import SnorkyBackend
from snorky.backend.entries import Change, LostModels, entry_text, models_of, new_key
from snorky.backend.exchange import NoAnswerError, SnorkyError
from snorky.backend.turns import Turn

NOT_THIS_LOG = "after is a position of another log"  # Snorky's words
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

    def forget(self) -> None:
        self._known = None

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
        params = given(items=items, subject=subject, after=after)
        try:
            token: str = self._call("authorizeSubscription", **params)
        except SnorkyError as error:
            if str(error) != NOT_THIS_LOG:
                raise
            # Not with a new place: what was revoked since permission was checked would be lost.
            self._head.forget()
            raise NoAnswerError("Snorky was started anew: ask again") from error
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

    def publish_in_turn(self, changes: Sequence[Change], key: str, in_turn: bool) -> str | None:
        """The same where the turn was taken; False: it could not be, so nothing is told in order.

        Then the models are remembered, and RuntimeError is raised.
        """
        if in_turn:
            return self.publish_changes(changes, key)
        self.lost.remember(models_of(changes))
        raise RuntimeError(f"others took longer than {self.turn.patience:g} s to publish")

    def forget(self) -> None:
        """Begin anew, with a server that is another one."""
        self.lost = LostModels()
        self._head = Head()

    def deliver_lost(self) -> None:
        """Tell those to fetch anew who may have missed something, if there are any."""
        if self.lost:
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
        return self._call("revokeSubscriptions", **selection(subject, items, models))

    def refresh(
        self,
        *,
        subject: Any = None,
        items: Items | None = None,
        models: Iterable[str] | None = None,
    ) -> Any:
        """Let the pages of these subscriptions fetch again, while the subscriptions go on."""
        return self._call("refreshSubscriptions", **selection(subject, items, models))

    def reset(self, *models: str) -> None:
        """Say that something changed in these models that cannot be told: pages fetch anew."""
        self.publish({"type": "reset", "model": model} for model in models)

    def subscriptions(self) -> Any:
        """Return counts of the subscriptions, for operators."""
        return self._call("listSubscriptions")

    def _call(self, command: str, **params: Any) -> Any:
        return self.snorky.call(self.service, command, **params)

    def _publish(self, deltas: str, key: str) -> str | None:
        """Publish under a key, again where it may have arrived: it is applied once."""
        params = publication_params(deltas, key)
        for attempt in count():
            try:
                return self.snorky.call_encoded(self.service, "publishDeltas", params)  # type: ignore[no-any-return]
            except NoAnswerError as error:
                pause = pause_after(error, attempt)
                if pause is None:
                    raise
            time.sleep(pause)
        raise AssertionError("it counts for ever")


def pause_after(error: NoAnswerError, attempt: int) -> float | None:
    """Seconds until a publication is repeated that failed so; None where it is given up.

    It is not repeated where nobody is there, nor where a whole timeout was waited for already: the
    user's request waits as well.
    """
    if not error.hung_up or attempt >= len(PAUSES_SECONDS):
        return None
    return PAUSES_SECONDS[attempt]


def publication_params(deltas: str, key: str) -> str:
    """The JSON of a publication's parameters, given that of its deltas."""
    return f'{{"deltas":{deltas},"key":{json.dumps(key)}}}'


def given(**params: Any) -> dict[str, Any]:
    """The parameters that are not None: to a command the others are as if left out."""
    return {name: value for name, value in params.items() if value is not None}


def selection(subject: Any, items: Items | None, models: Iterable[str] | None) -> dict[str, Any]:
    """The parameters that choose subscriptions. Raises ValueError where there are none."""
    chosen = given(subject=subject, items=items, models=None if models is None else list(models))
    if not chosen:
        raise ValueError("expected at least one of subject, items and models")
    return chosen
