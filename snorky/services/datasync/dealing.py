"""Who deals in the items of a token, and the items: found once for all tokens that say the same."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from snorky.log import snorky_log
from snorky.services.datasync.dealers import BadQuery, Dealer
from snorky.services.datasync.directory import Directory, models_of, query_key
from snorky.services.datasync.items import Item
from snorky.services.datasync.pages import Pages
from snorky.services.datasync.selection import Described
from snorky.services.datasync.tokens import TokenItems

_IS_MATCHED = attrgetter("alone")
"""Whether the notes of an item go on: it is empty once that was forgotten."""


class Refused(Exception):
    """An opening that is refused, with its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Dealt:
    """Who deals in the items of a token, while no dealer comes or goes."""

    __slots__ = ("_items", "_models", "each", "found", "version")

    def __init__(self, version: int, each: list[tuple[Dealer, Any, str, frozenset[str]]]) -> None:
        self.version = version
        self.each = each
        """Dealer, query, its key and its models."""
        self.found: tuple[Item, ...] = ()
        """The items, as long as they are matched."""
        self._items = frozenset([(dealer.name, key) for dealer, _, key, _ in each])
        self._models = frozenset[str]().union(*(models for _, _, _, models in each))

    def described(self, subject: str | None) -> Described:
        return Described(subject, self._items, self._models)


class Dealing:
    """Finds dealers and items. Both methods raise Refused."""

    def __init__(self, directory: Directory, pages: Pages) -> None:
        self._directory = directory
        self._pages = pages

    def deal(self, items: TokenItems) -> Dealt:
        """Who deals in these items."""
        dealt: Dealt | None = items.dealt
        if dealt is None or dealt.version != self._directory.version:
            dealt = items.dealt = self._find_dealers(items)
        return dealt

    def _find_dealers(self, items: TokenItems) -> Dealt:
        each = []
        for name, query in items:
            dealer = self._directory.get(name)
            if dealer is None:
                raise Refused("invalid")
            try:
                each.append((dealer, query, query_key(dealer, query), models_of(dealer, query)))
            except BadQuery:
                raise Refused("invalid") from None
        return Dealt(self._directory.version, each)

    def items(self, dealt: Dealt) -> tuple[Item, ...]:
        """The items, each once; those that are new are matched from now on."""
        found = dealt.found
        if found and all(map(_IS_MATCHED, found)):
            return found
        if len(dealt.each) == 1:
            items = self._item(*dealt.each[0]).alone
        else:
            items = tuple(dict.fromkeys([self._item(*each) for each in dealt.each]))
            if len({item.refetches for item in items}) > 1:
                raise Refused("invalid")
        dealt.found = items
        return items

    def _item(self, dealer: Dealer, query: Any, key: str, models: frozenset[str]) -> Item:
        try:
            return self._pages.item(dealer, query, key, models)
        except BadQuery:
            raise Refused("invalid") from None
        except Exception as error:
            snorky_log.exception('Dealer "%s" failed to add an item', dealer.name)
            raise Refused("invalid") from error
