"""The outbox of the ORM from the commit to the page, drained by the project itself."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import override_settings
from rest_framework.test import APIClient
from taskapp.models import Task

from snorky.backend import SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.django import authorize_subscription
from snorky.backend.django.draining import drainer, make_turns
from snorky.backend.django.models import OutboxRow
from snorky.backend.draining.entries import Entry, Found
from snorky.backend.draining.postgresql import PostgreSQLTurn
from snorky.backend.draining.sqlite import SQLiteTurn
from snorky.backend.draining.turns import Turns
from snorky.backend.outbox.table import create_postgresql
from tests.patience import patient

ALONE = {"main": []}
"""A source that is known, and that no page waits for."""

with_source = pytest.mark.parametrize("server", [ALONE], indirect=True)


@pytest.fixture(params=["default", "postgres"])
def using(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres":
        request.getfixturevalue("postgres")
    return request.param


@pytest.fixture
def project(using: str, server: Any) -> Iterator[Any]:
    """A project beside a real Snorky, which it tells what its outbox holds."""
    with override_settings(
        SNORKY_BACKEND_URL=server.backend_url,
        SNORKY_API_KEY=server.key,
        SNORKY_OUTBOX="orm",
        SNORKY_OUTBOX_DATABASE=using,
    ):
        yield server
        drainer.forget()


@pytest.fixture
def turns(project: Any) -> Iterator[Any]:
    """``turns()``: those of one more process."""
    made: list[Turns] = []

    def make() -> Turns:
        made.append(make_turns())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits wake nobody: the test drains by hand."""
    monkeypatch.setattr(drainer, "wake", lambda: None)


def open_all(page: Any) -> Any:
    return page.open(authorize_subscription([{"dealer": "AllTasks", "query": None}]))


def frame_of(page: Any, kind: str) -> Any:
    while (frame := page.next_frame())["type"] != kind:
        pass
    return frame


def titles(frame: Any) -> list[str]:
    return sorted(change["data"]["title"] for change in frame["changes"])


@pytest.mark.usefixtures("each_fanout")
@pytest.mark.parametrize("server", [None, ALONE, True], indirect=True)
def test_what_commits_reaches_the_page_whole_and_in_order(project, page, using, expect_log):
    tasks = Task.objects.using(using)
    tasks.create(title="0")
    assert drainer.drained(patient(10))
    opened = open_all(page)
    assert opened["recovered"]
    if not opened["live"]:  # until a pass of the drainer's has ended
        assert frame_of(page, "live")["subscriptions"] == [opened["subscription"]]
    with transaction.atomic(using):
        tasks.bulk_create([Task(title="a"), Task(title="b")])
        tasks.filter(title="a").update(title="A")
    assert titles(frame_of(page, "changes")) == ["A", "b"]
    tasks.create(title="c")
    assert titles(frame_of(page, "changes")) == ["c"]
    expect_log.all("Rows of the outbox may have been missed")  # numbers begin anew for each test


@with_source
def test_postgresql_forgets_what_was_told_and_sqlite_keeps_it(project, using, quiet, turns):
    Task.objects.using(using).create(title="a")
    assert turns().drain(0) == "told"
    assert OutboxRow.objects.using(using).exists() is (using == "default")
    assert not turns().waits() or using == "default"


@with_source
def test_nothing_is_told_twice_whoever_tells_it(project, using, quiet, turns, caplog):
    first, second = turns(), turns()
    Task.objects.using(using).create(title="a")
    assert first.drain(0) == "told"
    before = authorize_head(project)
    assert second.drain(0) == "told"
    assert first.drain(0) == "told"
    assert authorize_head(project) == before


def authorize_head(project: Any) -> Any:
    transport = SnorkyHTTPTransport(project.backend_url, project.key)
    try:
        return SnorkyBackend(transport).call("datasync_backend", "head")
    finally:
        transport.close()


