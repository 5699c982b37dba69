"""An ordered log that every process reads alike: the contract that every engine keeps.

A log is one engine's: it numbers entries, remembers keys, gives out leases. Reading is each
process's own, from the window of newest entries that it keeps (``window.py``).
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from snorky.hashable import hashable
from snorky.wire import decode

KEYS_PER_SOURCE = 2000
"""Newest entries of a source whose keys a log remembers. Neither bound of the log forgets them."""

MAX_PLACE_BYTES = 1024
"""JSON of the place that a source may leave with its entries."""

MAX_KEPT_BESIDE = 100_000
"""Entries kept beside the log at a time."""

MAX_POSITION_LENGTH = 100
"""Characters of a position's text."""


class BrokerUnavailable(Exception):
    """The broker cannot be reached, or did not accept what it was given in time."""


class PositionLost(Exception):
    """The log does not hold what comes after this position (any more)."""


class LeaseHeld(Exception):
    """Another's lease on the source still runs."""


class EntryTooLarge(ValueError):
    """The JSON of an entry is larger than ``Retention.entry_bytes``: nothing was appended."""


class FenceOld(Exception):
    """The fence is not the newest that this log gave out for the source: nothing was changed."""


class Position(NamedTuple):
    """A place in a log: ``epoch`` names the log's life, ``seq`` counts its entries from 1.

    ``nonce`` is the entry's own: a log that lost its newest entries and counts them anew is
    recognised by it. The position before the first entry is ``(epoch, 0, "")``.

    As text, ``str(position)``, it is opaque to everybody else.
    """

    epoch: str
    seq: int
    nonce: str

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}.{self.nonce}"

    @classmethod
    def parse(cls, text: Any) -> Position:
        """The position of a text that ``str`` made. Raises ValueError for any other value."""
        if not isinstance(text, str) or len(text) > MAX_POSITION_LENGTH:
            raise ValueError("expected a position as a log gave it out")
        return _parsed(text)


@lru_cache(maxsize=2048)
def _parsed(text: str) -> Position:
    # Remembered: those who come back together say the same, for each of their lists.
    parts = text.split(".")
    if len(parts) != 3 or not (parts[0] and parts[1].isascii() and parts[1].isdigit()):
        raise ValueError("expected a position as a log gave it out")
    return Position(parts[0], int(parts[1]), parts[2])


