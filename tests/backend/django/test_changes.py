"""Which deltas saves and deletions of subscribable models give."""

import datetime
import json
import pickle
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from taskapp.models import (
    Bar,
    City,
    Country,
    Measurement,
    Note,
    Place,
    Project,
    Reading,
    Remark,
    Restaurant,
    Seat,
    Task,
    Team,
    Ticket,
    Topic,
    UrgentTask,
)

from snorky.backend.django import changes, registry, subscribable
from snorky.backend.django.registry import wire_name
from tests.patience import patient


def task_row(task: Task, **changes: Any) -> dict[str, Any]:
    row = {
        "id": task.pk,
        "title": "Buy milk",
        "completed": False,
        "due": None,
        "votes": 0,
        "details": {},
    }
    return row | changes


@pytest.fixture
def task(published) -> Task:
    task = Task.objects.create(title="Buy milk")
    published.clear()
    return task


def test_an_insert_publishes_the_row_as_the_api_renders_it(published):
    task = Task.objects.create(title="Buy milk", due="2031-02-03")
    data = task_row(task, due="2031-02-03")
    assert published.requests == [[{"type": "insert", "model": "Task", "data": data}]]


def test_the_service_of_the_settings_is_called(published, snorky):
    Task.objects.create(title="Buy milk")
    assert [request.envelope["service"] for request in snorky.requests] == ["datasync_backend"]
    assert snorky.requests[0].headers["x-backend-key"] == "swordfish"


def test_an_update_publishes_the_new_row_and_the_old_one(published, task):
    task.title = "Buy wine"
    task.save()
    assert published.deltas == [
        {
            "type": "update",
            "model": "Task",
            "newData": task_row(task, title="Buy wine"),
            "oldData": task_row(task),
        }
    ]


def test_old_data_is_what_the_database_had_and_not_what_the_instance_was_loaded_with(
    published, task
):
    stale = Task.objects.get()
    task.votes = 7
    task.save()
    published.clear()
    stale.title = "Buy wine"
    stale.save(update_fields=["title"])
    [delta] = published.deltas
    assert delta["oldData"] == task_row(task, votes=7)
    assert delta["newData"] == task_row(task, votes=7, title="Buy wine")


def test_new_data_is_what_was_written_and_not_what_the_instance_holds(published, task):
    task.title, task.votes = "Buy wine", 99
    task.save(update_fields=["title"])
    assert published.deltas[0]["newData"] == task_row(task, title="Buy wine")


def test_expressions_are_published_as_the_values_they_got(published, task):
    task.votes = F("votes") + 5
    task.save()
    assert published.deltas[0]["newData"] == task_row(task, votes=5)


def test_values_are_published_as_the_database_gives_them_back(published):
    Task.objects.create(title="Buy milk", votes="3", due=datetime.datetime(2031, 2, 3, 4, 5))
    assert published.deltas[0]["data"]["votes"] == 3
    assert published.deltas[0]["data"]["due"] == "2031-02-03"


def test_deferred_fields_are_published_too(published, task):
    deferred = Task.objects.only("title").get()
    deferred.title = "Buy wine"
    deferred.save()
    deferred = Task.objects.only("votes").get()
    deferred.delete()
    update, delete = published.deltas
    assert update["newData"] == task_row(task, title="Buy wine")
    assert delete["data"] == task_row(task, title="Buy wine")


def test_a_delete_publishes_the_row_that_was_there(published, task):
    row = task_row(task)
    task.title = "never saved"
    task.delete()
    assert published.requests == [[{"type": "delete", "model": "Task", "data": row}]]


def test_a_save_without_fields_publishes_nothing(published, task):
    task.save(update_fields=[])
    assert published.requests == []


def test_later_changes_of_a_value_are_not_published(published, task):
    with transaction.atomic():
        task.details["colour"] = "red"
        task.save()
        task.details["colour"] = "blue"
    assert published.deltas[0]["newData"]["details"] == {"colour": "red"}


def test_a_key_of_any_name_and_kind_will_do(published):
    country = Country.objects.create(code="es", name="Spain")
    country.name = "España"
    country.save()
    country.delete()
    # With an `id`, by which pages know rows.
    spain, espana = ({"id": "es", "code": "es", "name": name} for name in ("Spain", "España"))
    assert published.deltas == [
        {"type": "insert", "model": "Country", "data": spain},
        {"type": "update", "model": "Country", "newData": espana, "oldData": spain},
        {"type": "delete", "model": "Country", "data": espana},
    ]


def test_a_key_of_two_columns_will_do(published):
    seat = Seat.objects.create(row=1, number=2)
    seat.taken = True
    seat.save()
    seat.delete()
    assert [delta["type"] for delta in published.deltas] == ["insert", "update", "delete"]
    assert published.deltas[2]["data"] == {"row": 1, "number": 2, "taken": True}


