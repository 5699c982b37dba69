"""The commands of DataSync for asyncio: see `snorky.backend.datasync`, whose rules these are."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from snorky.backend.aio.transport import SnorkyBackend
from snorky.backend.datasync import (
    NOT_THIS_LOG,
    Head,
    Items,
    given,
    pause_after,
    publication_params,
    selection,
)
from snorky.backend.entries import Change, LostModels, entry_text, models_of, new_key
from snorky.backend.exchange import NoAnswerError, SnorkyError
from snorky.backend.turns import PATIENCE_SECONDS


class Turn:
    """The turn to write, of the tasks of one event loop: see `snorky.backend.turns`."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[bool]:
        """Take the turn for the block. False: others have it for too long, go on without.

        Not to be taken within itself.
        """
        got = False
        try:
            async with asyncio.timeout(self.patience):
                got = await self._lock.acquire()
        except TimeoutError:
            pass
        try:
            yield got
        finally:
            if got:
                self._lock.release()

    async def passed(self) -> bool:
        """Wait until those who had the turn before are done. False: they are not, by now."""
        async with self.taken() as got:
            return got


class DataSync:
    """The commands of a DataSyncBackend, for the tasks of one event loop.

    What fails is repeated, remembered and made good as by `snorky.backend.datasync.DataSync`.
    """

    def __init__(self, snorky: SnorkyBackend, service: str = "datasync_backend") -> None:
        self.snorky = snorky
        self.service = service
        self.lost = LostModels()
        self.turn = Turn()
        self._head = Head()

    async def head(self) -> str:
        """Return the position of the newest change, or one from the last 10 seconds.

        To be asked for before permission is checked, and given to `authorize` as ``after``.
        """
        position = self._head.fresh
        if position is None:
            newest: str = await self._call("head")
            self._head.learn(newest)
            return newest
        return position

    async def authorize(self, items: Items, subject: Any = None, after: str | None = None) -> str:
        """Return a token for a subscription to ``items``, ``{"dealer": name, "query": any}`` each.

        ``subject`` is whose it is, any JSON value; ``after`` is where it begins: see `head`.
        """
        await self.deliver_lost()
        params = given(items=items, subject=subject, after=after)
        try:
            token: str = await self._call("authorizeSubscription", **params)
        except SnorkyError as error:
            if str(error) != NOT_THIS_LOG:
                raise
            # Not with a new place: what was revoked since permission was checked would be lost.
            self._head.forget()
            raise NoAnswerError("Snorky was started anew: ask again") from error
        return token

    async def publish(
        self, deltas: Iterable[Mapping[str, Any]], key: str | None = None
    ) -> str | None:
        """Publish the changes of one transaction, in order, and return their position in the log.

        Raises what `SnorkyBackend.call` raises, after having remembered the models.
        """
        return await self.publish_changes(
            [Change.of(delta, self.snorky.json.dumps) for delta in deltas], key
        )

    async def publish_changes(
        self, changes: Sequence[Change], key: str | None = None
    ) -> str | None:
        """The same for rows that are encoded already."""
        losses = self.lost.now()
        try:
            text = entry_text([*map(Change, losses), *changes])
            position = await self._publish(text, key or new_key())
        except BaseException:
            self.lost.remember(models_of(changes))
            raise
        self.lost.forget(losses)
        self._head.learn(position)
        return position

    async def publish_in_turn(
        self, changes: Sequence[Change], key: str, in_turn: bool
    ) -> str | None:
        """The same where the turn was taken; False: it could not be, so nothing is told in order.

        Then the models are remembered, and RuntimeError is raised.
        """
        if in_turn:
            return await self.publish_changes(changes, key)
        self.lost.remember(models_of(changes))
        raise RuntimeError(f"others took longer than {self.turn.patience:g} s to publish")

    async def deliver_lost(self) -> None:
        """Tell those to fetch anew who may have missed something, if there are any."""
        if self.lost:
            await self.publish_changes([])

    async def revoke(
        self,
        *,
        subject: Any = None,
        items: Items | None = None,
        models: Iterable[str] | None = None,
    ) -> Any:
        """End the subscriptions that match all that is given: at least one is needed."""
        return await self._call("revokeSubscriptions", **selection(subject, items, models))

    async def refresh(
        self,
        *,
        subject: Any = None,
        items: Items | None = None,
        models: Iterable[str] | None = None,
    ) -> Any:
        """Let the pages of these subscriptions fetch again, while the subscriptions go on."""
        return await self._call("refreshSubscriptions", **selection(subject, items, models))

    async def reset(self, *models: str) -> None:
        """Say that something changed in these models that cannot be told: pages fetch anew."""
        await self.publish({"type": "reset", "model": model} for model in models)

    async def subscriptions(self) -> Any:
        """Return counts of the subscriptions, for operators."""
        return await self._call("listSubscriptions")

    async def _call(self, command: str, **params: Any) -> Any:
        return await self.snorky.call(self.service, command, **params)

    async def _publish(self, deltas: str, key: str) -> str | None:
        params = publication_params(deltas, key)
        for attempt in count():
            try:
                position: str | None = await self.snorky.call_encoded(
                    self.service, "publishDeltas", params
                )
                return position
            except NoAnswerError as error:
                pause = pause_after(error, attempt)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("it counts for ever")