@with_source
def test_who_slept_and_lost_the_turn_is_refused(project, using, quiet, turns):
    sleeper, other = turns(), turns()
    assert sleeper.drain(0) == "told"
    assert other.drain(0) == "told"
    late = Found(Entry("late", '[{"type":"reset","model":"Task"}]'), {"born": "", "id": 0})
    assert sleeper._append([late]) is False
    assert other._append([late]) is True


@pytest.mark.parametrize(("server", "waits"), [(ALONE, False), (True, True)], indirect=["server"])
def test_a_relay_that_holds_the_lease_is_left_alone(project, using, quiet, turns, waits):
    transport = SnorkyHTTPTransport(project.backend_url, project.key)
    SnorkyBackend(transport).call("datasync_backend", "takeLease", source="main")
    transport.close()
    Task.objects.using(using).create(title="a")
    assert turns().drain(0) == ("relayed" if waits else "busy")
    assert OutboxRow.objects.using(using).exists()
    assert drainer.drained(patient(1)) is waits, "the relay passes before a page is live"


@with_source
def test_an_answer_that_is_lost_doubles_nothing(project, using, quiet, turns, monkeypatch):
    mine, sent = turns(), []
    call = mine._snorky.call_encoded

    def lose_the_first(service: str, command: str, params: str) -> Any:
        sent.append([delta for each in json.loads(params)["entries"] for delta in each["deltas"]])
        call(service, command, params)
        if len(sent) == 1:
            raise RuntimeError("No answer")

    monkeypatch.setattr(mine._snorky, "call_encoded", lose_the_first)
    Task.objects.using(using).create(title="a")
    with pytest.raises(RuntimeError, match="No answer"):
        mine.drain(0)
    mine.outbox.close()
    Task.objects.using(using).create(title="b")
    assert mine.drain(0) == "told"
    assert authorize_head(project).split(".")[1] == "2", "one entry each"
    told = [[delta["data"]["title"] for delta in deltas] for deltas in sent]
    assert told == ([["a"], ["b"]] if using == "default" else [["a"], ["a", "b"]])


@pytest.mark.usefixtures("each_fanout")
@pytest.mark.parametrize("server", [True], indirect=True)
def test_a_page_is_live_soon_though_who_had_the_lease_was_killed(
    project, page, using, turns, monkeypatch
):
    monkeypatch.setattr("snorky.backend.draining.drainer.LOOK_SECONDS", 0.05)
    killed = turns()
    assert killed.drain(0) == "told"
    lease = {"source": "main", "fence": killed.fence}
    killed._snorky.call("datasync_backend", "endLease", **lease)  # it has lapsed
    opened = open_all(page)
    assert not opened["live"]
    drainer._start()
    assert frame_of(page, "live")["subscriptions"] == [opened["subscription"]]


@with_source
def test_a_lease_that_could_not_be_noted_is_not_lost(project, using, quiet, turns, monkeypatch):
    mine = turns()
    Task.objects.using(using).create(title="a")
    kind = SQLiteTurn if using == "default" else PostgreSQLTurn
    with monkeypatch.context() as failing:
        failing.setattr(kind, "save", fail)
        with pytest.raises(OSError, match="No space"):
            mine.drain(0)
    assert mine.drain(0) == "told"


def fail(*_: Any) -> None:
    raise OSError("No space left on device")


@with_source
def test_one_has_the_turn_at_a_time(project, using, quiet, turns):
    first, second = turns(), turns()
    taken, done = threading.Event(), threading.Event()

    def take() -> None:
        with first.outbox.turn(1) as turn:
            assert turn is not None
            taken.set()
            done.wait(patient(10))
        first.close()

    holder = threading.Thread(target=take)
    holder.start()
    assert taken.wait(patient(10))
    assert second.drain(0) == "busy"
    done.set()
    holder.join(patient(10))
    assert second.drain(patient(5)) == "told"


