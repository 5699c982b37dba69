"""Opening: a token becomes a subscription, at one position with all others of the call.

Nothing is told between the answer and what it says: the items of a page are registered in the same
turn of the loop, on the line of the log.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Collection, Iterator
from math import ceil
from time import monotonic, time
from typing import Any

from snorky.brokers.log import BrokerUnavailable, Position, PositionLost
from snorky.client import Peer
from snorky.limits import Limits
from snorky.metrics import metrics
from snorky.services.base import Request, RPCError
from snorky.services.datasync.acquisitions import Acquisitions
from snorky.services.datasync.asking import Asking, ToldAt, Wanted
from snorky.services.datasync.catching_up import CatchingUp, TooMuch
from snorky.services.datasync.dealing import Dealing, Refused
from snorky.services.datasync.directory import Directory
from snorky.services.datasync.items import Item
from snorky.services.datasync.log import ChangeLog
from snorky.services.datasync.notices import Renewals
from snorky.services.datasync.pages import Opened, Pages, spread_ms
from snorky.services.datasync.passes import Passes
from snorky.services.datasync.selection import Selections, subject_text
from snorky.services.datasync.slow_lists import SlowLists
from snorky.services.datasync.tokens import RESUME, BadToken, Token, TokenItems, Tokens
from snorky.topics import awaited, forget

MAX_ANSWER_BYTES = 1024 * 1024
"""Changes told for one subscription, as JSON; past it the page fetches: ``too-much``."""

MAX_ANSWERS_BYTES = 4 * MAX_ANSWER_BYTES
"""The same for all of a call."""

SECONDS_TO_REACH = 5.0
"""How long an opening waits for this process to reach its position: then ``behind``."""

SECONDS_BETWEEN_ATTEMPTS = 0.25
"""How often an engine that is away is asked again where its log is."""


class Openings:
    """Opens what tokens allow, and keeps what is to be known of those that come back."""

    def __init__(
        self,
        changes: ChangeLog,
        directory: Directory,
        pages: Pages,
        passes: Passes,
        classic: Acquisitions,
        tokens: Tokens,
        resume_ttl: float,
    ) -> None:
        self.limits = Limits()
        self.revocations = Selections()
        self.refreshes = Selections()
        self.renewals = Renewals(changes, pages, self.resume_token, resume_ttl)
        self._changes = changes
        self._dealing = Dealing(directory, pages)
        self._pages = pages
        self._passes = passes
        self._classic = classic
        self._tokens = tokens
        self._resume_ttl = resume_ttl
        self._asking: deque[Asking] = deque()
        self._calls: dict[Any, int] = {}
        self._slow = SlowLists()
        self._catching_up = CatchingUp()
        self._tasks: set[asyncio.Task[None]] = set()

    # Calls

    def open(self, request: Request, subscriptions: list[Any]) -> None:
        """Open what the tokens allow. The request is answered when it is done."""
        calls = self._calls.get(request.client, 0)
        if calls >= self.limits.max_pending_calls:
            raise RPCError("Too many pending calls")
        self._calls[request.client] = calls + 1
        asking = Asking(request, [Wanted(each) for each in subscriptions])
        waits = [work for each in asking.wanted if (work := self._read(each)) is not None]
        newest = self._newest(asking)
        if inspect.isawaitable(newest):
            waits.append(self._learn(asking, newest))
        if waits or self._ahead(asking) > self._changes.processed.seq:
            self._start(self._ready(asking, waits))
        else:
            self._put(asking)

    def close(self, client: Peer, ids: Collection[Any]) -> Iterator[None]:
        """End subscriptions of a client; ids that are not its own are ignored."""
        page = self._pages.by_client.get(client)
        if page is not None:
            closed = {each for each in ids if type(each) is int}
            for opened in [each for each in page.opened if each.id in closed]:
                self._pages.end(opened)
            self._pages.arrange(page)
        yield

    def left(self, client: Peer, *, slow: bool) -> None:
        """A client has gone; ``slow``: it was closed because it did not read."""
        for opened in self._pages.left(client):
            if slow:
                self._slow.add(opened.origin)

    def resume_token(self, opened: Opened) -> str:
        """A token for the subscription from here on."""
        return self._resume_token(opened, items_as_in_tokens(opened.items))

    def _resume_token(self, opened: Opened, items: TokenItems) -> str:
        expires = ceil(time() + self._resume_ttl)
        token = Token(
            RESUME,
            opened.origin,
            self._changes.processed,
            min(expires, opened.recheck),
            opened.recheck,
            opened.subject,
            items,
        )
        most = self.limits.max_unacquired_tokens
        text, work = self._tokens.make(token, most, self._resume_ttl)
        if work is not None:
            forget(work)  # a token that is kept nowhere opens nothing: its page fetches then
        return text

    # What is asked for, before it is its turn

    def _read(self, wanted: Wanted) -> Any:
        """Read a token; returns what must be waited for, or None."""
        try:
            token = self._tokens.read(wanted.text)
        except BadToken as error:
            ours = error.epoch is None or error.epoch == self._changes.log.head.epoch
            wanted.reason = "invalid" if ours else "epoch"
            return None
        wanted.token = token
        try:
            wanted.since = token.start if wanted.since is None else Position.parse(wanted.since)
        except ValueError:
            wanted.reason = "invalid"
            return None
        if token.items is not None:
            return None
        try:
            fetched = self._tokens.fetch(token)
        except BadToken:
            wanted.reason = "invalid" if self._is_ours(wanted) else "epoch"
            return None
        if inspect.isawaitable(fetched):
            return self._fetch(wanted, fetched)
        wanted.token = fetched
        return None

    async def _fetch(self, wanted: Wanted, fetched: Any) -> None:
        try:
            wanted.token = await fetched
        except BadToken:
            wanted.reason = "invalid" if self._is_ours(wanted) else "epoch"
        except BrokerUnavailable:
            wanted.reason = "behind"

    def _is_ours(self, wanted: Wanted) -> bool:
        epoch = self._changes.log.head.epoch
        assert wanted.token is not None
        return wanted.token.start.epoch == epoch and wanted.since.epoch == epoch

    def _ahead(self, asking: Asking) -> int:
        """The newest entry that the call must be answered at, or later."""
        epoch, ahead = self._changes.log.head.epoch, 0
        for each in asking.wanted:
            if each.reason is None and each.token is not None:
                start, since = each.token.start, each.since
                if start.epoch == epoch == since.epoch:
                    ahead = max(ahead, since.seq, start.seq, each.reach)
        return ahead

    def _newest(self, asking: Asking) -> Position | Awaitable[Position] | None:
        """Where the log is, if a page shows more than what it heard: what it fetched is older than
        its call, but may be newer than what this process has."""
        for each in asking.wanted:
            if not each.live:
                return self._changes.log.newest()
        return None

    async def _learn(self, asking: Asking, newest: Awaitable[Position]) -> None:
        """Let fetched lists wait for the newest entry; where nobody knows it, refuse them."""
        ends = monotonic() + SECONDS_TO_REACH
        position: Position | None = None
        while position is None:
            try:
                position = await newest
            except BrokerUnavailable:
                if monotonic() > ends:
                    break
                await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)
                newest = awaited(self._changes.log.newest())
        for each in asking.wanted:
            if each.live:
                continue
            if position is None:
                each.reason = each.reason or "behind"
            elif position.epoch == self._changes.log.head.epoch:
                each.reach = position.seq

    async def _ready(self, asking: Asking, waits: list[Any]) -> None:
        for work in waits:
            await work
        try:
            async with asyncio.timeout(SECONDS_TO_REACH):
                await self._changes.reach(self._ahead(asking))
        except TimeoutError:
            pass
        self._put(asking)

    def _put(self, asking: Asking) -> None:
        self._asking.append(asking)
        self._changes.line.do(self._open_all())

    # On the line

    def _open_all(self) -> Iterator[None]:
        """Open what is asked for by now: items that are new here share one scan of the log."""
        batch = list(self._asking)
        self._asking.clear()
        scanned_from: Position | None = None
        new: dict[Item, None] = {}
        for asking in batch:
            for wanted in self._last_of_each(asking):
                since = self._check(asking, wanted)
                yield
                if since is None:
                    continue
                for item in wanted.items:
                    if item.known_from > since.seq:
                        new[item] = None
                        if scanned_from is None or since.seq < scanned_from.seq:
                            scanned_from = since
        if scanned_from is not None:
            yield from self._changes.scan(scanned_from, new)
        for asking in batch:
            self._answer(asking)
            yield

    def _last_of_each(self, asking: Asking) -> Collection[Wanted]:
        """Refuse all but the last of those with the same token; returns what is left."""
        last: dict[str, Wanted] = {}
        for wanted in asking.wanted:
            if wanted.reason is None and wanted.token is not None:
                before = last.pop(wanted.token.origin, None)
                if before is not None:
                    before.reason = "replaced"
                last[wanted.token.origin] = wanted
        return last.values()

    def _check(self, asking: Asking, wanted: Wanted) -> Position | None:
        """Find its items, and where it goes on from; None where it is refused, with a reason."""
        try:
            since = self._since(asking, wanted)
            self._check_token(asking, wanted)
            return since
        except Refused as refusal:
            wanted.reason = refusal.reason
            return None

    def _since(self, asking: Asking, wanted: Wanted) -> Position:
        since: Position = wanted.since
        log = self._changes.log
        if not self._is_ours(wanted):
            raise Refused("epoch")
        assert wanted.token is not None
        reach = max(since.seq, wanted.token.start.seq, wanted.reach)
        if reach > self._changes.processed.seq:
            raise Refused("behind")
        if since.seq < log.first.seq:
            raise Refused("trimmed")
        if since is not asking.holds:
            try:
                log.read(since, limit=0)
            except PositionLost:
                raise Refused("trimmed" if since.seq < log.first.seq else "epoch") from None
            asking.holds = since
        return since

    def may_have(self, token: Token, client: Peer) -> bool:
        """Whether a token is the client's, and was not revoked."""
        assert token.items is not None
        try:
            subject = self._check_subject(token, client)
            dealt = self._dealing.deal(token.items)
        except Refused:
            return False
        return not self.revocations.match_after(token.start.seq, dealt.described(subject))

    def _check_subject(self, token: Token, client: Peer) -> str | None:
        subject = subject_text(token.subject)
        identity = getattr(client, "identity", None)
        if subject is not None and identity is not None and subject != subject_text(identity):
            raise Refused("subject")
        return subject

    def _check_token(self, asking: Asking, wanted: Wanted) -> None:
        token = wanted.token
        assert token is not None
        assert token.items is not None
        now = time()
        if token.expires <= now or token.recheck <= now:
            raise Refused("expired")
        if token.subject is not None:
            wanted.subject = self._check_subject(token, asking.request.client)
        wanted.dealt = dealt = self._dealing.deal(token.items)
        start = token.start.seq
        if self.revocations.newest > start and self.revocations.match_after(
            start, wanted.described
        ):
            raise Refused("revoked")
        wanted.items = self._dealing.items(dealt)
        since, resets = wanted.since.seq, self._changes.resets
        if resets.newest > since and resets.after(since, wanted.items):
            raise Refused("reset")
        if self._slow.must_fetch(token.origin):
            raise Refused("slow")

    # The answer

    def _answer(self, asking: Asking) -> None:
        client = asking.request.client
        self._call_ended(client)
        if not getattr(client, "connected", True):
            return
        log = self._changes.log
        told_at = ToldAt(
            str(self._changes.processed), log.head.epoch, log.first.seq, log.halfway, time()
        )
        answers: list[dict[str, Any]] = []
        begun: list[tuple[Opened, dict[str, Any]]] = []
        was_live: set[Opened] = set()
        told = 0
        for wanted in asking.wanted:
            try:
                if wanted.reason is not None:
                    raise Refused(wanted.reason)
                opened, answer, size = self._open(client, wanted, told_at, MAX_ANSWERS_BYTES - told)
                told += size
                begun.append((opened, answer))
                if wanted.live:
                    was_live.add(opened)
            except Refused as refusal:
                answer = {"recovered": False, "reason": refusal.reason, "after_ms": 0}
                metrics.count_resumes(refusal.reason)
            answers.append(answer)
        metrics.count_resumes("recovered", len(begun))
        self._pages.arrange(self._pages.page_of(client))
        self._passes.begin([opened for opened, _ in begun], was_live)
        for opened, answer in begun:
            answer["live"] = opened.live
        asking.request.reply(answers)

    def _open(
        self, client: Peer, wanted: Wanted, told_at: ToldAt, most: int
    ) -> tuple[Opened, dict[str, Any], int]:
        token, since, items = wanted.token, wanted.since, wanted.items
        assert token is not None
        assert token.items is not None
        seq, resets = since.seq, self._changes.resets
        # Others may have been scanned meanwhile, in turns.
        if not token.start.epoch == told_at.epoch == since.epoch:
            raise Refused("epoch")
        if seq < told_at.first:
            raise Refused("trimmed")
        if resets.newest > seq and resets.after(seq, items):
            raise Refused("reset")
        try:
            changes, size = self._catching_up.since(items, seq, min(most, MAX_ANSWER_BYTES))
        except TooMuch:
            raise Refused("too-much") from None
        before = self._pages.by_origin.get(token.origin)
        if before is not None:
            for _ in self._pages.end_all([before], "replaced"):
                pass
        page = self._pages.page_of(client)  # a new one where it had nothing else open
        if len(page.opened) >= self.limits.max_subscriptions:
            raise Refused("too-many")
        self._classic.give_up(token.origin)
        opened = self._pages.open(page, token, items)
        made, text = self._token_for(opened, token, told_at)
        answer: dict[str, Any] = {
            "recovered": True,
            "subscription": opened.id,
            "items": [item.id for item in items],
            "position": told_at.position,
            "token": text,
            "live": False,
        }
        shared = True
        for item in items:
            if item.touched > seq:
                answer["stale"] = True
            if item.subscriptions == 1:
                shared = False
        if shared:
            self._tokens.remember(token.items)
        if self.refreshes.newest > seq and self.refreshes.match_after(seq, wanted.described):
            answer["refresh"] = spread_ms(len(self._pages.by_origin))
        answer["changes"] = changes
        self.renewals.add(opened, made)
        return opened, answer, size

    def _token_for(self, opened: Opened, token: Token, told_at: ToldAt) -> tuple[float, str]:
        """The next token of what ``token`` opened, and when it was made, in seconds since 1970.

        That is ``token`` itself while marks would not renew it, and what it says of the log is of
        use. What matters of its start, revocations, was looked at.
        """
        now, ttl = told_at.now, self._resume_ttl
        assert token.items is not None
        if (
            token.text is not None
            and token.kind == RESUME
            and token.expires - now >= ttl / 2
            and token.start.seq >= told_at.halfway
        ):
            return min(now, token.expires - ttl), token.text
        return now, self._resume_token(opened, token.items)

    def _call_ended(self, client: Peer) -> None:
        left = self._calls[client] - 1
        if left:
            self._calls[client] = left
        else:
            del self._calls[client]

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def items_as_in_tokens(items: Collection[Item]) -> TokenItems:
    text = b"[" + b",".join([item.text for item in items]) + b"]"
    return TokenItems([(item.dealer_name, item.query) for item in items], text)
