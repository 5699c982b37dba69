"""The database tells what changes, and `manage.py snorky_relay` tells Snorky."""

import json
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import OperationWriter
from django.test.utils import override_settings
from rest_framework.test import APIClient
from taskapp.models import Country, Task

from snorky.backend.django import authorize_subscription, publish_deltas
from snorky.backend.django.models import OutboxRow
from snorky.backend.django.rows import row_text
from snorky.backend.django.triggers import SnorkyTriggers
from snorky.backend.outbox import Relay
from tests.patience import patient


@pytest.fixture(params=["default", "postgres"])
def using(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    with override_settings(SNORKY_OUTBOX="triggers", SNORKY_OUTBOX_DATABASE=request.param):
        yield request.param


@pytest.fixture
def installed(using: str, snorky: Any) -> Iterator[str]:
    manage("snorky_triggers", "install", "Task")
    yield using
    manage("snorky_triggers", "remove", "Task")


def manage(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def outbox(using: str) -> list[Any]:
    rows = OutboxRow.objects.using(using).order_by("id")
    return [(row.model, bool(row.old_data), bool(row.new_data)) for row in rows]


def test_triggers_are_installed_named_and_removed(using, snorky):
    table = "taskapp_task"
    assert manage("snorky_triggers", "install", "Task").startswith(f"{table}: installed")
    Task.objects.using(using).create(title="a")
    with connections[using].cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET votes = 3")
    told = manage("snorky_triggers", "status", "Task", "Country")
    assert f"{table}: installed" in told
    assert "taskapp_country: missing" in told
    assert "Outbox: 2 rows" in told
    assert outbox(using) == [(table, False, True), (table, True, True)]
    assert manage("snorky_triggers", "remove", "Task") == f"{table}: removed\n"
    publish_deltas([{"type": "insert", "model": "Task", "data": {"id": 1}}], using)
    assert outbox(using)[-1:] == [("Task", False, True)], "what is published by hand has a place"


def test_a_child_is_installed_with_the_tables_of_its_parents(using, snorky):
    told = manage("snorky_triggers", "install", "Restaurant")
    assert sorted(line.partition(":")[0] for line in told.splitlines()) == [
        "taskapp_place",
        "taskapp_restaurant",
    ]
    manage("snorky_triggers", "remove", "Restaurant")


def test_a_model_that_is_unknown_is_refused(using):
    with pytest.raises(CommandError, match=r"There is no model Tusk; expected one of .*Task"):
        manage("snorky_triggers", "install", "Tusk")


def test_a_migration_installs_and_removes_them(using, snorky):
    state = ProjectState()
    state.add_model(ModelState.from_model(Country))
    operation = SnorkyTriggers("Country")
    connection = connections[using]
    with connection.schema_editor() as editor:
        operation.database_forwards("taskapp", editor, state, state)
    Country.objects.using(using).create(code="es", name="Spain")
    assert outbox(using) == [("taskapp_country", False, True)]
    with connection.schema_editor() as editor:
        operation.database_backwards("taskapp", editor, state, state)
    assert "missing" in manage("snorky_triggers", "status", "Country")
    assert "SnorkyTriggers" in OperationWriter(operation).serialize()[0]
    call_command("migrate", "snorky", "zero", database=using, verbosity=0)
    call_command("migrate", "snorky", database=using, verbosity=0)


@pytest.fixture
def relaying(installed: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`manage.py snorky_relay`, in a thread."""
    ready = threading.Event()
    relays: list[Relay] = []
    run = Relay.run

    def run_and_note(relay: Relay, snorky: Any, say_ready: Any) -> None:
        relays.append(relay)
        run(relay, snorky, ready.set)

    monkeypatch.setattr(Relay, "run", run_and_note)
    with override_settings(SNORKY_BACKEND_URL=server.backend_url, SNORKY_API_KEY=server.key):
        thread = threading.Thread(target=manage, args=["snorky_relay"], daemon=True)
        thread.start()
        assert ready.wait(patient(10))
        yield
        relays[0].stop()
        thread.join(patient(20))
        relays[0]._wake.close()  # a program leaves that to its end


@pytest.mark.usefixtures("each_fanout")
@pytest.mark.parametrize("server", [True], indirect=True)
def test_what_anybody_writes_reaches_the_page_as_the_api_renders_it(installed, relaying, page):
    page.open(authorize_subscription([{"dealer": "AllTasks", "query": None}]))
    with transaction.atomic(installed):
        task = Task.objects.using(installed).create(title="a", due="2031-02-03")
        with connections[installed].cursor() as cursor:
            cursor.execute("UPDATE taskapp_task SET votes = 3")
    while (frame := page.next_frame())["type"] != "changes":
        pass
    [change] = frame["changes"]
    task.refresh_from_db()
    assert change["data"] == json.loads(row_text(task))
    assert (change["data"]["due"], change["data"]["votes"]) == ("2031-02-03", 3)


@pytest.mark.parametrize("using", ["default"], indirect=True)  # the views'
def test_a_write_is_answered_with_the_key_of_its_transaction(installed):
    middleware = "snorky.backend.django.middleware.SnorkyKeysMiddleware"
    with override_settings(MIDDLEWARE=[middleware]):
        response = APIClient().post("/write/x")
        key = response["X-Snorky-Keys"]
        assert "X-Snorky-Keys" not in APIClient().get("/api/tasks/")
        assert "X-Snorky-Keys" not in APIClient().post("/write/raise")
    assert list(OutboxRow.objects.exclude(tx_key=None).values_list("tx_key", flat=True)) == [key]
