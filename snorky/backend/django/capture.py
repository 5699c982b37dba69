"""Which rows the ORM writes, whatever way it is told to: seen where it makes its statements.

Every INSERT, UPDATE and DELETE of the ORM passes here, those of ``bulk_create``, ``update()``,
cascades and many-to-many relations, too. The rows that a statement will change are locked and read
before it, read again after it, and both are written to the outbox in the same transaction. An
UPDATE or DELETE is carried out on the locked rows alone: its own condition might find others by
then. What cannot be told row by row becomes a reset: more than ``MAX_ROWS``, changed keys, rows
that may or may not have been there (``ignore_conflicts``), models of a migration.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLDeleteCompiler, SQLInsertCompiler, SQLUpdateCompiler

from snorky.backend.django import registry, settings
from snorky.backend.django.registry import wire_name
from snorky.backend.django.rows import locked, row_text
from snorky.backend.entries import Change
from snorky.backend.exchange import snorky_log

MAX_ROWS = 1_000
"""More rows of a model are not told one by one."""

Write = Callable[[Iterable[Change], str], None]
Execute = Callable[[], Any]


def capture_writes(write: Write) -> None:
    """From now on give what changes to ``write``, with the alias of its database."""
    _wrap(SQLInsertCompiler, _insert, write)
    _wrap(SQLUpdateCompiler, _update, write)
    _wrap(SQLDeleteCompiler, _delete, write)


def _wrap(
    compiler_class: Any, captured: Callable[["Capture", Any, Execute], Any], write: Write
) -> None:
    execute_sql = compiler_class.execute_sql

    @wraps(execute_sql)
    def execute_captured(self: Any, *args: Any, **kwargs: Any) -> Any:
        def execute() -> Any:
            return execute_sql(self, *args, **kwargs)

        model = self.query.model
        table = None
        if registry.is_of_migration(model):
            table = registry.concerned_by_name(model)
            concerned = table is not None
        else:
            concerned = registry.is_concerned(model)
        if not concerned or not settings.has_orm_outbox(self.using):
            return execute()
        with _capture_of(self.using, write) as capture:
            if table is None:
                return captured(capture, self, execute)
            result = execute()
            capture.reset(table)
            return result

    compiler_class.execute_sql = execute_captured


class Capture:
    """The rows that one statement changes, and those that go along with it."""

    def __init__(self, using: str) -> None:
        self.using = using
        self._before: dict[type[Model], dict[Any, str | None]] = {}
        self._reset: dict[type[Model], None] = {}  # in order

    def read(self, table: type[Model], rows: list[Model]) -> None:
        """Keep these rows of a table as they are now, and those of others that show them."""
        keys = [row.pk for row in rows]
        for model in registry.classes_over(table):
            if rows and type(rows[0]) is model:
                self._keep(model, rows)
            else:
                self._read(QuerySet(model, using=self.using).filter(pk__in=keys))
        for model, lookup in registry.dependents_of(table, table):
            self.read_others(model, f"{lookup}__pk", keys)

    def read_others(self, model: type[Model], lookup: str, values: Iterable[Any]) -> None:
        rows: QuerySet[Model] = QuerySet(model, using=self.using)
        keys = rows.filter(**{f"{lookup}__in": list(values)}).values_list("pk", flat=True)
        found = list(keys.distinct()[: MAX_ROWS + 1])
        if len(found) > MAX_ROWS:
            self._reset[model] = None
        else:
            self._read(rows.filter(pk__in=found))

    def inserted(self, model: type[Model], key: Any) -> None:
        self._before.setdefault(model, {}).setdefault(key, None)

    def reset(self, table: type[Model]) -> None:
        """Rows of this table changed that nobody knows: tell so of all that show some."""
        for model in registry.classes_over(table):
            self._reset[model] = None
        for model, _ in registry.dependents_of(table, table):
            self._reset[model] = None
        for member in registry.members_of(table):
            self._reset[member.model] = None

    def changes(self) -> Iterator[Change]:
        """What has changed, now that it has."""
        for model, before in self._before.items():
            if model in self._reset:
                continue
            rows: QuerySet[Model] = QuerySet(model, using=self.using)
            now = {row.pk: self._text(row) for row in rows.filter(pk__in=list(before))}
            for key, old in before.items():
                new = now.get(key)
                if old != new and model not in self._reset:
                    yield Change(wire_name(model), old, new)
        for model in self._reset:
            yield Change(wire_name(model))

    def _read(self, rows: QuerySet[Model]) -> None:
        self._keep(rows.model, locked(rows, connections[self.using]))

    def _keep(self, model: type[Model], rows: Iterable[Model]) -> None:
        before = self._before.setdefault(model, {})
        for row in rows:
            # A statement inside another must not take the row between for the one before.
            if row.pk not in before:
                before[row.pk] = self._text(row)

    def _text(self, row: Model) -> str | None:
        model = type(row)
        if model in self._reset:
            return None
        try:
            return row_text(row)
        except DatabaseError:
            raise  # the transaction is broken
        except Exception:
            snorky_log.exception(
                "A row of %s cannot be rendered: pages fetch anew", wire_name(model)
            )
            self._reset[model] = None
            return None


@contextmanager
def _capture_of(using: str, write: Write) -> Iterator[Capture]:
    """The capture of the statement under way, of which this may be a part."""
    connection: Any = connections[using]
    outer: Capture | None = getattr(connection, "_snorky_capture", None)
    if outer is not None:
        yield outer
        return
    whole = nullcontext() if connection.in_atomic_block else transaction.atomic(using)
    with whole:
        capture = connection._snorky_capture = Capture(using)
        try:
            yield capture
            changes = list(capture.changes())
        finally:
            del connection._snorky_capture
        write(changes, using)


def _insert(capture: Capture, compiler: Any, execute: Execute) -> Any:
    query = compiler.query
    table = registry.table_of(query.model)
    for member in registry.members_of(table):
        capture.read_others(
            member.model, member.lookup, {getattr(obj, member.attname) for obj in query.objs}
        )
    returned = execute()
    models = registry.classes_over(table)
    if not models:
        return returned
    keys = None if query.on_conflict is not None else _keys(compiler, returned)
    if keys is None or len(keys) > MAX_ROWS:
        capture.reset(table)
        return returned
    for model in models:
        for key in keys:
            capture.inserted(model, key)
    return returned


def _update(capture: Capture, compiler: Any, execute: Execute) -> Any:
    query = compiler.query
    if not query.values:
        return execute()  # only rows of its parents are written, by statements of their own
    if any(field.primary_key for field, *_ in query.values):
        result = execute()
        capture.reset(registry.table_of(query.model))
        return result
    return _on_locked_rows(capture, compiler, execute)


def _delete(capture: Capture, compiler: Any, execute: Execute) -> Any:
    # Where there are no rows there is no statement, and no number of them.
    return _on_locked_rows(capture, compiler, execute) or 0


def _on_locked_rows(capture: Capture, compiler: Any, execute: Execute) -> Any:
    query = compiler.query
    table = registry.table_of(query.model)
    rows = _affected_rows(query, table, compiler.using)
    if len(rows) > MAX_ROWS:
        result = execute()
        capture.reset(table)
        return result
    capture.read(table, rows)
    for member in registry.members_of(table):
        capture.read_others(
            member.model, member.lookup, {getattr(row, member.attname) for row in rows}
        )
    query.add_q(Q(pk__in=[row.pk for row in rows]))
    return execute()


def _affected_rows(query: Any, table: type[Model], using: str) -> list[Model]:
    """The rows that a statement will change, locked; one more than are told where there are."""
    chosen = query.chain(klass=Query)
    chosen.clear_ordering(force=True)
    chosen.clear_select_clause()
    chosen.clear_deferred_loading()
    chosen.default_cols = True
    chosen.model = table
    rows: QuerySet[Model] = QuerySet(table, query=chosen, using=using)
    if len(chosen.alias_map) > 1 or chosen.distinct or chosen.group_by or chosen.combinator:
        # Rows of such a query cannot be locked, or come twice.
        keys = list(rows.values_list("pk", flat=True).distinct()[: MAX_ROWS + 1])
        rows = QuerySet(table, using=using).filter(pk__in=keys)
    # In one order, so that two who change the same rows do not wait for each other.
    return list(locked(rows.order_by("pk"), connections[using])[: MAX_ROWS + 1])


def _keys(compiler: Any, returned: list[Any]) -> list[Any] | None:
    """The primary keys of what was inserted; None where the database does not say."""
    meta = compiler.query.get_meta()
    returning = list(compiler.returning_fields or ())
    keys = []
    for number, obj in enumerate(compiler.query.objs):
        parts = []
        for field in meta.pk_fields:
            if field in returning and number < len(returned):
                parts.append(returned[number][returning.index(field)])
            else:
                parts.append(getattr(obj, field.attname))
        if any(part is None or hasattr(part, "resolve_expression") for part in parts):
            return None
        keys.append(tuple(parts) if meta.is_composite_pk else meta.pk.to_python(parts[0]))
    return keys