class Entry:
    """One entry of a log: its ``position`` and its JSON ``text``.

    ``data`` is the value, hashable throughout. Whoever has it at hand gives it along; nobody
    keeps it: a log is bounded in bytes of text.
    """

    __slots__ = ("_data", "at", "position", "text")

    def __init__(self, position: Position, text: bytes, at: float, data: Any = None) -> None:
        self.position = position
        self.text = text
        self.at = at
        """Seconds since 1970, by the clock of the process that appended it."""
        self._data = data

    @property
    def data(self) -> Any:
        return hashable(decode(self.text)) if self._data is None else self._data

    def forget_data(self) -> None:
        """Keep the text alone: whoever asks for ``data`` reads it again."""
        self._data = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.position, self.data) == (
            other.position,
            other.data,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Entry({self.position}, {self.text[:80]!r})"


@dataclass(frozen=True, slots=True)
class Append:
    """An entry to be: ``data``, any JSON value, and the ``key`` that tells a repetition."""

    data: Any
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How much a log keeps; past any of them the oldest entries go. None: no bound of that kind.

    ``bytes`` counts the entries' JSON and what readers note beside them, ``seconds`` an entry's
    age, ``entries`` their number.
    """

    bytes: int = 64 * 1024 * 1024
    seconds: float = 3600.0
    entries: int | None = None
    entry_bytes: int | None = None
    """JSON of one entry; what is larger is refused."""


class Lease(NamedTuple):
    """The right to append for a source, shown by ``fence``.

    ``place`` is what its last holder left there, or None.
    """

    fence: str
    place: Any


class Unchanged:
    """Type of ``UNCHANGED``: leave the place as it is (None is a place)."""


UNCHANGED = Unchanged()


class Log(abc.ABC):
    """An ordered, bounded list of entries that every process reads alike.

    Every implementation promises:

    - **density**: every process follows the log in order; no entry is skipped or seen twice.
      Where that cannot be kept (another epoch, a gap that cannot be repaired) ``lost`` is called
      instead, and following begins anew at the head that it is told;
    - **atomicity**: an append, or a whole step, happens or does not. Key, fence, sequence, place
      and trimming are one action of the engine. Who got an exception other than the ones named
      does not know whether it happened, and may repeat it with the same keys;
    - **keys**: the same key again, of the same source, appends nothing and answers the position of
      the entry that had it. Remembered for the newest ``KEYS_PER_SOURCE`` entries of each source,
      whatever is trimmed. A source that is None is one of its own;
    - **fences**: given out with the lease, unique over epochs and engines, never counted: any but
      the newest that this log gave out for a source is refused, also where the lease has lapsed
      and nobody took it. A source that no lease was ever taken for has the fence None;
    - **an epoch** is one life of a log. What was lost with the engine (entries, keys, leases,
      counts) is never taken for what comes later.

    Methods that return a value are done; those that return an awaitable of it return work that is
    already under way: who need not know may drop it. BrokerUnavailable is raised by what they
    return, never in the call; what else an engine need not be asked for may be raised in either.

    While the engine is away ``lag`` grows, and nothing else happens; when it is back, following
    goes on from where it was, without a restart.
    """

    @property
    @abc.abstractmethod
    def head(self) -> Position:
        """The position of the newest entry that this process has."""

    @property
    @abc.abstractmethod
    def first(self) -> Position:
        """The oldest position after which everything is kept here."""

    @property
    @abc.abstractmethod
    def lag(self) -> float:
        """Seconds by which this process is behind the log, as far as it knows."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Read the head, what is kept, and follow. Before anything else, where there is an engine.

        What is kept of the log reaches the window, but not those who follow. Before it the epoch
        of ``head`` is "", and ``kept_beside`` is empty. Starting again does nothing. Raises
        BrokerUnavailable, and may be tried again.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """Follow no longer. Calls under way end with BrokerUnavailable."""

    @abc.abstractmethod
    def newest(self) -> Position | Awaitable[Position]:
        """The position of the newest entry that anybody had appended when this was called.

        This process may not have it yet: ``head`` is what it has.
        """

    # Appending

    @abc.abstractmethod
    def append(
        self,
        data: Any,
        key: str | None = None,
        source: str | None = None,
        fence: str | None = None,
        *,
        keep: float = 0.0,
    ) -> Position | Awaitable[Position]:
        """Append one entry and return its position.

        ``keep``: for so many seconds the entry is kept beside the log too, whatever is trimmed.
        Raises FenceOld; EntryTooLarge; TypeError or ValueError for what is no JSON; OverflowError
        where ``MAX_KEPT_BESIDE`` entries are kept beside the log already. Renews the source's
        lease.
        """

    @abc.abstractmethod
    def append_step(
        self,
        entries: Sequence[Append],
        source: str,
        fence: str | None,
        place: Any = UNCHANGED,
    ) -> list[Position] | Awaitable[list[Position]]:
        """Append several entries, all or none, and return their positions in the same order.

        ``place``, JSON of at most ``MAX_PLACE_BYTES`` (the caller checks), is stored with them.
        Raises as ``append`` does. Renews the source's lease.
        """

    @abc.abstractmethod
    def kept_beside(self) -> Sequence[Entry] | Awaitable[Sequence[Entry]]:
        """The entries kept beside the log whose time has not ended, oldest first."""

    # Leases, and those who wait for a holder to pass

    @abc.abstractmethod
    def take_lease(
        self, source: str, seconds: float, fence: str | None = None
    ) -> Lease | Awaitable[Lease]:
        """Become the one who appends for a source. Raises LeaseHeld while another's lease runs.

        It lapses ``seconds`` after the last thing that renewed it. Whoever gives its ``fence``
        takes it over while it runs: the fence is a new one then, and the old one is refused.
        """

    @abc.abstractmethod
    def renew_lease(self, source: str, fence: str) -> Awaitable[None] | None:
        """Let the lease run its seconds from now. Raises FenceOld."""

    @abc.abstractmethod
    def leases(self) -> Mapping[str, float] | Awaitable[Mapping[str, float]]:
        """Seconds that the lease of each source still runs; only of those that do."""

    @abc.abstractmethod
    def ask(self, source: str) -> int | Awaitable[int]:
        """Ask the holder to pass once more: returns how often that was asked in this epoch."""

    @abc.abstractmethod
    def asked(self, source: str, more_than: int, timeout: float) -> int | Awaitable[int]:
        """How often a pass was asked for: as soon as it is more than that, or after the timeout."""

    # Reading

    @abc.abstractmethod
    def read(self, after: Position, limit: int = 1000) -> Sequence[Entry]:
        """Return up to ``limit`` entries after a position, oldest first. Raises PositionLost."""

    @abc.abstractmethod
    def follow(
        self,
        deliver: Callable[[Entry], None],
        lost: Callable[[Sequence[Entry]], None] | None = None,
    ) -> Callable[[], None]:
        """Call ``deliver`` with every entry from now on; returns a function that ends it.

        An entry can be read when it is delivered. ``lost`` is called where entries were lost, or
        the epoch is another: what follows does not continue what came before. It is given the
        entries that are kept beside the log then, oldest first: some of them may not be known.
        """

    @abc.abstractmethod
    def charge(self, position: Position, count: int) -> None:
        """Count so many bytes noted beside an entry as part of it, in this process's window."""

    @abc.abstractmethod
    def trim(self) -> None:
        """Let go of what is too old. Appending does so too; a log that rests needs to be told."""

    @abc.abstractmethod
    def on_trim(self, trimmed: Callable[[Entry], None]) -> None:
        """Call ``trimmed`` with every entry that leaves this process's window."""

    @property
    @abc.abstractmethod
    def bytes_kept(self) -> int:
        """Bytes of this process's window, what was charged included."""

    @property
    @abc.abstractmethod
    def halfway(self) -> int:
        """Entries up to this sequence are in the older half of what is kept, by bytes or time."""
