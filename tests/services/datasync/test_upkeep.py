"""Positions and tokens are renewed before they are too old; what nobody needs is let go of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from snorky import close_codes
from snorky.brokers import Entry, Position
from snorky.services.datasync import slow_lists
from snorky.wire import encode
from tests.patience import patient
from tests.services.datasync.wire import Site, WirePage, having, insert, task

OPEN, DONE = having("done", False), having("done", True)


async def next_frame(page: WirePage) -> Any:
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0.005)
    return page.frame


# Marks


def test_a_position_that_grows_old_is_renewed() -> None:
    site = Site(log_bytes=4000)
    page, busy = site.page(), site.page()
    answer = page.open_one(site.token(DONE))
    busy.open_one(site.token(OPEN))
    site.look()
    assert page.frames == []
    while site.service.changes.log.halfway == 0:
        site.publish(insert(task(1, done=False)))
    busy.frames  # noqa: B018
    site.look()

    assert page.frame == {"type": "mark", "position": site.head}
    assert busy.frames == []  # its frames carry positions
    site.look()
    assert page.frames == []
    for number in range(30):
        site.publish(insert(task(number, done=False)))
        site.look()
    since = [frame for frame in page.frames if frame["type"] == "mark"][-1]["position"]
    assert site.page().open_one(answer["token"], since=since)["recovered"]


async def test_tokens_are_renewed_at_half_of_their_life() -> None:
    site = Site(resume_ttl=2)
    page = site.page()
    first, second = page.open(site.token(OPEN), site.token(DONE))
    mark = await next_frame(page)

    assert (mark["type"], mark["position"]) == ("mark", site.head)
    assert mark["tokens"].keys() == {str(first["subscription"]), str(second["subscription"])}
    page.leave()
    token = mark["tokens"][str(first["subscription"])]
    async with asyncio.timeout(patient(10)):
        while site.page().open_one(first["token"], since=site.head).get("reason") != "expired":
            await asyncio.sleep(0.05)
    assert site.page().open_one(token, since=site.head)["items"] == first["items"]


async def test_a_renewed_token_is_older_than_a_later_revocation_alone() -> None:
    site = Site(resume_ttl=1)
    page = site.page()
    answer = page.open_one(site.token(subject="ann"))
    site.call("revokeSubscriptions", subject="bob")
    mark = await next_frame(page)
    token = mark["tokens"][str(answer["subscription"])]
    assert site.page().open_one(token)["recovered"]
    site.call("revokeSubscriptions", subject="ann")
    assert site.page().open_one(token)["reason"] == "revoked"


def test_what_has_ended_is_not_waited_for() -> None:
    site = Site()
    page = site.page()
    for _ in range(2000):
        answer = page.open_one(site.token())
        page.close_lists(answer["subscription"])
    assert len(site.service.openings.renewals) <= 1001


# Items


def test_an_item_is_matched_for_a_while_after_its_last_page() -> None:
    site = Site(item_ttl=60)
    page = site.page()
    answer = page.open_one(site.token())
    page.leave()
    site.look()
    site.publish(insert(task(1)))
    back = site.page().open_one(answer["token"], since=answer["position"])
    assert back["items"] == answer["items"]
    assert [change["key"] for change in back["changes"]] == [1]


@pytest.mark.parametrize("item_ttl", [0, 60])
def test_forgotten_or_not_what_was_missed_is_told(item_ttl: float) -> None:
    site = Site(item_ttl=item_ttl)
    page = site.page()
    answer = page.open_one(site.token(OPEN))
    page.leave()
    site.publish(insert(task(1, done=False)), insert(task(2, done=True)))
    site.look()
    site.publish(insert(task(3, done=False)))
    back = site.page().open_one(answer["token"], since=answer["position"])

    assert (back["items"] == answer["items"]) is (item_ttl > 0)
    assert [change["key"] for change in back["changes"]] == [1, 3]


def test_what_is_noted_counts_and_is_let_go_of_with_the_log() -> None:
    site = Site(log_bytes=3000)
    page = site.page()
    (item_id,) = page.open_one(site.token())["items"]
    (item,) = site.service.changes.items
    assert item.id == item_id
    for number in range(50):
        site.publish(insert(task(number)))
    log = site.service.changes.log

    assert log.bytes_kept <= 3000
    assert [note.seq for note in item.notes] == list(range(log.first.seq + 1, 51))
    assert item.known_from == log.first.seq
    assert len(site.service.changes._touched) == len(item.notes) < 20


async def test_the_clock_rests_when_nothing_is_left() -> None:
    site = Site(item_ttl=0, log_seconds=0)
    page = site.page()
    page.open_one(site.token())
    assert site.service.upkeep._timer is not None
    site.publish(insert(task(1)))
    page.leave()
    async with asyncio.timeout(patient(10)):
        while site.service.upkeep._timer is not None:
            await asyncio.sleep(0.02)
    assert site.service.changes.log.bytes_kept == 0


# Slow clients


class Closed:
    """A connection that was cut because its client did not read."""

    close_code = close_codes.SLOW_CLIENT.code


def closed_for_being_slow(page: WirePage) -> None:
    page.connection = Closed()  # type: ignore[attr-defined]
    page.connected = False
    page.service.client_disconnected(page)


def resumed(site: Site, answer: Any) -> tuple[WirePage, Any]:
    page = site.page()
    return page, page.open_one(answer["token"], since=answer.get("position", site.head))


@pytest.fixture
def site() -> Site:
    return Site()


def test_who_is_slow_twice_within_a_minute_fetches_once(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    closed_for_being_slow(page)
    page, answer = resumed(site, answer)
    assert answer["recovered"]
    closed_for_being_slow(page)
    page, refused = resumed(site, answer)
    assert refused == {"recovered": False, "reason": "slow", "after_ms": 0}

    page, again = resumed(site, answer)
    assert again["recovered"]


def test_who_is_slow_now_and_then_catches_up(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(slow_lists, "SECONDS_BETWEEN_SLOW", 0)
    page = site.page()
    answer = page.open_one(site.token())
    for _ in range(3):
        closed_for_being_slow(page)
        page, answer = resumed(site, answer)
        assert answer["recovered"]


def test_who_left_otherwise_is_not_slow(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    for _ in range(3):
        page.leave()
        page, answer = resumed(site, answer)
        assert answer["recovered"]


def test_the_slow_ones_that_are_remembered_are_bounded(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(slow_lists, "MAX_SLOW_LISTS", 3)
    for _ in range(10):
        page = site.page()
        page.open_one(site.token())
        closed_for_being_slow(page)
    assert len(site.service.openings._slow._closed) == 3


# The log begins anew


def test_what_does_not_continue_is_told_lost(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    log = site.service.changes.log
    log.restart(log.head._replace(epoch="another", seq=0, nonce=""))  # type: ignore[attr-defined]

    assert page.frame == {
        "type": "resync",
        "subscriptions": [answer["subscription"]],
        "reason": "lost",
        "after_ms": 0,
    }
    assert site.page().open_one(answer["token"])["reason"] == "epoch"
    again = page.open_one(site.token())
    assert again["recovered"]
    site.publish(insert(task(1)))
    assert [change["key"] for change in page.changes] == [1]


def test_revocations_of_a_former_life_mean_nobody_and_those_kept_beside_the_new_one_do(
    site: Site,
) -> None:
    for _ in range(5):
        site.publish(insert(task(1)))
    site.call("revokeSubscriptions", subject="alice")
    site.call("refreshSubscriptions", subject="alice")
    log = site.service.changes.log
    beside = Entry(Position("another", 2, "n2"), encode({"revoke": {"subject": '"bob"'}}), 0)
    log.restart(log.head._replace(epoch="another", seq=3, nonce="n3"), [beside])  # type: ignore[attr-defined]

    alice = site.page().open_one(site.token(subject="alice"))
    assert alice["recovered"]
    assert "refresh" not in alice
    older = site.token(subject="bob", after="another.1.n1")
    assert site.page().open_one(older, since="another.3.n3")["reason"] == "revoked"
    assert site.page().open_one(site.token(subject="bob"))["recovered"]


def test_an_entry_that_cannot_be_handled_ends_what_is_open(site: Site, expect_log: Any) -> None:
    page = site.page()
    page.open_one(site.token())
    site.service.changes.append({"deltas": [{"type": "of a later version", "model": "Task"}]})
    assert page.frame["reason"] == "lost"
    expect_log('Unhandled exception in the log of service "datasync"')
