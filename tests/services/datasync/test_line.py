"""The line: one job after the other, in slices, and at once where there is little to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from snorky.services.datasync import line as line_module
from snorky.services.datasync.line import Line
from tests.patience import patient
from tests.services.datasync.wire import Site, insert, task


def job(done: list[Any], name: str, steps: int = 1, seconds: float = 0.0) -> Iterator[None]:
    for number in range(steps):
        time.sleep(seconds)
        done.append((name, number))
        yield


def test_what_is_small_is_done_in_the_call() -> None:
    done: list[Any] = []
    assert Line("x").do(job(done, "a", 3)) is None
    assert done == [("a", 0), ("a", 1), ("a", 2)]


async def test_what_is_large_lets_others_take_their_turn(monkeypatch: Any) -> None:
    monkeypatch.setattr(line_module, "SECONDS_PER_SLICE", 0.005)
    line = Line("x")
    done: list[Any] = []
    first = line.do(job(done, "a", 20, 0.002))
    second = line.do(job(done, "b"))
    assert 0 < len(done) < 20
    asyncio.get_running_loop().call_soon(done.append, "bystander")
    assert first is not None
    assert second is not None
    await second
    await first
    assert done.index("bystander") < 20
    done.remove("bystander")
    assert done == [("a", number) for number in range(20)] + [("b", 0)]


async def test_a_job_may_put_another_behind_it() -> None:
    line = Line("x")
    done: list[Any] = []

    def outer() -> Iterator[None]:
        assert line.do(job(done, "inner")) is not None
        done.append("outer")
        yield

    assert line.do(outer()) is None
    assert done == ["outer", ("inner", 0)]


def test_a_job_that_fails_is_logged_and_the_next_is_done(expect_log: Any) -> None:
    line = Line("x")
    done: list[Any] = []

    def fails() -> Iterator[None]:
        yield
        raise ZeroDivisionError

    line.do(fails())
    line.do(job(done, "next"))
    assert done == [("next", 0)]
    expect_log('Unhandled exception in the log of service "x"')


async def test_entries_openings_and_revocations_queue(monkeypatch: Any) -> None:
    site = Site()
    page, late = site.page(), site.page()
    page.open(site.token(subject="ann"))
    token = site.token()
    monkeypatch.setattr(line_module, "SECONDS_PER_SLICE", 0.0)  # every step is a slice
    for service, client, command, params in (
        (site.backend, site.client, "publishDeltas", {"deltas": [insert(task(1))], "key": "a"}),
        (
            site.service,
            late,
            "openSubscriptions",
            {"subscriptions": [{"token": token}]},
        ),
        (site.backend, site.client, "revokeSubscriptions", {"subject": "ann"}),
        (site.backend, site.client, "publishDeltas", {"deltas": [insert(task(2))]}),
    ):
        message = {"command": command, "params": params, "callId": command}
        service.process_message_from(client, message)
    assert page.received == late.received == []
    async with asyncio.timeout(patient(10)):
        while len(late.received) < 2 or len(site.client.received) < 3:
            await asyncio.sleep(0)

    assert [frame["type"] for frame in page.frames] == ["changes", "resync"]
    answer, changes = (envelope["message"] for envelope in late.received)
    assert [change["key"] for change in answer["data"][0]["changes"]] == [1]
    assert [change["key"] for change in changes["changes"]] == [2]
    answers = {each["message"]["callId"]: each["message"]["data"] for each in site.client.received}
    assert answers["publishDeltas"] is None


async def test_a_page_that_leaves_while_it_is_told_takes_nothing_with_it(monkeypatch: Any) -> None:
    site = Site()
    pages = [site.page() for _ in range(200)]
    for number, page in enumerate(pages):
        page.open_one(site.token(["<", "id", number + 1]))  # each with a set of its own
    monkeypatch.setattr(line_module, "SECONDS_PER_SLICE", 0.0)
    message = {"command": "publishDeltas", "params": {"deltas": [insert(task(0))]}, "callId": 1}
    site.backend.process_message_from(site.client, message)
    closing = {"subscriptions": [1, 2, 3]}
    for page in pages:
        site.service.process_message_from(
            page, {"command": "closeSubscriptions", "params": closing, "callId": 2}
        )
    pages[150].leave()
    async with asyncio.timeout(patient(10)):
        while len(site.service.changes.line):
            await asyncio.sleep(0)
    told = [[frame["type"] for frame in page.frames] for page in pages]
    del told[150]  # told or not: it left while they were
    assert told == [["changes"]] * 199


async def test_what_the_log_lets_go_of_while_many_open_is_trimmed(monkeypatch: Any) -> None:
    site = Site(log_bytes=600)
    tokens = [site.token(["<", "id", number]) for number in range(5)]
    site.publish(insert(task(1)))
    page = site.page()
    monkeypatch.setattr(line_module, "SECONDS_PER_SLICE", 0.0)
    opening = {"subscriptions": [{"token": token} for token in tokens]}
    site.service.process_message_from(
        page, {"command": "openSubscriptions", "params": opening, "callId": 1}
    )
    for _ in tokens[1:]:
        site.service.changes.line.advance()  # all are looked at, and nothing is read yet
    message = {"command": "publishDeltas", "params": {"deltas": [insert(task(2, x="x" * 600))]}}
    site.backend.process_message_from(site.client, message | {"callId": 2})
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0)
    answers = page.received[0]["message"]["data"]
    assert {answer.get("reason") for answer in answers} == {"trimmed"}


async def test_an_item_that_is_being_opened_is_not_forgotten(monkeypatch: Any) -> None:
    """Nobody held it for long enough, just when somebody comes."""
    site = Site(item_ttl=0)
    tokens = [site.token(["<", "id", number]) for number in (5, 6)]
    page = site.page()
    monkeypatch.setattr(line_module, "SECONDS_PER_SLICE", 0.0)
    opening = {"subscriptions": [{"token": token} for token in tokens]}
    site.service.process_message_from(
        page, {"command": "openSubscriptions", "params": opening, "callId": 1}
    )
    assert not page.received
    site.look()
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0)
    items = [answer["items"][0] for answer in page.received[0]["message"]["data"]]
    page.received.clear()
    await site.async_call("publishDeltas", deltas=[insert(task(1))])
    (change,) = page.changes
    assert change["in"] == items
