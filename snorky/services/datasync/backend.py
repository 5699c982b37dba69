"""DataSync as the web application sees it: it authorises subscriptions and publishes deltas."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from time import time
from typing import Any, Protocol

from snorky.brokers import BrokerUnavailable, EntryTooLarge
from snorky.brokers.log import Position
from snorky.deltas import BadDelta, Delta, parse_delta
from snorky.services.base import Request, RPCError, rpc_command
from snorky.services.datasync.dealers import BadQuery, Dealer, RefetchDealer, SharingDealer
from snorky.services.datasync.directory import hears_of_items, models_of, query_key
from snorky.services.datasync.frontend import DataSyncService
from snorky.services.datasync.log import MAX_KEY_LENGTH
from snorky.services.datasync.relaying import RelayCommands
from snorky.services.datasync.selection import Selection, subject_text
from snorky.services.datasync.subscription import Subscription, SubscriptionItem
from snorky.services.datasync.tokens import FIRST, Token, TokenItems, new_origin

NOT_THIS_LOG = "after is a position of another log"
"""The log was begun anew since the connector asked for ``head``."""

RECHECK_SPREAD = 0.1
"""By how much of it ``recheck`` is shortened at random: not all pages ask on the same second."""


class Timeout(Protocol):
    def cancel(self) -> Any: ...


class TimeoutFactory(Protocol):
    """Whoever can call something later: asyncio's loop, Tornado's IOLoop, the clock of a test."""

    def call_later(self, delay: float, callback: Callable[..., Any], /, *args: Any) -> Timeout: ...


class RunningLoop:
    """The event loop of whoever asks."""

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Timeout:
        return asyncio.get_running_loop().call_later(delay, partial(callback, *args, **kwargs))


class DataSyncBackend(RelayCommands):
    """Lets trusted servers authorise subscriptions of ``frontend`` and publish deltas to them.

    A token that nobody acquires or opens within ``timeout_interval`` seconds dies. Where there is
    a ``timeout_factory`` it says when that is, and each token is kept until then.
    """

    def __init__(
        self,
        name: str,
        frontend: DataSyncService,
        timeout_interval: float = 120,
        timeout_factory: TimeoutFactory | None = None,
    ) -> None:
        super().__init__(name, frontend)
        self.timeout_interval = timeout_interval
        self.timeout_factory: TimeoutFactory = timeout_factory or RunningLoop()
        self._keeps_tokens = timeout_factory is not None

    # Tokens

    @rpc_command
    def authorizeSubscription(
        self, req: Request, items: list[Any], subject: Any = None, after: Any = None
    ) -> str | Awaitable[str]:
        """Answer with a token for ``items``, each an object with ``dealer`` and ``query``.

        Every change from now on, or from ``after`` on (a position of ``head``), reaches whoever
        acquires or opens it. ``subject``: whose it is, as ``client.identity`` would say.
        """
        service = self.frontend
        head = service.changes.log.head
        start = head if after is None else _position(after)
        if start.epoch != head.epoch:
            raise RPCError(NOT_THIS_LOG)  # no page could open it, and would ask again for nothing
        parsed = [_parse_item(item) for item in items]
        if len(parsed) > service.limits.max_subscription_items:
            raise RPCError("Too many items")
        dealers = [self._dealer(name) for name, _ in parsed]
        _check_kinds(dealers)
        token = self._token(parsed, start, subject)
        keeps = self._keeps_tokens or any(hears_of_items(dealer) for dealer in dealers)
        if not keeps:
            for dealer, (_, query) in zip(dealers, parsed, strict=True):
                _check_query(dealer, query)
        text, work = service.tokens.make(
            token, service.limits.max_unacquired_tokens, self.timeout_interval
        )
        if keeps:
            self._keep(text, token)
        return text if work is None else _after(work, text)

    def _token(self, items: list[tuple[str, Any]], start: Position, subject: Any) -> Token:
        recheck = self.frontend.recheck * (1 - RECHECK_SPREAD * random.random())  # noqa: S311
        now = time()
        return Token(
            kind=FIRST,
            origin=new_origin(),
            start=start,
            expires=ceil(now + self.timeout_interval),
            recheck=ceil(now + recheck),
            subject=subject,
            items=TokenItems(items),
        )

    def _keep(self, text: str, token: Token) -> None:
        """Let dealers of a user's own hear of the items, and keep what happens to them."""
        assert token.items is not None
        classic = self.frontend.classic
        items = [SubscriptionItem(name, query) for name, query in token.items]
        subscription = Subscription(items, self.frontend, text)
        subscription.subject = token.subject
        timeout = self.timeout_factory.call_later(
            self.timeout_interval, classic.expire, subscription
        )
        try:
            classic.hold(subscription, token.origin, timeout)
        except Exception:
            timeout.cancel()
            raise

    @rpc_command
    def head(self, req: Request) -> str:
        """The position of the newest entry: ``after`` for tokens asked for later."""
        return str(self.frontend.changes.log.head)

    # Changes

    @rpc_command
    def publishDeltas(self, req: Request, deltas: list[Any], key: Any = None) -> Any:
        """Publish what one transaction did, in the order of the list: all of it, or nothing.

        With ``key``, a random text of the caller's, it can be repeated, and answers the position.
        Answers when this process has handed it to its clients.
        """
        try:
            parsed = [parse_delta(delta) for delta in deltas]
        except BadDelta as error:
            raise RPCError(str(error)) from error
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_LENGTH):
            raise RPCError(f"key must be text of at most {MAX_KEY_LENGTH} characters")
        return _answer(self._publish(parsed, key), lambda at: None if key is None else str(at))

    def _publish(self, deltas: list[Delta], key: str | None) -> Any:
        self.frontend.upkeep.go_on()
        with _refusals():
            return self.frontend.changes.publish(deltas, key)

    @rpc_command
    def publish(self, req: Request, deltas: list[Any], key: Any = None) -> Any:
        """The same as ``publishDeltas``."""
        return self.publishDeltas(req, deltas, key)

    # Permissions that end

    @rpc_command
    def revokeSubscriptions(
        self, req: Request, subject: Any = None, items: Any = None, models: Any = None
    ) -> Any:
        """End every subscription that matches all arguments that are given.

        Of ``items`` and of ``models`` any one is enough. Nothing appended after the answer reaches
        them, and tokens given out before are refused.
        """
        selection = self._selection(subject, items, models)
        data = {"revoke": selection.for_json()}
        with _refusals():
            result = self.frontend.changes.append(data, keep=self.frontend.resume_ttl)
        return _answer(result, lambda position: None)

    @rpc_command
    def refreshSubscriptions(
        self, req: Request, subject: Any = None, items: Any = None, models: Any = None
    ) -> Any:
        """Let the pages of those subscriptions fetch again; they run on meanwhile."""
        selection = self._selection(subject, items, models)
        with _refusals():
            result = self.frontend.changes.append({"refresh": selection.for_json()})
        return _answer(result, lambda position: None)

    def _selection(self, subject: Any, items: Any, models: Any) -> Selection:
        if subject is None and items is None and models is None:
            raise RPCError("expected at least one of subject, items, models")
        chosen = names = None
        if items is not None:
            if not isinstance(items, list):
                raise RPCError("items must be list")
            chosen = frozenset(self._chosen(*_parse_item(item)) for item in items)
        if models is not None:
            if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
                raise RPCError("models must be list of strings")
            names = frozenset(models)
        return Selection(subject_text(subject), chosen, names)

    def _chosen(self, name: str, query: Any) -> tuple[str, str]:
        try:
            return name, query_key(self._dealer(name), query)
        except BadQuery as error:
            raise RPCError(str(error) or "Bad query") from error

    # For operators

    @rpc_command
    def listSubscriptions(self, req: Request) -> list[dict[str, Any]]:
        """How many items are subscribed to in this process, by dealer, model and status."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for opened in self.frontend.pages.opened:
            for item in opened.items:
                for model in item.models:
                    counts[item.dealer_name, model, opened.status] += 1
        for status, described in self.frontend.classic.described:
            for name, _ in described.items:
                dealer = self.frontend.directory.get(name)
                counts[name, "" if dealer is None else dealer.model, status] += 1
        return [
            {"dealer": dealer, "model": model, "status": status, "subscriptions": count}
            for (dealer, model, status), count in sorted(counts.items())
        ]

    def _dealer(self, name: str) -> Dealer:
        dealer = self.frontend.directory.get(name)
        if dealer is None:
            raise RPCError("No such dealer")
        return dealer


class _refusals:  # noqa: N801  # reads as a statement
    """Say as refusals what the log refuses."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None:
            _refuse(error)


