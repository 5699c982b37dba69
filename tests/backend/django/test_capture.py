"""Which rows the outbox of the ORM gets, whatever the ORM is told to do."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import F
from django.test.utils import CaptureQueriesContext, override_settings
from taskapp.models import (
    Account,
    Article,
    Bar,
    City,
    Country,
    Label,
    Note,
    Place,
    Project,
    Restaurant,
    Seat,
    Task,
    Team,
    Ticket,
    UrgentTask,
)

from snorky.backend.django import publish_deltas, reset_models, subscribable
from snorky.backend.django.draining import drainer
from snorky.backend.django.models import OutboxRow
from snorky.backend.entries import MAX_ENTRY_BYTES
from tests.patience import patient


class Outbox:
    """What stands in the outbox, as deltas."""

    def __init__(self, using: str) -> None:
        self.using = using

    @property
    def rows(self) -> list[tuple[str | None, Any, Any]]:
        rows = OutboxRow.objects.using(self.using).order_by("id")
        return [(row.model, _row(row.old_data), _row(row.new_data)) for row in rows]

    @property
    def titles(self) -> list[tuple[Any, Any]]:
        return [tuple(row and row.get("title") for row in rows) for _, *rows in self.rows]

    def clear(self) -> None:
        OutboxRow.objects.using(self.using).all().delete()


def _row(text: str | None) -> Any:
    return None if text is None else json.loads(text)


@pytest.fixture(params=["default", "postgres"])
def outbox(
    request: pytest.FixtureRequest, snorky: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Outbox]:
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    with override_settings(SNORKY_OUTBOX="orm", SNORKY_OUTBOX_DATABASE=request.param):
        monkeypatch.setattr(drainer, "wake", lambda: None)  # nobody reads what the tests look at
        if "Article" not in str(subscribable_names()):
            subscribable(follows=["labels"])(Article)
        yield Outbox(request.param)


def subscribable_names() -> list[str]:
    from snorky.backend.django import registry

    return list(registry.subscribable_models())


@pytest.fixture
def tasks(outbox: Outbox) -> models.QuerySet[Task]:
    tasks = Task.objects.using(outbox.using).order_by("title")
    tasks.bulk_create([Task(title=title, votes=number) for number, title in enumerate("abc")])
    outbox.clear()
    return tasks


def test_a_save_is_told_as_the_row_that_the_database_has(outbox):
    task = Task(title="a", votes=3)
    task.save(using=outbox.using)
    task.votes = F("votes") + 1
    task.save()
    task.delete()
    before, after = ({"id": 1, "votes": votes} for votes in (3, 4))
    [(name, nothing, first), (_, old, new), (_, last, gone)] = outbox.rows
    assert (name, nothing, gone) == ("Task", None, None)
    assert first == old
    assert (old["votes"], new["votes"]) == (before["votes"], after["votes"])
    assert last == new


def test_a_save_of_what_is_the_same_tells_nothing(outbox, tasks):
    tasks[0].save()
    assert outbox.rows == []


def test_what_is_rolled_back_was_never_told(outbox, tasks):
    with transaction.atomic(outbox.using):
        tasks.filter(title="a").update(votes=9)
        with pytest.raises(IntegrityError):
            write_and_fail(tasks)
    assert outbox.titles == [("a", "a")]


def write_and_fail(tasks: models.QuerySet[Task]) -> None:
    with transaction.atomic(tasks.db):
        tasks.filter(title="b").update(votes=9)
        tasks.update(title=None)


def test_bulk_create_tells_every_row(outbox):
    made = Task.objects.using(outbox.using).bulk_create([Task(title="a"), Task(title="b")])
    assert [new["id"] for _, _, new in outbox.rows] == [task.pk for task in made]
    assert outbox.titles == [(None, "a"), (None, "b")]


def test_bulk_update_tells_the_rows_before_and_after(outbox, tasks):
    changed = list(tasks)
    for task in changed:
        task.title = task.title.upper()
    tasks.bulk_update(changed, ["title"])
    assert outbox.titles == [("a", "A"), ("b", "B"), ("c", "C")]


def test_update_tells_the_rows_that_it_changed(outbox, tasks):
    assert tasks.filter(votes__gte=1).update(title=F("title"), votes=F("votes") + 1) == 2
    assert [(old["votes"], new["votes"]) for _, old, new in outbox.rows] == [(1, 2), (2, 3)]


def test_update_of_a_proxy_tells_the_rows_of_the_model(outbox, tasks):
    UrgentTask.objects.using(outbox.using).filter(title="a").update(votes=7)
    assert [(name, new["votes"]) for name, _, new in outbox.rows] == [("Task", 7)]


def test_delete_of_a_queryset_tells_the_rows(outbox, tasks):
    tasks.filter(votes__lt=2).delete()
    assert outbox.titles == [("a", None), ("b", None)]
    tasks._raw_delete(outbox.using)
    assert outbox.titles[2:] == [("c", None)]


def test_a_row_that_another_has_deleted_is_none(outbox, tasks):
    mine = tasks.get(title="a")
    tasks.filter(title="a").delete()
    outbox.clear()
    assert mine.delete()[0] == 0
    assert tasks.filter(title="a").update(votes=1) == 0
    assert outbox.rows == []


def test_more_rows_than_are_told_are_a_reset(outbox, tasks, monkeypatch):
    monkeypatch.setattr("snorky.backend.django.capture.MAX_ROWS", 2)
    tasks.update(votes=5)
    assert list(tasks.values_list("votes", flat=True)) == [5, 5, 5]
    tasks.bulk_create([Task(title=title) for title in "def"])
    tasks.all().delete()
    assert outbox.rows == [("Task", None, None)] * 2 + outbox.rows[2:]
    assert not tasks.exists()


def test_a_changed_key_is_a_reset(outbox):
    countries = Country.objects.using(outbox.using)
    countries.create(code="es", name="Spain")
    outbox.clear()
    countries.update(code="pt")
    assert ("Country", None, None) in outbox.rows


def test_what_may_have_been_there_is_a_reset(outbox, tasks):
    tasks.bulk_create([Task(id=tasks[0].pk, title="z")], ignore_conflicts=True)
    assert outbox.rows == [("Task", None, None)]
    outbox.clear()
    again = {"update_conflicts": True, "unique_fields": ["id"], "update_fields": ["title"]}
    tasks.bulk_create([Task(id=tasks[0].pk, title="z")], **again)
    assert outbox.rows == [("Task", None, None)]


def test_a_cascade_tells_every_row(outbox):
    country = Country.objects.using(outbox.using).create(code="es", name="Spain")
    for name in ("Salamanca", "Zamora"):
        City.objects.using(outbox.using).create(name=name, country=country)
    outbox.clear()
    country.delete()
    told = outbox.rows
    assert sorted(old.get("city", "") for _, old, _ in told) == ["", "Salamanca", "Zamora"]
    assert all(new is None for _, _, new in told)


def test_rows_that_lose_what_they_refer_to_are_told(outbox):
    team = Team.objects.using(outbox.using).create(name="A")
    project = Project.objects.using(outbox.using).create(name="P", team=team)
    Ticket.objects.using(outbox.using).create(title="t", project=project)
    outbox.clear()
    project.delete()
    assert [(old["project"], new["project"]) for _, old, new in outbox.rows] == [("P", None)]


def test_rows_that_show_another_are_told_with_it(outbox):
    team = Team.objects.using(outbox.using).create(name="A")
    project = Project.objects.using(outbox.using).create(name="P", team=team)
    Ticket.objects.using(outbox.using).create(title="t", project=project)
    outbox.clear()
    Team.objects.using(outbox.using).update(name="B")
    told = {name: (old, new) for name, old, new in outbox.rows}
    assert set(told) == {"Team", "WorkTicket"}
    assert [row["team"] for row in told["WorkTicket"]] == ["A", "B"]


def test_parts_of_a_row_that_parents_hold_are_told(outbox):
    bar = Bar(name="Lolita", stars=1, beers=2)
    bar.save(using=outbox.using)
    outbox.clear()
    bars = Bar.objects.using(outbox.using)
    bars.update(name="Lola", stars=2, beers=3)
    told = {name: (old, new) for name, old, new in outbox.rows}
    assert set(told) == {"Place", "Restaurant"}
    assert [row["name"] for row in told["Place"]] == ["Lolita", "Lola"]
    assert [(row["name"], row["stars"]) for row in told["Restaurant"]] == [
        ("Lolita", 1),
        ("Lola", 2),
    ]
    outbox.clear()
    Place.objects.using(outbox.using).get().delete()
    assert sorted((name, new) for name, _, new in outbox.rows) == [
        ("Place", None),
        ("Restaurant", None),
    ]


def test_a_new_child_is_a_new_row_of_each_parent(outbox):
    Restaurant(name="Lolita", stars=1).save(using=outbox.using)
    assert [(name, old, new["name"]) for name, old, new in outbox.rows] == [
        ("Place", None, "Lolita"),
        ("Restaurant", None, "Lolita"),
    ]


def test_many_to_many_relations_are_told_where_asked(outbox):
    article = Article.objects.using(outbox.using).create(title="t")
    new, old = (Label.objects.using(outbox.using).create(name=name) for name in ("new", "old"))
    outbox.clear()
    article.labels.add(new, old)
    old.article_set.remove(article)
    article.labels.set([old])
    Label.objects.using(outbox.using).filter(pk=old.pk).update(name="older")
    old.delete()
    shown = [(before["labels"], after["labels"]) for _, before, after in outbox.rows]
    assert shown == [
        ([], ["new", "old"]),
        (["new", "old"], ["new"]),
        (["new"], []),
        ([], ["old"]),
        (["old"], ["older"]),
        (["older"], []),
    ]


def test_a_key_of_two_columns_and_a_null_in_the_place_of_a_reference(outbox):
    Seat.objects.using(outbox.using).create(row=1, number=2)
    Seat.objects.using(outbox.using).update(taken=True)
    assert [(old and old["taken"], new["taken"]) for _, old, new in outbox.rows] == [
        (None, False),
        (False, True),
    ]
    outbox.clear()
    account = Account.objects.using(outbox.using).create()
    Article.objects.using(outbox.using).create(title="t", reviewer=account)
    outbox.clear()
    account.delete()
    assert [name for name, *_ in outbox.rows] == ["Account"]  # the article looks the same


def test_models_that_nobody_subscribes_to_cost_no_query(outbox):
    with CaptureQueriesContext(connections[outbox.using]) as queries:
        Note.objects.using(outbox.using).filter(text="a").update(text="b")
    assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]


def test_a_row_that_cannot_be_rendered_is_a_reset_and_a_line_in_the_log(
    outbox, tasks, monkeypatch, caplog
):
    monkeypatch.setattr(Task, "jsonify", lambda task: 1 / 0)
    tasks.update(votes=8)
    assert outbox.rows == [("Task", None, None)]
    assert list(tasks.values_list("votes", flat=True)) == [8, 8, 8]
    assert "A row of Task cannot be rendered" in caplog.text
    caplog.clear()


def test_a_row_that_is_too_large_is_a_reset(outbox, tasks):
    tasks.filter(title="a").update(details={"text": "a" * MAX_ENTRY_BYTES})
    assert outbox.rows == [("Task", None, None)]


def test_what_is_published_by_hand_goes_the_same_way(outbox):
    with transaction.atomic(outbox.using):
        publish_deltas([{"type": "insert", "model": "Task", "data": {"id": 1}}], outbox.using)
        reset_models("Team", using=outbox.using)
    assert outbox.rows == [("Task", None, {"id": 1}), ("Team", None, None)]


def test_fixtures_are_told(outbox, tmp_path):
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([{"model": "taskapp.task", "pk": 7, "fields": {"title": "a"}}]))
    call_command("loaddata", file, database=outbox.using, verbosity=0)
    assert outbox.titles == [(None, "a")]


def test_the_models_of_a_migration_are_a_reset(outbox, tasks):
    state = ProjectState()
    state.add_model(ModelState.from_model(Task))
    then = state.apps.get_model("taskapp", "Task")
    then.objects.using(outbox.using).filter(title="a").update(title="z")
    assert outbox.rows == [("Task", None, None)]


def test_an_update_changes_the_rows_that_it_locked_and_no_others(outbox, tasks):
    """Another transaction takes a row out of the condition, and a third one in, meanwhile."""
    if outbox.using == "default":
        return  # SQLite has one writer
    started, done = threading.Event(), threading.Event()

    def meanwhile() -> None:
        with transaction.atomic(outbox.using):
            Task.objects.using(outbox.using).filter(title="a").update(votes=100)
            Task.objects.using(outbox.using).create(title="d", votes=0)
            started.set()
            done.wait(patient(0.3))
        connections[outbox.using].close()

    other = threading.Thread(target=meanwhile)
    other.start()
    assert started.wait(patient(10))
    assert tasks.filter(votes__lte=1).update(title="z") == 1
    other.join(patient(10))
    told = [(old["title"], new["title"]) for _, old, new in outbox.rows if old]
    assert told == [("a", "a"), ("b", "z")]
    assert list(tasks.values_list("title", "votes")) == [("a", 100), ("c", 2), ("d", 0), ("z", 1)]
