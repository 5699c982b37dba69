"""Rows as triggers write them, shown as the API renders them."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test.utils import override_settings
from taskapp.models import City, Country, Meeting, Restaurant, Task, Team

from snorky.backend.django.addresses import database_url
from snorky.backend.django.represent import NeedsQueries, representations
from snorky.backend.django.rows import row_text


@pytest.fixture
def represent(postgres: str) -> Iterator[Any]:
    with override_settings(SNORKY_OUTBOX_DATABASE=postgres):
        yield representations()


def stored_row(instance: Any, using: str) -> Any:
    """As PostgreSQL's to_jsonb writes it."""
    meta = instance._meta
    sql = f"SELECT to_jsonb(t)::text FROM {meta.db_table} t WHERE {meta.pk.column} = %s"
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [instance.pk])
        return json.loads(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "instance",
    [
        Task(title="a", due="2031-02-03", details={"price": [1, None]}),
        Meeting(at="2031-02-03T04:05:06.7+02:00"),
        Country(code="es", name="España"),
        Team(name="A"),
    ],
    ids=lambda instance: type(instance).__name__,
)
def test_a_row_looks_as_the_api_renders_it(published, represent, postgres, instance):
    instance.save(using=postgres)
    instance.refresh_from_db()
    name, shown = represent[instance._meta.db_table](stored_row(instance, postgres))
    assert (name, shown) == (type(instance).__name__, json.loads(row_text(instance)))
    assert shown.get("at", "2031-02-03T02:05:06.700000Z") == "2031-02-03T02:05:06.700000Z"


def test_what_another_row_holds_is_refused_and_named(represent):
    row = {"id": str(uuid.uuid4()), "name": "Salamanca", "country_id": "es"}
    with pytest.raises(NeedsQueries, match="a row of City needs another row to be rendered"):
        represent[City._meta.db_table](row)


def test_a_column_that_is_left_out_is_not_asked_for(represent):
    with pytest.raises(NeedsQueries, match="a row of Task"):
        represent[Task._meta.db_table]({"id": 1, "title": "a"})


def test_a_row_of_two_tables_is_refused(represent):
    with pytest.raises(NeedsQueries, match="in the table of a parent"):
        represent[Restaurant._meta.db_table]({"place_ptr_id": 1, "stars": 2})


def test_the_address_of_a_database(postgres, tmp_path):
    import psycopg

    with psycopg.connect(database_url("postgres")) as connection:
        assert connection.info.dbname == "postgres"
    assert database_url("default").startswith("sqlite:////")


def test_the_address_of_another_kind_of_database_is_refused(monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    with pytest.raises(ImproperlyConfigured, match="for PostgreSQL and SQLite"):
        database_url("default")
