"""Which rows SQLAlchemy writes, by a session or by Core: seen where a connection executes.

Every ``insert()``, ``update()`` and ``delete()`` of a watched engine passes here, those of a flush,
too; SQL as text does not. The rows that a statement will change are locked and read before it, read
again after it, and both are written to the outbox in the same transaction. What cannot be told row
by row becomes a reset: more than ``MAX_ROWS``, keys that nobody gives back, changed keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Delete,
    Engine,
    Insert,
    Table,
    Update,
    event,
    select,
    tuple_,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from snorky.backend.entries import Change
from snorky.backend.exchange import snorky_log
from snorky.backend.sqlalchemy.models import Subscribable, models_over
from snorky.backend.sqlalchemy.writing import write

MAX_ROWS = 1_000
"""More rows are not told one by one."""

UNDER_WAY = "snorky_capture"


def capture_writes(engine: Engine) -> None:
    """From now on write what changes by this engine to the outbox."""
    event.listen(engine, "before_execute", _before, retval=True)
    event.listen(engine, "after_execute", _after)


class Capture:
    """The rows that one statement changes."""

    def __init__(self, connection: Connection, table: Table) -> None:
        self.connection = connection
        self.table = table
        self.models = models_over(table)
        self.keys: list[tuple[Any, ...]] = []
        self._before: dict[str, dict[tuple[Any, ...], str]] = {}
        self._reset: set[str] = set()

    def lock(self, statement: Update | Delete, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Find the rows that the statement will change, and read them."""
        columns = list(self.table.primary_key)
        chosen = select(*columns)
        if statement.whereclause is not None:
            chosen = chosen.where(statement.whereclause)
        chosen = chosen.order_by(*columns).limit(MAX_ROWS + 1)
        chosen = chosen.with_for_update(of=self.table, key_share=True)
        _lock_sqlite(self.connection, self.table)
        found: dict[tuple[Any, ...], None] = {}
        for each in parameters or [{}]:
            found |= {tuple(row): None for row in self.connection.execute(chosen, each)}
        if len(found) > MAX_ROWS:
            self.reset()
        self.keys = list(found)
        for model in self.models:
            self._before[model.name] = self._texts(model, self.keys)

    def reset(self) -> None:
        self._reset |= {model.name for model in self.models}

    @property
    def is_reset(self) -> bool:
        return len(self._reset) == len(self.models)

    def restricted(self, statement: Any) -> Any:
        """The statement, for the locked rows alone: its own condition may find others by now."""
        columns = list(self.table.primary_key)
        if len(columns) == 1:
            return statement.where(columns[0].in_([key[0] for key in self.keys]))
        return statement.where(tuple_(*columns).in_(self.keys))

    def changes(self) -> Iterator[Change]:
        for model in self.models:
            after = self._texts(model, self.keys)
            if model.name in self._reset:
                yield Change(model.name)
                continue
            before = self._before.get(model.name, {})
            for key in self.keys:
                old, new = before.get(key), after.get(key)
                if old != new:
                    yield Change(model.name, old, new)

    def _texts(
        self, model: Subscribable, keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], str]:
        if model.name in self._reset or not keys:
            return {}
        columns = list(model.mapper.primary_key)
        which = (
            columns[0].in_([key[0] for key in keys])
            if len(columns) == 1
            else tuple_(*columns).in_(keys)
        )
        # A session of its own: that of the application may hold what was not flushed.
        with Session(self.connection, autoflush=False) as session:
            rows: list[Any] = list(session.scalars(select(model.mapped).where(which)))
            try:
                key_of = model.mapper.primary_key_from_instance
                return {tuple(key_of(row)): model.text(row) for row in rows}
            except SQLAlchemyError:
                raise  # the transaction is broken
            except Exception:
                snorky_log.exception("A row of %s cannot be rendered: pages fetch anew", model.name)
                self._reset.add(model.name)
                return {}


def _before(
    connection: Connection, statement: Any, multiparams: Any, params: Any, options: Any
) -> tuple[Any, Any, Any]:
    if not isinstance(statement, Insert | Update | Delete):
        return statement, multiparams, params
    table: Any = statement.table
    if not models_over(table):
        return statement, multiparams, params
    capture = Capture(connection, table)
    connection.info[UNDER_WAY] = statement, capture
    if isinstance(statement, Insert):
        return statement, multiparams, params
    parameters = _parameters(multiparams, params)
    if isinstance(statement, Update) and _changes_key(statement, table, parameters):
        capture.reset()
        return statement, multiparams, params
    capture.lock(statement, parameters)
    if not capture.is_reset and len(parameters) <= 1:
        statement = capture.restricted(statement)
        connection.info[UNDER_WAY] = statement, capture
    return statement, multiparams, params


def _after(
    connection: Connection, statement: Any, multiparams: Any, params: Any, options: Any, result: Any
) -> None:
    if UNDER_WAY not in connection.info:
        return
    own, capture = connection.info[UNDER_WAY]
    if own is not statement:
        return  # of one that is executed in between
    del connection.info[UNDER_WAY]
    if isinstance(statement, Insert):
        keys = _inserted(statement, capture.table, _parameters(multiparams, params), result)
        if keys is None or len(keys) > MAX_ROWS:
            capture.reset()
        else:
            capture.keys = keys
    write(connection, capture.changes())


def _parameters(multiparams: Any, params: Any) -> list[Mapping[str, Any]]:
    found = list(multiparams) or ([params] if params else [])
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _changes_key(statement: Update, table: Table, parameters: Iterable[Mapping[str, Any]]) -> bool:
    names = {getattr(column, "key", column) for column in statement._values or ()}
    names |= {name for each in parameters for name in each}
    return any(column.key in names for column in table.primary_key)


def _inserted(
    statement: Insert, table: Table, parameters: list[Mapping[str, Any]], result: Any
) -> list[tuple[Any, ...]] | None:
    """The keys of what was inserted; None where nobody says."""
    if getattr(statement, "_post_values_clause", None) is not None or statement.select is not None:
        return None  # ON CONFLICT, or the rows of a query
    columns = list(table.primary_key)
    given = [tuple(each.get(column.key) for column in columns) for each in parameters]
    if given and all(None not in key for key in given):
        return given
    try:
        if result.context.executemany or result.context.isinsert is False:
            keys = [tuple(row) for row in result.inserted_primary_key_rows]
        else:
            keys = [tuple(result.inserted_primary_key)]
    except (SQLAlchemyError, AttributeError, TypeError):
        return None
    return keys if keys and all(None not in key for key in keys) else None


def _lock_sqlite(connection: Connection, table: Table) -> None:
    if connection.dialect.name == "sqlite":
        # It locks no rows, and fails a transaction that reads, then writes after somebody else
        # did; so take the write lock first, which waits. This writes nothing.
        column = next(column for column in table.columns if column.computed is None)
        quote = connection.dialect.identifier_preparer
        name = quote.quote(column.name)
        connection.exec_driver_sql(
            f"UPDATE {quote.format_table(table)} SET {name} = {name} WHERE 0"  # noqa: S608 names
        )