@pytest.mark.parametrize("using", ["postgres"], indirect=True)
@with_source
def test_transactions_are_told_by_their_last_change(project, page, using, quiet, turns):
    """T1 changes b, T2 changes a and commits, T1 changes a and commits."""
    a, b = (Task.objects.using(using).create(title=title) for title in "ab")
    assert turns().drain(0) == "told"
    between, done = threading.Event(), threading.Event()

    def second() -> None:
        assert between.wait(patient(10))
        Task.objects.using(using).filter(pk=a.pk).update(votes=2)
        connections[using].close()
        done.set()

    other = threading.Thread(target=second)
    other.start()
    with transaction.atomic(using):
        Task.objects.using(using).filter(pk=b.pk).update(votes=1)
        between.set()
        assert done.wait(patient(10))
        Task.objects.using(using).filter(pk=a.pk).update(votes=1)
    other.join(patient(10))
    with turns().outbox.turn(0) as turn:
        told = [json.loads(found.entry.deltas) for found in turn.read(None)]
    assert [[delta["newData"]["votes"] for delta in deltas] for deltas in told] == [[2], [1, 1]]
    assert told[1][1]["oldData"]["votes"] == 2


@with_source
def test_a_transaction_that_is_too_large_is_a_reset(project, using, quiet, turns):
    text = "a" * 200_000
    Task.objects.using(using).bulk_create(
        [Task(title="a", details={"text": text}) for _ in range(6)]
    )
    with turns().outbox.turn(0) as turn:
        [(entry, *_)] = turn.read(None)
    assert {(delta["type"], delta["model"]) for delta in json.loads(entry.deltas)} == {
        ("reset", "Task")
    }
    assert len(entry.deltas) < 1_000


@pytest.mark.parametrize("using", ["postgres"], indirect=True)
@with_source
def test_what_was_told_does_not_fill_the_outbox(project, using, quiet, turns):
    with connections[using].cursor() as cursor:
        for statement in create_postgresql("public", 150_000):
            cursor.execute(statement)
    mine, told = turns(), []
    for number in range(4):
        Task.objects.using(using).create(title=f"{number}", details={"text": "a" * 100_000})
        with mine.outbox.turn(0) as turn:
            told += [json.loads(found.entry.deltas)[0]["type"] for found in turn.read(None)]
        assert mine.drain(0) == "told"
    with connections[using].cursor() as cursor:
        for statement in create_postgresql("public"):
            cursor.execute(statement)
    assert told == ["insert"] * 4


@pytest.mark.parametrize("using", ["default"], indirect=True)
@with_source
def test_where_sqlite_has_trimmed_what_was_not_told_all_models_are_reset(
    project, using, quiet, turns, expect_log
):
    Task.objects.create(title="a")
    place = {"born": "another life", "id": 0}
    with turns().outbox.turn(0) as turn:
        [(entry, *_)] = turn.read(place)
    assert {"type": "reset", "model": "Task"} in json.loads(entry.deltas)
    assert all(delta["type"] == "reset" for delta in json.loads(entry.deltas))
    expect_log("Rows of the outbox may have been missed")


@pytest.mark.usefixtures("each_fanout")
@with_source
def test_a_database_that_was_restored_from_an_older_copy_is_a_reset(
    project, page, using, quiet, turns, tmp_path, expect_log
):
    opened = open_all(page)
    tasks = Task.objects.using(using)
    tasks.create(title="kept")
    mine = turns()
    assert mine.drain(0) == "told"
    with older_copy(using, tmp_path):
        tasks.create(title="lost")
        assert mine.drain(0) == "told"
        assert not mine.waits()
    assert mine.waits()
    assert (mine if using == "default" else turns()).drain(0) == "told"
    assert frame_of(page, "resync") == {
        "type": "resync",
        "subscriptions": [opened["subscription"]],
        "reason": "reset",
        "after_ms": 0,
    }
    tasks.create(title="after")
    assert mine.drain(0) == "told"
    expect_log("Rows of the outbox may have been missed")


