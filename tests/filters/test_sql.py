"""A filter finds the same rows in a database as in the hand: PostgreSQL and SQLite, real ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from snorky.filters import BadQuery, compile_filter
from snorky.filters.columns import types_of_columns
from snorky.filters.sql import to_sql, to_sqlalchemy
from tests.filters.language import CASES
from tests.filters.tables import (
    COLUMNS,
    CONSTANTS,
    a_filter,
    a_record,
    as_row,
    constants_of,
    json_text,
)

TYPES = types_of_columns(COLUMNS)
RANDOM = Random(7)
RECORDS = [a_record(RANDOM, number) for number in range(150)]
ROWS = [as_row(RANDOM, record) for record in RECORDS]
SEEDS = range(8)
FILTERS_PER_SEED = CASES // len(SEEDS) or 75
"""Each is asked of 150 rows."""

Find = Callable[[Any], list[int]]


def as_expected(query: Any) -> list[int]:
    matches = compile_filter(query, TYPES)
    return [row["id"] for row in ROWS if matches(row)]


def a_collation(connection: psycopg.Connection[Any]) -> str:
    """One for which "a" = "A" where this server was built with ICU; else one of its own."""
    try:
        connection.execute(
            "CREATE COLLATION IF NOT EXISTS nocase "
            "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg.errors.FeatureNotSupported:
        return '"C.utf8"'
    return "nocase"


@pytest.fixture(scope="session")
def on_postgresql(postgresql: str) -> Iterator[Find]:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'Asia/Kathmandu'")
        connection.execute(
            "CREATE TABLE records (id bigint, n bigint, r double precision, t text, "
            f"nocase text COLLATE {a_collation(connection)}, b boolean, price numeric, "
            "due timestamptz, day date, at time, ident uuid, info jsonb)"
        )
        names = ", ".join(RECORDS[0])
        for record in RECORDS:
            values = [*list(record.values())[:-1], Jsonb(record["info"])]
            connection.execute(
                f"INSERT INTO records ({names}) VALUES ({', '.join(['%s'] * len(values))})", values
            )

        def find(query: Any) -> list[int]:
            text, parameters = to_sql(query, COLUMNS)
            found = connection.execute(
                f"SELECT id FROM records WHERE {text} ORDER BY id", parameters
            )
            return [number for (number,) in found]

        yield find


def in_sqlite(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@pytest.fixture(scope="session")
def on_sqlite() -> Iterator[Find]:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE records (id INTEGER, n INTEGER, r REAL, t TEXT, nocase TEXT COLLATE NOCASE, "
        "b BOOLEAN, price NUMERIC, due TEXT, day TEXT, at TEXT, ident TEXT, info TEXT)"
    )
    for record, row in zip(RECORDS, ROWS, strict=True):
        values = [in_sqlite(value) for name, value in record.items() if name not in ("due", "info")]
        # In any zone, as it was rendered.
        values[7:7] = [row["due"]]
        values.append(json_text(record["info"]))
        connection.execute(f"INSERT INTO records VALUES ({', '.join('?' * len(values))})", values)

    def find(query: Any) -> list[int]:
        text, parameters = to_sql(query, COLUMNS, "sqlite")
        found = connection.execute(f"SELECT id FROM records WHERE {text} ORDER BY id", parameters)
        return [number for (number,) in found]

    yield find
    connection.close()


def check(find: Find, seed: int) -> None:
    random = Random(seed)
    for _ in range(FILTERS_PER_SEED):
        query = a_filter(random)
        assert find(query) == as_expected(query), query


@pytest.mark.parametrize("seed", SEEDS)
def test_postgresql_finds_what_the_filter_matches(on_postgresql: Find, seed: int) -> None:
    check(on_postgresql, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_sqlite_finds_what_the_filter_matches(on_sqlite: Find, seed: int) -> None:
    check(on_sqlite, seed)


EVERY_COMPARISON = [
    [operator, field, constant]
    for field in [*CONSTANTS, "info", "info.x", "info.price", "info.due", "info.ident", "nothing"]
    for operator in ("==", "!=", "<", "<=", ">", ">=")
    for constant in [*constants_of(field), None]
]


def test_postgresql_compares_every_field_with_every_constant(on_postgresql: Find) -> None:
    for query in EVERY_COMPARISON:
        assert on_postgresql(query) == as_expected(query), query


def test_sqlite_compares_every_field_with_every_constant(on_sqlite: Find) -> None:
    for query in EVERY_COMPARISON:
        assert on_sqlite(query) == as_expected(query), query


# SQLAlchemy


class Base(DeclarativeBase):
    pass


class Record(Base):
    __tablename__ = "orm_records"

    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int | None] = mapped_column(sqlalchemy.BigInteger)
    r: Mapped[float | None]
    t: Mapped[str | None]
    nocase: Mapped[str | None] = mapped_column("no_case", sqlalchemy.String)
    b: Mapped[bool | None]
    price: Mapped[Decimal | None] = mapped_column(sqlalchemy.Numeric(20, 4))
    due: Mapped[datetime | None] = mapped_column(sqlalchemy.DateTime(timezone=True))
    local: Mapped[datetime | None] = mapped_column(sqlalchemy.DateTime)
    day: Mapped[date | None]
    at: Mapped[time | None]
    ident: Mapped[UUID | None]
    info: Mapped[Any] = mapped_column(
        sqlalchemy.JSON(none_as_null=False).with_variant(JSONB(none_as_null=False), "postgresql")
    )


IN_JSON = {name: kind for name, kind in COLUMNS.items() if "." in name}


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def orm_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    if request.param == "sqlite":
        engine = sqlalchemy.create_engine("sqlite://")
    else:
        address = request.getfixturevalue("postgresql")
        engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for record in RECORDS:
            due = record["due"]
            local = None if due is None else due.replace(tzinfo=None)
            session.add(Record(**record, local=local))
        session.commit()
        yield session
    engine.dispose()


@pytest.mark.parametrize("seed", SEEDS)
def test_sqlalchemy_finds_what_the_filter_matches(orm_session: Session, seed: int) -> None:
    random = Random(1000 + seed)
    for _ in range(FILTERS_PER_SEED):
        query = a_filter(random)
        condition = to_sqlalchemy(query, Record, IN_JSON)
        found = orm_session.scalars(
            sqlalchemy.select(Record.id).where(condition).order_by(Record.id)
        )
        assert list(found) == as_expected(query), query


@pytest.mark.parametrize("instant", ["2026-01-01T00:00:00Z", "2026-01-01T02:30:00+02:30"])
def test_instants_without_a_zone_are_taken_as_utc(orm_session: Session, instant: str) -> None:
    for operator in ("==", "<", ">="):
        found = [
            orm_session.scalars(
                sqlalchemy.select(Record.id)
                .where(to_sqlalchemy([operator, field, instant], Record))
                .order_by(Record.id)
            ).all()
            for field in ("due", "local")
        ]
        assert found[0] == found[1] != []


def test_a_filter_stands_in_any_statement_of_sqlalchemy(orm_session: Session) -> None:
    query = ["and", [">=", "id", 10], ["<", "id", 13], ["!=", "t", "100%"]]
    other = aliased(Record)
    columns = {"id": other.id, "t": other.t}
    statement = sqlalchemy.select(Record.id).join(
        other, sqlalchemy.and_(other.id == Record.id, to_sqlalchemy(query, columns))
    )
    assert sorted(orm_session.scalars(statement)) == [10, 11, 12]
    table = Record.__table__
    matching = sqlalchemy.select(sqlalchemy.func.count()).where(to_sqlalchemy(query, table))
    assert orm_session.scalar(matching) == 3
    assert orm_session.scalar(matching.where(~to_sqlalchemy(query, table))) == 0


def test_a_column_that_a_filter_cannot_compare_is_refused() -> None:
    table = sqlalchemy.Table(
        "files", sqlalchemy.MetaData(), sqlalchemy.Column("content", sqlalchemy.LargeBinary)
    )
    with pytest.raises(BadQuery, match="'content' holds what a filter cannot compare"):
        to_sqlalchemy(["==", "content", "a"], table)


def test_sqlalchemy_says_for_which_databases_it_can() -> None:
    statement = sqlalchemy.select(Record.id).where(to_sqlalchemy(["==", "n", 1], Record))
    with pytest.raises(NotImplementedError, match="postgresql and sqlite; got mysql"):
        statement.compile(dialect=mysql.dialect())


# What a client wrote


def test_nothing_of_a_filter_becomes_text_of_the_statement() -> None:
    hostile = "'; DROP TABLE records; --"
    for dialect in ("postgresql", "sqlite"):
        for query in (
            ["==", "t", hostile],
            ["==", hostile, 1],
            ["startswith", "t", hostile],
            ["in", "t", [hostile, "a"]],
            ["==", f"info.{hostile}.{hostile}", hostile],
            ["==", "info", {hostile: hostile}],
        ):
            assert "DROP" not in to_sql(query, COLUMNS, dialect).text


def test_columns_are_quoted_and_may_have_other_names() -> None:
    columns = {'a"b%': int, "team": int}
    assert to_sql(["==", 'a"b%', 1], columns).text.count('"a""b%%"') == 1
    named = to_sql(["==", "team", 1], columns, names={"team": "t.team_id"})
    assert "t.team_id" in named.text
    assert named.parameters == [1]


def test_a_column_of_no_known_type_is_refused() -> None:
    with pytest.raises(TypeError, match="the type of column 'n' must be one of int, float"):
        to_sql(["==", "n", 1], {"n": bytes})
    with pytest.raises(ValueError, match="postgresql or sqlite; got 'oracle'"):
        to_sql(["==", "n", 1], {"n": int}, "oracle")


def test_a_filter_that_does_not_fit_the_columns_is_refused() -> None:
    with pytest.raises(BadQuery, match="compares the field 'due' with an instant"):
        to_sql(["<", "due", "tomorrow"], COLUMNS)