def test_writing_over_a_row_by_its_key_is_an_update(published, task):
    Task(pk=task.pk, title="Buy wine").save()
    [delta] = published.deltas
    assert delta["type"] == "update"
    assert delta["oldData"] == task_row(task)


def test_another_key_makes_a_copy_which_is_an_insert(published, task):
    first = task.pk
    task.pk = first + 100
    task.save()
    task.pk = None
    task._state.adding = True
    task.save()
    assert [delta["type"] for delta in published.deltas] == ["insert", "insert"]
    assert [delta["data"]["id"] for delta in published.deltas] == [first + 100, task.pk]


def test_json_text_of_jsonify_is_published_as_what_it_says(published):
    country = Country.objects.create(code="es", name="Spain")
    city = City.objects.create(name="Salamanca", country=country)
    assert published.deltas[1] == {
        "type": "insert",
        "model": "City",
        "data": {"id": str(city.pk), "city": "Salamanca", "country": "Spain"},
    }


def test_a_cascade_is_published_row_by_row_in_one_request(published):
    country = Country.objects.create(code="es", name="Spain")
    City.objects.create(name="Salamanca", country=country)
    City.objects.create(name="Zamora", country=country)
    published.clear()
    country.delete()
    [deltas] = published.requests
    assert {delta["type"] for delta in deltas} == {"delete"}
    assert [delta["model"] for delta in deltas] == ["City", "City", "Country"]
    assert {delta["data"].get("city") for delta in deltas} == {"Salamanca", "Zamora", None}


def test_a_deleted_queryset_is_published_row_by_row_in_one_request(published):
    for title in "abc":
        Task.objects.create(title=title)
    published.clear()
    Task.objects.exclude(title="b").delete()
    [deltas] = published.requests
    assert sorted(delta["data"]["title"] for delta in deltas) == ["a", "c"]


def test_a_proxy_publishes_as_the_model_that_holds_the_rows(published, task):
    urgent = UrgentTask.objects.get()
    urgent.title = "Buy wine"
    urgent.save()
    UrgentTask.objects.all().delete()
    assert [(delta["type"], delta["model"]) for delta in published.deltas] == [
        ("update", "Task"),
        ("delete", "Task"),
    ]


def test_a_subscribable_proxy_tells_of_rows_saved_by_the_model_under_it(published):
    Measurement.objects.create(value=1.5).delete()
    Reading.objects.create(value=2.5)
    assert [(d["type"], d["model"], d["data"]["value"]) for d in published.deltas] == [
        ("insert", "Reading", 1.5),
        ("delete", "Reading", 1.5),
        ("insert", "Reading", 2.5),
    ]


@pytest.mark.parametrize("as_text", [False, True])
def test_an_infinity_is_saved_and_published_as_null(published, monkeypatch, as_text):
    if as_text:
        monkeypatch.setattr(Reading, "jsonify", lambda self: json.dumps({"value": self.value}))
    reading = Reading.objects.create(value=float("inf"))
    reading.value = 1.5
    reading.save()
    reading.delete()
    insert, update, _ = published.deltas
    assert insert["data"]["value"] is None
    assert update["oldData"]["value"] is None
    assert update["newData"]["value"] == 1.5


def test_a_child_is_published_as_itself_and_as_its_parent(published):
    restaurant = Restaurant.objects.create(name="Casa Pepe", stars=1)
    parent = {"id": restaurant.pk, "name": "Casa Pepe"}
    child = {"id": restaurant.pk, "name": "Casa Pepe", "stars": 1}
    assert published.requests == [
        [
            {"type": "insert", "model": "Place", "data": parent},
            {"type": "insert", "model": "Restaurant", "data": child},
        ]
    ]
    published.clear()
    restaurant.stars = 2
    restaurant.save()
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("update", "Place"),
        ("update", "Restaurant"),
    ]
    published.clear()
    restaurant.delete()
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("delete", "Restaurant"),
        ("delete", "Place"),
    ]


def test_a_child_made_from_an_existing_parent_updates_the_parent(published):
    place = Place.objects.create(name="Casa Pepe")
    published.clear()
    Restaurant(place_ptr=place, name="Casa Pepe II").save()
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("update", "Place"),
        ("insert", "Restaurant"),
    ]


def test_a_parent_that_is_saved_changes_the_rows_of_its_children(published):
    bar = Bar.objects.create(name="Cheers")
    published.clear()
    place = Place.objects.get(pk=bar.pk)
    place.name = "Moe's"
    place.save()
    restaurant = {"id": bar.pk, "name": "Cheers", "stars": 0}
    assert published.requests == [
        [
            {
                "type": "update",
                "model": "Place",
                "newData": {"id": bar.pk, "name": "Moe's"},
                "oldData": {"id": bar.pk, "name": "Cheers"},
            },
            {
                "type": "update",
                "model": "Restaurant",
                "newData": restaurant | {"name": "Moe's"},
                "oldData": restaurant,
            },
        ]
    ]
    published.clear()
    place.delete()
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("delete", "Restaurant"),
        ("delete", "Place"),
    ]


