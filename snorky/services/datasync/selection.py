"""Which subscriptions a revocation or a refresh means, and which of them came after a position."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from snorky.brokers.log import Position
from snorky.wire import canonical


class Described(NamedTuple):
    """A subscription, as it is selected: each part as text that is equal for equals."""

    subject: str | None
    items: frozenset[tuple[str, str]]
    """Dealer and query of each item."""
    models: frozenset[str]


class Selection(NamedTuple):
    """All that match every part that is not None; of items and of models any one is enough."""

    subject: str | None
    items: frozenset[tuple[str, str]] | None
    models: frozenset[str] | None

    def matches(self, described: Described) -> bool:
        return (
            (self.subject is None or self.subject == described.subject)
            and (self.items is None or not self.items.isdisjoint(described.items))
            and (self.models is None or not self.models.isdisjoint(described.models))
        )

    def for_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if self.subject is not None:
            data["subject"] = self.subject
        if self.items is not None:
            data["items"] = sorted(map(list, self.items))
        if self.models is not None:
            data["models"] = sorted(self.models)
        return data

    @classmethod
    def from_json(cls, data: Any) -> Selection:
        items, models = data.get("items"), data.get("models")
        return cls(
            data.get("subject"),
            None if items is None else frozenset((name, key) for name, key in items),
            None if models is None else frozenset(models),
        )


def subject_text(subject: Any) -> str | None:
    """Equal for subjects that are the same JSON; None for none, and for what is no JSON."""
    if subject is None:
        return None
    try:
        return canonical(subject)
    except (TypeError, ValueError):
        return None


class Selections:
    """Selections by position, found by what a subscription is, whatever their number."""

    def __init__(self) -> None:
        self._by_handle: dict[Any, dict[int, Selection]] = {}
        self._by_seq: dict[int, Selection] = {}
        self.newest = 0
        """None is later than this: for most who come back that is all there is to ask."""

    def __len__(self) -> int:
        return len(self._by_seq)

    def clear(self) -> None:
        self._by_handle.clear()
        self._by_seq.clear()
        self.newest = 0

    def add(self, position: Position, selection: Selection) -> None:
        seq = position.seq
        self._by_seq[seq] = selection
        self.newest = max(seq, self.newest)
        for handle in _handles(selection.subject, selection.items, selection.models):
            positions = self._by_handle.setdefault(handle, {})
            newest = next(reversed(positions), 0)
            positions[seq] = selection
            if newest > seq:  # it was kept beside the log, and read after newer ones had come
                self._by_handle[handle] = dict(sorted(positions.items()))
            if selection.subject is not None:
                break  # found by its subject alone

    def match_after(self, seq: int, described: Described) -> bool:
        """Whether one of them, at a later position, means the subscription."""
        for handle in _handles(*described):
            for position, selection in reversed(self._by_handle.get(handle, {}).items()):
                if position <= seq:
                    break
                if selection.matches(described):
                    return True
        return False

    def forget(self, seq: int) -> None:
        """Forget the one at a position."""
        selection = self._by_seq.pop(seq, None)
        if selection is None:
            return
        for handle in _handles(selection.subject, selection.items, selection.models):
            positions = self._by_handle.get(handle, {})
            positions.pop(seq, None)
            if not positions:
                self._by_handle.pop(handle, None)


def _handles(
    subject: str | None,
    items: Collection[tuple[str, str]] | None,
    models: Collection[str] | None,
) -> Iterator[Any]:
    if subject is not None:
        yield ("subject", subject)
    yield from items or ()
    for model in models or ():
        yield ("model", model, None)