def _refuse(error: BaseException) -> None:
    if isinstance(error, EntryTooLarge):
        raise RPCError("Entry too large") from error
    if isinstance(error, OverflowError):
        raise RPCError("Too many revocations") from error
    if isinstance(error, BrokerUnavailable):
        raise RPCError("The log is not available") from error


def _answer(result: Any, answer: Callable[[Any], Any]) -> Any:
    """What a command answers to a result that is there, or under way."""
    return _answer_later(result, answer) if inspect.isawaitable(result) else answer(result)


async def _answer_later(result: Awaitable[Any], answer: Callable[[Any], Any]) -> Any:
    with _refusals():
        return answer(await result)


async def _after(work: Awaitable[Any], text: str) -> str:
    await work
    return text


def _position(text: Any) -> Position:
    try:
        return Position.parse(text)
    except ValueError as error:
        raise RPCError("after must be a position, as head answers") from error


def _parse_item(item: Any) -> tuple[str, Any]:
    # What is not an object lacks every field.
    fields: dict[str, Any] = item if isinstance(item, dict) else {}
    for name in ("dealer", "query"):
        if name not in fields:
            raise RPCError(f"Missing field '{name}'")
    if not isinstance(fields["dealer"], str):
        raise RPCError("dealer should be a dealer name")
    return fields["dealer"], fields["query"]


def _check_kinds(dealers: list[Dealer]) -> None:
    if len({isinstance(dealer, RefetchDealer) for dealer in dealers}) > 1:
        raise RPCError("A subscription holds items of rows or items to refetch, not both")


def _check_query(dealer: Dealer, query: Any) -> None:
    try:
        if isinstance(dealer, SharingDealer):
            dealer.check(query)
        models_of(dealer, query)
    except BadQuery as error:
        raise RPCError(str(error) or "Bad query") from error