def test_a_parent_without_children_is_told_alone(published):
    Place.objects.create(name="Casa Pepe").save()
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("insert", "Place"),
        ("update", "Place"),
    ]


def test_a_grandchild_that_is_not_subscribable_is_published_as_its_ancestors(published):
    bar = Bar.objects.create(name="Cheers", beers=7)
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("insert", "Place"),
        ("insert", "Restaurant"),
    ]
    assert published.deltas[1]["data"] == {
        "id": bar.pk,
        "name": "Cheers",
        "stars": 0,
    }


def test_rows_that_a_manager_hides_are_published(published):
    place = Place.objects.create(name="draft")
    place.name = "Casa Pepe"
    place.save()
    assert [d["type"] for d in published.deltas] == ["insert", "update"]


def test_a_fixture_publishes_nothing(published, tmp_path):
    fixture = tmp_path / "cities.json"
    fixture.write_text(
        '[{"model": "taskapp.city", "pk": "c0a80101-0000-4000-8000-000000000000",'
        ' "fields": {"name": "Salamanca", "country": "es"}},'
        ' {"model": "taskapp.country", "pk": "es", "fields": {"name": "Spain"}}]'
    )
    call_command("loaddata", str(fixture), verbosity=0)
    assert City.objects.get().country.name == "Spain"
    assert published.requests == []


def test_a_model_that_is_not_subscribable_publishes_nothing_and_keeps_its_fast_deletion(published):
    Note.objects.create(text="x")
    Note.objects.create(text="y")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        Note.objects.all().delete()
    assert not [query for query in queries if "SELECT" in query["sql"]]
    assert published.requests == []


def test_a_handler_that_saves_again_gives_both_changes(published, task):
    def vote(instance: Task, **kwargs: Any) -> None:
        if instance.votes == 0:
            instance.votes = 1
            instance.save()

    post_save.connect(vote, sender=Task)
    try:
        task.title = "Buy wine"
        task.save()
    finally:
        post_save.disconnect(vote, sender=Task)
    pairs = [(delta["oldData"], delta["newData"]) for delta in published.deltas]
    original = task_row(task)
    titled = task_row(task, title="Buy wine")
    voted = task_row(task, title="Buy wine", votes=1)
    assert sorted(pairs, key=str) == sorted([(original, titled), (titled, voted)], key=str)


def test_a_save_that_fails_leaves_nothing_behind(published, task):
    second = Country.objects.create(code="es", name="Spain")
    published.clear()
    for _ in range(20):
        with pytest.raises(IntegrityError):
            Country(code="es", name="Copy").save(force_insert=True)
        second.name = None
        with pytest.raises(IntegrityError):
            second.save()
    assert published.requests == []
    assert len(pickle.dumps(second)) < 5000
    second.name = "España"
    second.save()
    [delta] = published.deltas
    assert (delta["oldData"]["name"], delta["newData"]["name"]) == ("Spain", "España")


def test_what_jsonify_raises_reaches_the_programmer(published, task, monkeypatch):
    def jsonify(self: Task) -> Any:
        raise LookupError("no such renderer")

    monkeypatch.setattr(Task, "jsonify", jsonify)
    with pytest.raises(LookupError, match="no such renderer"):
        Task.objects.create(title="x")


@pytest.mark.parametrize("value", [[1], "[1]", 7, None])
def test_jsonify_must_give_an_object(published, monkeypatch, value):
    monkeypatch.setattr(Task, "jsonify", lambda self: value)
    with pytest.raises(TypeError, match=r"Task.jsonify\(\) must give an object, got"):
        Task.objects.create(title="x")


def test_the_encoder_of_the_project_encodes_rows(published, monkeypatch):
    monkeypatch.setattr(
        Task,
        "jsonify",
        lambda self: {"price": Decimal("1.50"), "at": datetime.date(2031, 2, 3)},
    )
    Task.objects.create(title="x")
    assert published.deltas[0]["data"] == {"price": "1.50", "at": "2031-02-03"}


def test_models_derived_from_an_abstract_one_publish_their_own_rows(published):
    Remark.objects.create(name="not told")
    topic = Topic.objects.create(name="one")
    topic.name = "two"
    topic.save()
    topic.delete()
    assert [(delta["type"], delta["model"]) for delta in published.deltas] == [
        ("insert", "Topic"),
        ("update", "Topic"),
        ("delete", "Topic"),
    ]


