"""What triggers are installed in a database, and what is missing: the same words for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class InstallationError(Exception):
    """Triggers cannot be installed there; the text says why, and what to do."""


class Condition(StrEnum):
    """Of the triggers of one table."""

    INSTALLED = "installed"
    MISSING = "missing"
    """Changes are not seen: the relay lets pages fetch anew again and again."""
    CHANGED = "changed"
    """The table is not as it was when they were made: each change is told as a reset."""
    GONE = "gone"
    """There is no such table any more."""


@dataclass
class Table:
    """A table whose changes are told."""

    name: str
    condition: Condition
    fingerprint: str = ""
    """Another one where rows may have changed unseen: the table, its columns, its triggers."""
    left_out: list[str] = field(default_factory=list)
    """Columns that JSON cannot hold."""
    notes: list[str] = field(default_factory=list)
    """What is not seen, or could be better."""


@dataclass
class Status:
    """Of an outbox; ``length`` counts its rows, ``age`` is that of the oldest in seconds."""

    tables: list[Table]
    length: int
    age: float | None
    size: int
    """Bytes of JSON, or an estimate."""
    notes: list[str] = field(default_factory=list)
