"""Which pages are here, what each has opened, and which of them hear the same.

Knows no tokens and no passes: who opens, ends or becomes live is decided elsewhere.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count
from time import monotonic
from typing import Any

from snorky.client import Peer
from snorky.envelope import Envelope
from snorky.metrics import metrics
from snorky.services.datasync.dealers import Dealer
from snorky.services.datasync.directory import Directory, fields_shown, refetches
from snorky.services.datasync.items import Crowd, Item, ItemsOfPage
from snorky.services.datasync.log import ChangeLog
from snorky.services.datasync.selection import Described, subject_text
from snorky.services.datasync.tokens import Token

MS_PER_PAGE = 2
"""Of the time over which fetches are spread, for each page that has to."""

MAX_SPREAD_MS = 30_000

FEW_PAGES = 10
"""So many may fetch at once."""


def spread_ms(pages: int) -> int:
    """How long one of so many pages waits before it fetches."""
    if pages <= FEW_PAGES:
        return 0
    return random.randrange(min(pages * MS_PER_PAGE, MAX_SPREAD_MS))  # noqa: S311  # no secret


NO_SOURCES = frozenset[str]()
"""No sources: one object for all who wait for none."""


class Opened:
    """One subscription of a page."""

    __slots__ = (
        "id",
        "items",
        "live",
        "origin",
        "page",
        "recheck",
        "stale_due",
        "stale_sent",
        "subject",
        "waits",
    )

    def __init__(
        self,
        id: int,  # noqa: A002
        page: Page,
        token: Token,
        items: tuple[Item, ...],
    ) -> None:
        self.id = id
        self.page: Page | None = page
        """None once it has ended."""
        self.items = items
        # Of its token only what the next one says: there are many of these.
        self.origin = token.origin
        self.recheck = token.recheck
        self.subject = token.subject
        self.live = False
        self.waits = NO_SOURCES
        """The sources whose pass it waits for before it is live (again)."""
        self.stale_due: float | None = None
        self.stale_sent = 0.0

    @property
    def models(self) -> frozenset[str]:
        if len(self.items) == 1:
            return self.items[0].models
        return frozenset[str]().union(*[item.models for item in self.items])

    @property
    def described(self) -> Described:
        return Described(
            subject_text(self.subject),
            frozenset([(item.dealer_name, item.key) for item in self.items]),
            self.models,
        )

    @property
    def status(self) -> str:
        return "live" if self.live else "catching-up"


class Page:
    """One client that has opened something."""

    __slots__ = ("client", "crowd", "opened")

    def __init__(self, client: Peer) -> None:
        self.client = client
        self.opened: tuple[Opened, ...] = ()
        """Mostly few, so no table: each has to be small."""
        self.crowd: Crowd | None = None

    def items(self) -> ItemsOfPage:
        items = frozenset([item for each in self.opened for item in each.items])
        return items if len(items) != 1 else next(iter(items)).alone


class Pages:
    """The pages of one service, in this process."""

    def __init__(self, changes: ChangeLog, directory: Directory, service: Any) -> None:
        self._changes = changes
        self._directory = directory
        self._service = service
        self._ids = count(1)
        self._item_ids = count(1)
        self._crowds: dict[ItemsOfPage, Crowd] = {}
        self._idle: OrderedDict[Item, float] = OrderedDict()
        self.by_client: dict[Any, Page] = {}
        self.by_origin: dict[str, Opened] = {}

    @property
    def crowds(self) -> Iterable[Crowd]:
        return tuple(self._crowds.values())

    @property
    def opened(self) -> tuple[Opened, ...]:
        """All that is open."""
        return tuple(self.by_origin.values())

    # Items

    def item(self, dealer: Dealer, query: Any, key: str, models: frozenset[str]) -> Item:
        """The item of a query, made and matched from now on where it is new here.

        ``key`` and ``models`` are those of the query. Raises BadQuery, and what a user's dealer
        raises.
        """
        item = self._changes.items.get(dealer.name, key)
        if item is None:
            item = Item(
                next(self._item_ids),
                dealer,
                dealer.name,
                query,
                key,
                models,
                fields_shown(dealer),
                refetches=refetches(dealer),
                known_from=self._changes.processed.seq,
            )
            self._changes.matching.enter(dealer, item, query, self._service)
            item.alone = (item,)
            self._changes.items.add(item)
            self._idle[item] = monotonic()
        return item

    def forget_idle(self, seconds: float) -> Iterator[None]:
        """Match no longer what nobody has held for so long.

        On the line: what an opening has found must be there when it is its turn.
        """
        before = monotonic() - seconds
        while self._idle:
            item, since = next(iter(self._idle.items()))
            if since > before:
                return
            self.drop_item(item)
            yield

    def drop_item(self, item: Item) -> None:
        """Forget an item that nobody holds."""
        del self._idle[item]
        item.alone = item.notes = ()
        self._changes.items.remove(item)
        self._changes.matching.leave(item.dealer, item)

    # Opening and ending

    def page_of(self, client: Peer) -> Page:
        page = self.by_client.get(client)
        if page is None:
            page = self.by_client[client] = Page(client)
        return page

    def open(self, page: Page, token: Token, items: tuple[Item, ...]) -> Opened:
        """Open a subscription. ``arrange`` afterwards: until then the page hears nothing of it."""
        opened = Opened(next(self._ids), page, token, items)
        page.opened += (opened,)
        self.by_origin[token.origin] = opened
        metrics.subscriptions += 1
        for item in items:
            item.subscriptions += 1
            self._idle.pop(item, None)
            if item.holders is not None:
                item.holders[opened] = None
        return opened

    def end(self, opened: Opened) -> None:
        """Forget a subscription. ``arrange`` its page afterwards. Ending it again does nothing."""
        page = opened.page
        if page is not None:
            page.opened = tuple([each for each in page.opened if each is not opened])
            self._forget(opened)

    def _forget(self, opened: Opened) -> None:
        opened.page = None
        metrics.subscriptions -= 1
        if self.by_origin.get(opened.origin) is opened:
            del self.by_origin[opened.origin]
        for item in opened.items:
            item.subscriptions -= 1
            if item.holders is not None:
                item.holders.pop(opened, None)
            if not item.subscriptions:
                self._idle[item] = monotonic()

    def arrange(self, page: Page) -> None:
        """Let a page hear what its items say, from now on."""
        crowd = page.crowd
        items = page.items()
        if crowd is not None:
            if crowd.items == items:
                return
            crowd.remove(page.client)
            self._close_if_empty(crowd)
            page.crowd = None
        if not page.opened:
            self.by_client.pop(page.client, None)
            return
        crowd = self._crowds.get(items)
        if crowd is None:
            crowd = self._crowds[items] = Crowd(items, self._changes.processed.seq)
        crowd.add(page.client)
        page.crowd = crowd

    def _close_if_empty(self, crowd: Crowd) -> None:
        if not len(crowd):
            crowd.close()
            self._crowds.pop(crowd.items, None)

    def left(self, client: Peer) -> tuple[Opened, ...]:
        """A client has gone; returns what it had open."""
        page = self.by_client.get(client)
        if page is None:
            return ()
        opened, page.opened = page.opened, ()
        for each in opened:
            self._forget(each)
        self.arrange(page)
        return opened

    # Telling

    def tell(self, opened: Iterable[Opened], message: dict[str, Any]) -> Iterator[None]:
        """Send a message to each page with the ids of its subscriptions among those."""
        for page, those in by_page(opened).items():
            self.send(page, {**message, "subscriptions": ids_of(those)})
            yield

    def end_all(self, opened: Iterable[Opened], reason: str) -> Iterator[None]:
        """End subscriptions, telling their pages why."""
        pages = by_page(opened)
        for page, those in pages.items():
            ended = [each for each in those if each.page is page]
            if not ended:
                continue
            if len(ended) == len(page.opened):
                self.left(page.client)
            else:
                for each in ended:
                    self.end(each)
                self.arrange(page)
            self.send(
                page,
                {
                    "type": "resync",
                    "subscriptions": ids_of(ended),
                    "reason": reason,
                    "after_ms": spread_ms(len(pages)),
                },
            )
            yield

    def send(self, page: Page, message: dict[str, Any]) -> None:
        page.client.send(Envelope(self._changes.name, message))


def by_page(opened: Iterable[Opened]) -> dict[Page, list[Opened]]:
    pages: dict[Page, list[Opened]] = {}
    for each in opened:
        if each.page is not None:
            pages.setdefault(each.page, []).append(each)
    return pages


def ids_of(opened: Iterable[Opened]) -> list[int]:
    return [each.id for each in opened]
