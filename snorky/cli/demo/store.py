"""The list in its database: SQLite, as a web application would keep it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

MAX_ITEMS = 100
MAX_TITLE_LENGTH = 200

Item = dict[str, Any]
"""``{"id": int, "title": str, "done": bool}``"""


class Refused(ValueError):
    """The list does not take this; the text says why."""


class Store:
    """Items by their id. ``traced`` is called with each statement that SQLite runs."""

    def __init__(self, path: str) -> None:
        self.traced: Callable[[str], None] = lambda statement: None
        self._connection = sqlite3.connect(path)
        with self._connection as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS item"
                " (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                " title TEXT NOT NULL, done INTEGER NOT NULL)"
            )
        if not self.all():
            for title in ("Bread", "Two lemons"):
                self.add(title)
        self._connection.set_trace_callback(lambda statement: self.traced(statement))

    def all(self) -> list[Item]:
        rows = self._connection.execute("SELECT id, title, done FROM item ORDER BY id")
        return [_item(row) for row in rows]

    def get(self, number: int) -> Item | None:
        row = self._connection.execute(
            "SELECT id, title, done FROM item WHERE id = ?", (number,)
        ).fetchone()
        return None if row is None else _item(row)

    def add(self, title: Any) -> Item:
        """Raises Refused."""
        title = _checked_title(title)
        with self._connection as connection:
            (count,) = connection.execute("SELECT count(*) FROM item").fetchone()
            if count >= MAX_ITEMS:
                raise Refused(f"The list is full: {MAX_ITEMS} items.")
            added = connection.execute("INSERT INTO item (title, done) VALUES (?, 0)", (title,))
        return {"id": added.lastrowid, "title": title, "done": False}

    def set_done(self, number: int, done: Any) -> tuple[Item, Item] | None:
        """The item before and after; None where there is none. Raises Refused."""
        if not isinstance(done, bool):
            raise Refused(f"done: expected true or false, got {done!r}.")
        old = self.get(number)
        if old is None:
            return None
        with self._connection as connection:
            connection.execute("UPDATE item SET done = ? WHERE id = ?", (done, number))
        return old, old | {"done": done}

    def delete(self, number: int) -> Item | None:
        """The item that was deleted; None where there is none."""
        old = self.get(number)
        if old is not None:
            with self._connection as connection:
                connection.execute("DELETE FROM item WHERE id = ?", (number,))
        return old

    def close(self) -> None:
        self._connection.close()


def _item(row: tuple[int, str, int]) -> Item:
    return {"id": row[0], "title": row[1], "done": bool(row[2])}


def _checked_title(title: Any) -> str:
    if not isinstance(title, str) or not title.strip():
        raise Refused("title: expected some text.")
    if len(title) > MAX_TITLE_LENGTH:
        raise Refused(f"title: expected at most {MAX_TITLE_LENGTH} characters, got {len(title)}.")
    return title.strip()
