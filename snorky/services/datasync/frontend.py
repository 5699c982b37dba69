"""DataSync as browsers see it: they open what the web application has authorised.

Commands alone: what happens to the data is the business of ``log.py``, what pages may see that of
``openings.py``. The web application speaks to ``backend.py``.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Awaitable, Iterable, Iterator
from time import time
from typing import Any

from snorky import close_codes
from snorky.brokers import Broker, Retention
from snorky.brokers.memory import MemoryBroker
from snorky.client import Peer
from snorky.deltas import Delta
from snorky.limits import DEFAULT_LIMITS, Limits
from snorky.metrics import LogFigures, metrics
from snorky.services.base import Request, RPCError, RPCService, rpc_asynchronous, rpc_command
from snorky.services.datasync.acquisitions import Acquisitions
from snorky.services.datasync.dealers import Dealer, RefetchDealer
from snorky.services.datasync.directory import AnyDealer, Directory
from snorky.services.datasync.log import MAX_ENTRY_BYTES, MAX_KEY_LENGTH, ChangeLog
from snorky.services.datasync.openings import Openings
from snorky.services.datasync.pages import Pages
from snorky.services.datasync.passes import Passes, Relay
from snorky.services.datasync.subscription import Subscription, SubscriptionItem
from snorky.services.datasync.tokens import FIRST, BadToken, Token, Tokens, signing_keys
from snorky.services.datasync.upkeep import Upkeep

MAX_AWAITED_KEYS = 100
"""Keys in one call of ``awaitKeys``."""

MAX_AWAIT_SECONDS = 50.0
"""How long such a call may wait; a longer timeout is cut."""


class DataSyncService(RPCService):
    """Keeps views in browsers equal to queries on the application's data.

    ``dealers`` are Dealer classes or instances, see ``register_dealer``. Times are in seconds.

    - ``relay``: which relays there are. None: none; changes come by ``publishDeltas``. True: one,
      its source is ``main``. A mapping: the models of each source;
    - ``lease``: without a sign of life for so long a relay has gone, and its lists are late;
    - ``log_bytes``, ``log_seconds``: how much of the log is kept for those who come back;
    - ``resume_ttl``: how long after a drop a page may come back;
    - ``recheck``: how often, at least, the web application is asked again what a page may see;
    - ``item_ttl``: how long what nobody holds is still matched, for those who come back;
    - ``max_lag``: behind the head of the log by more than that, this process's lists are late;
    - ``token_key``: what tokens are signed with, a text, or a list of them: the first signs, any
      opens. Processes that share a broker need the same. None: `snorky serve` derives it from the
      back end's keys; else one is made, for as long as the process lives.
    """

    secret_params = frozenset({"token", "subscriptions"})

    def __init__(
        self,
        name: str,
        dealers: Iterable[type[Dealer] | Dealer] = (),
        *,
        broker: Broker | None = None,
        relay: Relay = None,
        lease: float = 10.0,
        log_bytes: int = 64 * 1024 * 1024,
        log_seconds: float = 3600.0,
        resume_ttl: float = 3600.0,
        recheck: float = 12 * 3600.0,
        item_ttl: float = 120.0,
        max_lag: float = 10.0,
        token_key: str | bytes | Iterable[str | bytes] | None = None,
    ) -> None:
        super().__init__(name)
        self.log_bytes = log_bytes
        self.resume_ttl = resume_ttl
        self.recheck = recheck
        self.max_lag = max_lag
        self.has_token_key = token_key is not None
        self.has_own_broker = broker is not None
        self.directory = Directory()
        self._log_seconds = log_seconds
        self._item_ttl = item_ttl
        self._relay = relay
        self._lease = lease
        self._token_keys = [secrets.token_bytes(32)]
        self.use_broker(broker or MemoryBroker())
        if token_key is not None:
            self.sign_with([token_key] if isinstance(token_key, (str, bytes)) else token_key)
        for dealer in dealers:
            self.register_dealer(dealer)
        metrics.watch_log(name, self, DataSyncService._figures)

    def use_broker(self, broker: Broker) -> None:
        """Use another broker, before anything is authorised, opened or published."""
        self.broker = broker
        retention = Retention(
            bytes=self.log_bytes, seconds=self._log_seconds, entry_bytes=MAX_ENTRY_BYTES
        )
        log = broker.log(f"datasync:{self.name}", retention)
        self.changes = ChangeLog(self.name, log, self.directory)
        self.pages = Pages(self.changes, self.directory, self)
        self.passes = Passes(self._relay, self._lease, self.max_lag, self.changes, self.pages)
        self.tokens = Tokens(self.name, broker, self._token_keys)
        self.classic = Acquisitions(self.name, self.changes, self.directory, self.tokens)
        self.openings = Openings(
            self.changes,
            self.directory,
            self.pages,
            self.passes,
            self.classic,
            self.tokens,
            self.resume_ttl,
        )
        self.upkeep = Upkeep(
            self.changes,
            self.pages,
            self.passes,
            self.classic,
            self.openings,
            resume_ttl=self.resume_ttl,
            item_ttl=self._item_ttl,
            shortest=min(self._lease, self.max_lag),
        )
        self.limits = self._limits

    @property
    def lag(self) -> float:
        """Seconds by which this process is behind the head of the log."""
        return self.passes.lag

    async def start(self) -> None:
        """Read what the broker's log keeps, and follow it. The embedded one needs no start."""
        await self.upkeep.start()

    async def stop(self) -> None:
        await self.upkeep.stop()

    @property
    def dealers(self) -> dict[str, Dealer]:
        """The dealers by name; "refetch", which every service has, is not among them."""
        return self.directory.by_name

    @property
    def limits(self) -> Limits:
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = self.classic.limits = self.openings.limits = limits

    _limits = DEFAULT_LIMITS

    def sign_with(self, token_keys: Iterable[str | bytes]) -> None:
        """Sign tokens with the first of these from now on; those signed with any of them open."""
        keys = signing_keys(token_keys)
        if not keys:
            raise ValueError("expected at least one key for tokens")
        self._token_keys = keys
        self.tokens.sign_with(keys)

    # Dealers

    def register_dealer(self, dealer: type[AnyDealer] | AnyDealer) -> AnyDealer:
        """Make a dealer (an instance, or a class to make one of) known by its name.

        Returns the instance. Raises RuntimeError where the name is taken, or where the model has
        a dealer with another key. Several dealers may share a model.
        """
        return self.directory.register(dealer)

    def unregister_dealer(self, dealer: Dealer) -> None:
        """Authorise nothing more with this dealer, and tell it of no more deltas.

        Its items are still removed from it when their subscriptions end; pages of the new wire
        fetch again. Raises RuntimeError where it is not registered.
        """
        self.directory.unregister(dealer)
        self.upkeep.dealer_left(dealer.name)

    # Clients

    @rpc_command
    @rpc_asynchronous
    def openSubscriptions(self, req: Request, subscriptions: list[Any]) -> None:
        """Open tokens, each an object with ``token`` and, after a drop, ``since`` and ``live``.

        Answers a list in the same order, all at the same position.
        """
        self.upkeep.go_on()
        self.openings.open(req, subscriptions)

    @rpc_command
    def closeSubscriptions(self, req: Request, subscriptions: list[Any]) -> Awaitable[None] | None:
        """End subscriptions by their ids. Nothing of theirs follows the answer."""
        return self.changes.line.do(self.openings.close(req.client, subscriptions))

    @rpc_command
    async def awaitKeys(
        self,
        req: Request,
        keys: list[str],
        timeout: float = 10,  # noqa: ASYNC109
    ) -> str:
        """Wait until all transactions with these keys were told; answers the newest position."""
        if not 0 < len(keys) <= MAX_AWAITED_KEYS or any(len(key) > MAX_KEY_LENGTH for key in keys):
            raise RPCError(f"expected 1 to {MAX_AWAITED_KEYS} keys")
        seconds = min(max(timeout, 0.0), MAX_AWAIT_SECONDS)
        position = await self.changes.keys.wait(keys, seconds)
        if position is None:
            raise RPCError("Unknown keys")
        return str(position)

    @rpc_command
    def acquireSubscription(self, req: Request, token: Any) -> Awaitable[None] | None:
        """Deliver what was kept for the token, then every delta that follows."""
        if not isinstance(token, str):
            raise RPCError("token must be string")
        if self.classic.is_acquired(token):
            raise RPCError("No such subscription")
        whole = self._read_first(token)
        if not getattr(req.client, "connected", True):
            return None  # it left while an override of this command was deciding
        self.classic.check_room(req.client)
        if inspect.isawaitable(whole):
            return self._acquire_later(token, whole, req)
        claimed = self.tokens.claim(whole)
        if inspect.isawaitable(claimed):
            return self._acquire_later(token, whole, req, claimed)
        if not claimed:
            raise RPCError("No such subscription")
        return self._acquire(token, whole, req)

    @rpc_command
    def cancelSubscription(self, req: Request, token: Any) -> None:
        """End a subscription of this client's that it acquired by ``token``."""
        if not isinstance(token, str):
            raise RPCError("token must be string")
        subscription = self.classic.find(token)
        if subscription is None or subscription not in self.classic.of(req.client):
            raise RPCError("No such subscription")
        self.end_subscription(subscription)

    def client_disconnected(self, client: Peer) -> None:
        for subscription in self.classic.of(client):
            self.end_subscription(subscription)
        self.openings.left(client, slow=_was_slow(client))

    # Classic tokens

    def _read_first(self, text: str) -> Token | Awaitable[Token]:
        try:
            token = self.tokens.read(text)
            if token.kind != FIRST:
                raise BadToken
            return self.tokens.fetch(token)
        except BadToken:
            raise RPCError("No such subscription") from None

    async def _acquire_later(
        self,
        text: str,
        token: Token | Awaitable[Token],
        req: Request,
        claimed: Awaitable[bool] | None = None,
    ) -> None:
        """The same with a broker that is asked over a network."""
        try:
            whole = await token if inspect.isawaitable(token) else token
        except BadToken:
            raise RPCError("No such subscription") from None
        claim = claimed or self.tokens.claim(whole)
        if not (await claim if inspect.isawaitable(claim) else claim):
            raise RPCError("No such subscription")
        waiting = self._acquire(text, whole, req)
        if waiting is not None:
            await waiting

    def _acquire(self, text: str, token: Token, req: Request) -> Awaitable[None] | None:
        """Acquire a token that nobody has before. Raises RPCError, or what is awaited does."""
        refusals: list[RPCError] = []
        waiting = self.changes.line.do(self._acquiring(text, token, req, refusals))
        if waiting is not None:
            return _when_done(waiting, refusals)
        if refusals:
            raise refusals[0]
        return None

    def _acquiring(
        self, text: str, token: Token, req: Request, refusals: list[RPCError]
    ) -> Iterator[None]:
        try:
            kept = self.classic.find(text)
            if not self._is_good(token, req.client, kept=kept is not None):
                raise RPCError("No such subscription")
            if kept is not None:
                self.classic.acquire(kept, req.client)
                return
            assert token.items is not None
            items = [SubscriptionItem(name, query) for name, query in token.items]
            subscription = Subscription(items, self, text)
            subscription.subject = token.subject
            yield from self.classic.catch_up(subscription, token.origin, token.start, req.client)
        except RPCError as refusal:
            refusals.append(refusal)

    def _is_good(self, token: Token, client: Peer, *, kept: bool) -> bool:
        assert token.items is not None
        dealers = [self.directory.get(name) for name, _ in token.items]
        return (
            not any(isinstance(dealer, RefetchDealer) for dealer in dealers)  # they tell no rows
            and (kept or token.expires > time())  # of those that are kept a timer decides
            and token.start.epoch == self.changes.log.head.epoch
            and token.origin not in self.pages.by_origin
            and self.openings.may_have(token, client)
        )

    # Subscriptions, as dealers of a user's own and the back end handle them

    def tell(self, subscription: Subscription, delta: Delta) -> None:
        """A dealer delivers a delta by itself: see ``Subscription.deliver_delta``."""
        self.classic.tell(subscription, delta)

    def end_subscription(self, subscription: Subscription) -> None:
        """Forget a classic subscription and its token. Ending it again does nothing."""
        self.classic.end(subscription)

    def publish_deltas(self, deltas: Iterable[Delta]) -> Any:
        """Tell the subscriptions that match. What is not done in this call is awaitable."""
        self.upkeep.go_on()
        return self.changes.publish(list(deltas))

    # Figures

    def _figures(self) -> LogFigures:
        log = self.changes.log
        log.trim()
        return LogFigures(
            head=log.head.seq,
            first=log.first.seq + 1,
            bytes=log.bytes_kept,
            lag=self.passes.lag,
            items=len(self.changes.items),
        )


async def _when_done(waiting: Awaitable[None], refusals: list[RPCError]) -> None:
    await waiting
    if refusals:
        raise refusals[0]


def _was_slow(client: Peer) -> bool:
    code = getattr(getattr(client, "connection", None), "close_code", None)
    return code == close_codes.SLOW_CLIENT.code