def test_an_abstract_model_is_refused():
    class Base(models.Model):
        class Meta:
            abstract = True
            app_label = "taskapp"

    with pytest.raises(TypeError, match="Base is abstract"):
        subscribable(Base)


def test_a_model_decorated_twice_publishes_once(published):
    assert subscribable(subscribable(Task)) is Task
    Task.objects.create(title="x")
    assert len(published.deltas) == 1


def test_two_models_of_one_name_are_refused_by_name():
    class Task(models.Model):
        class Meta:
            app_label = "staff"

        def jsonify(self) -> dict[str, Any]:
            return {}

    with pytest.raises(
        ImproperlyConfigured, match=r"taskapp\.Task and staff\.Task .*'Task'.*name="
    ):
        subscribable(Task)
    try:
        assert subscribable(name="StaffTask")(Task) is Task
        assert wire_name(Task) == "StaffTask"
    finally:
        registry._names.pop("StaffTask")
        registry._subscribable.pop(Task)


@pytest.fixture
def ticket(published: Any) -> Ticket:
    team = Team.objects.create(name="Ants")
    project = Project.objects.create(name="Hill", team=team)
    Ticket.objects.create(title="elsewhere")
    ticket = Ticket.objects.create(title="Dig", project=project)
    published.clear()
    return ticket


def told(published: Any) -> list[tuple[Any, ...]]:
    return [
        (delta["model"], delta["oldData"], delta["newData"])
        for delta in published.deltas
        if delta["model"] == "WorkTicket"
    ]


def test_a_row_that_is_followed_changes_the_rows_that_show_it(published, ticket):
    row = {"id": ticket.pk, "title": "Dig", "project": "Hill", "team": "Ants"}
    ticket.project.name = "Mountain"
    ticket.project.save()
    assert told(published) == [("WorkTicket", row, row | {"project": "Mountain"})]
    published.clear()
    ticket.project.team.name = "Bees"
    ticket.project.team.save()
    moved = row | {"project": "Mountain"}
    assert told(published) == [("WorkTicket", moved, moved | {"team": "Bees"})]


def test_a_followed_row_that_changes_owner_takes_its_rows_along(published, ticket):
    ticket.project.team = Team.objects.create(name="Bees")
    ticket.project.save()
    [(_, before, after)] = told(published)
    assert (before["team"], after["team"]) == ("Ants", "Bees")


def test_a_followed_row_that_changes_nothing_shown_is_not_told(published, ticket):
    ticket.project.save()
    assert published.requests == []


def test_a_deletion_that_sets_a_followed_key_to_null_is_told(published, ticket):
    ticket.project.delete()
    [(_, before, after)] = told(published)
    assert (before["project"], after["project"]) == ("Hill", None)


def test_a_row_that_a_cascade_changes_is_told_as_it_is_in_the_end(published, ticket):
    ticket.project.team.delete()
    row = {"id": ticket.pk, "title": "Dig", "project": None, "team": None}
    assert {str(after) for _, _, after in told(published)} == {str(row)}


def test_rows_that_are_deleted_with_the_one_they_follow_are_told_once(published):
    country = Country.objects.create(code="es", name="Spain")
    City.objects.create(name="Salamanca", country=country)
    subscribable(follows=["country"])(City)
    published.clear()
    try:
        country.delete()
    finally:
        registry._followers.pop(Country)
    assert [(d["type"], d["model"]) for d in published.deltas] == [
        ("delete", "City"),
        ("delete", "Country"),
    ]


def test_too_many_rows_that_show_one_are_fetched_anew(published, ticket, monkeypatch):
    monkeypatch.setattr(changes, "MAX_DEPENDENTS", 1)
    Ticket.objects.create(title="Carry", project=ticket.project)
    published.clear()
    ticket.project.name = "Mountain"
    ticket.project.save()
    assert published.requests == [[{"type": "reset", "model": "WorkTicket"}]]


def test_only_foreign_keys_can_be_followed():
    with pytest.raises(ImproperlyConfigured, match="Ticket cannot follow 'title': 'title' of Tick"):
        subscribable(name="WorkTicket", follows=["title"])(Ticket)


def test_a_save_outside_a_transaction_reads_and_writes_in_one(published, task):
    with CaptureQueriesContext(connection) as queries:
        task.save()
    statements = [query["sql"].split()[0] for query in queries]
    assert statements[0] == "BEGIN"
    assert statements[-1] == "COMMIT"


def test_concurrent_deletions_on_sqlite_wait_for_each_other(published):
    """SQLite fails a transaction that reads first and writes after somebody else did."""
    failed: list[Exception] = []
    together = threading.Barrier(2)

    def create_and_delete() -> None:
        together.wait(patient(10))
        try:
            for _ in range(10):
                Task.objects.create(title="a").delete()
        except Exception as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=create_and_delete) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(published.deltas) == 40
