"""A filter finds the same rows by Django's ORM as in the hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

import pytest
from django.db import connections, models
from django.db.models import Q
from taskapp.models import City, Country, Task

from snorky.backend.django.filters import columns_of, to_q, types_of
from snorky.filters import BadQuery, compile_filter
from tests.filters.language import CASES
from tests.filters.tables import COLUMNS, a_filter, a_record, as_row

RANDOM = Random(11)
RECORDS = [a_record(RANDOM, number) for number in range(120)]
ROWS = [as_row(RANDOM, record) for record in RECORDS]
IN_JSON = {name: kind for name, kind in COLUMNS.items() if "." in name}


class Record(models.Model):
    id = models.BigIntegerField(primary_key=True)
    n = models.BigIntegerField(null=True)
    r = models.FloatField(null=True)
    t = models.TextField(null=True)
    nocase = models.CharField(max_length=100, null=True, db_column="no case")
    b = models.BooleanField(null=True)
    price = models.DecimalField(max_digits=15, decimal_places=4, null=True)
    due = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    at = models.TimeField(null=True)
    ident = models.UUIDField(null=True)
    info = models.JSONField(null=True)

    class Meta:
        app_label = "filters"


@pytest.fixture(params=["default", "postgres"], scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    request.getfixturevalue("sqlite" if request.param == "default" else "postgres_server")
    connection = connections[request.param]
    with connection.schema_editor() as editor:
        editor.create_model(Record)
    yield request.param
    with connection.schema_editor() as editor:
        editor.delete_model(Record)


@pytest.fixture
def records(database: str) -> models.QuerySet[Record]:
    records = Record.objects.using(database)
    records.all().delete()
    records.bulk_create(Record(**record) for record in RECORDS)
    return records.order_by("id")


def as_expected(query: Any) -> list[int]:
    matches = compile_filter(query, types_of(Record) | IN_JSON)
    return [row["id"] for row in ROWS if matches(row)]


@pytest.mark.parametrize("part", range(3))
def test_the_orm_finds_what_the_filter_matches(records: Any, part: int) -> None:
    random = Random(500 + part)
    for _ in range(CASES // 3 or 120):
        query = a_filter(random)
        found = records.filter(to_q(query, Record, IN_JSON)).values_list("id", flat=True)
        assert list(found) == as_expected(query), query


def test_a_condition_may_be_negated_and_joined_with_others(records: Any) -> None:
    late = to_q(["<", "id", 20], Record)
    assert records.filter(late & Q(id__gte=18)).count() == 2
    assert records.filter(~late).count() == 100
    assert records.exclude(late | Q(id__gte=30)).count() == 10
    assert records.annotate(double=models.F("id") * 2).filter(late, double__gte=30).count() == 5


def test_a_foreign_key_is_compared_by_the_key_that_it_holds(published: Any) -> None:
    spain = Country.objects.create(code="es", name="Spain")
    City.objects.create(name="Salamanca", country=spain)
    assert City.objects.filter(to_q(["==", "country", "es"], City)).count() == 1
    assert City.objects.filter(to_q(["==", "country", "fr"], City)).count() == 0
    found = Country.objects.filter(
        city__in=City.objects.filter(to_q(["==", "country", "es"], City))
    )
    assert found.get() == spain


def test_a_field_that_the_model_has_not_got_is_missing_from_every_row(published: Any) -> None:
    Task.objects.create(title="Buy milk")
    assert Task.objects.filter(to_q(["==", "country__name", "Spain"], Task)).count() == 0
    assert Task.objects.filter(to_q(["not", ["==", "owner.password", "x"]], Task)).count() == 1


def test_the_types_of_a_model_are_those_that_its_dealer_needs() -> None:
    assert types_of(Task)["due"].__name__ == "date"
    assert set(types_of(Task)) == {"due"}
    assert types_of(Record)["due"] is datetime
    assert columns_of(City)["country"] is str


def test_a_filter_that_does_not_fit_the_model_is_refused() -> None:
    with pytest.raises(BadQuery, match="'<' compares the field 'due' with a date"):
        to_q(["<", "due", "soon"], Task)