@contextmanager
def older_copy(using: str, folder: Path) -> Iterator[None]:
    """Undo what was written meanwhile, in a way that no transaction is."""
    file = Path(connections[using].settings_dict["NAME"])
    if using == "default":
        connections[using].close()
        shutil.copy(file, folder / "copy")
        yield
        connections[using].close()
        shutil.copy(folder / "copy", file)
        return
    state = "SELECT value FROM snorky_outbox_state WHERE name = 'drainer'"
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT last_value FROM snorky_outbox_id_seq")
        [newest] = cursor.fetchone()
        cursor.execute(state)
        [before] = cursor.fetchone()
        yield
        Task.objects.using(using).filter(title="lost").delete()
        cursor.execute("DELETE FROM snorky_outbox")
        cursor.execute("SELECT setval('snorky_outbox_id_seq', %s)", [newest])
        cursor.execute(
            f"UPDATE snorky_outbox_state SET value = %s WHERE value = ({state})", [before]
        )


@pytest.mark.parametrize("using", ["postgres"], indirect=True)
@with_source
def test_no_more_is_told_at_once_than_the_log_knows_when_it_is_told_again(
    project, using, quiet, turns, monkeypatch
):
    for module in ("entries", "postgresql", "turns"):
        monkeypatch.setattr(f"snorky.backend.draining.{module}.STEP_ENTRIES", 2)
    for title in "abcde":
        Task.objects.using(using).create(title=title)
    mine, left = turns(), []
    append = mine._append

    def appended(step: Any) -> bool:
        seen = threading.Thread(target=look)
        seen.start()
        seen.join(patient(10))
        return append(step)

    def look() -> None:
        left.append(OutboxRow.objects.using(using).count())
        connections[using].close()

    monkeypatch.setattr(mine, "_append", appended)
    assert mine.drain(0) == "told"
    assert left == [5, 3, 1]


def test_while_snorky_is_away_writes_succeed_and_are_told_when_it_is_back(
    project, using, nobody, caplog
):
    with override_settings(SNORKY_BACKEND_URL=nobody):
        Task.objects.using(using).create(title="a")
        assert not drainer.drained(patient(2))
    [line] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "The outbox waits: " in line.getMessage()
    caplog.clear()
    drainer.wake()
    assert drainer.drained(patient(10))
    assert authorize_head(project).split(".")[1] == "1"


@pytest.mark.parametrize("using", ["default"], indirect=True)  # the views'
@with_source
def test_a_view_answers_with_a_token_when_all_that_it_saw_was_told(project, using, quiet, turns):
    Task.objects.create(title="a")
    response = APIClient().get("/api/live-tasks/", headers={"X-Snorky": "Subscribe"})
    assert "X-Subscription-Token" in response
    assert authorize_head(project).split(".")[1] == "1"


@pytest.mark.parametrize("using", ["default"], indirect=True)  # the views'
@with_source
def test_a_view_answers_without_a_token_where_it_cannot_be_told_in_time(
    project, using, quiet, turns, caplog, monkeypatch
):
    monkeypatch.setattr("snorky.backend.draining.drainer.PATIENCE_SECONDS", 0.05)
    with turns().outbox.turn(0):
        response = APIClient().get("/api/live-tasks/", headers={"X-Snorky": "Subscribe"})
    assert "X-Subscription-Token" not in response
    assert "changes are not published yet" in caplog.text
    caplog.clear()


@pytest.mark.usefixtures("each_fanout")
@pytest.mark.parametrize("using", ["default"], indirect=True)  # the views'
@pytest.mark.parametrize("server", [None, ALONE], indirect=True)
def test_a_write_is_answered_with_a_key_that_its_page_can_wait_for(project, page, using):
    middleware = "snorky.backend.django.middleware.SnorkyKeysMiddleware"
    with override_settings(MIDDLEWARE=[middleware]):
        response = APIClient().post("/write/x")
    [key] = response["X-Snorky-Keys"].split(",")
    position = page.call("datasync", "awaitKeys", keys=[key], timeout=patient(10))
    assert position.split(".")[1] == "1"
