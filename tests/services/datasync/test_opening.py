"""Tokens are opened: what the answer says, and what it refuses."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest

from snorky.brokers import Entry, Position
from snorky.brokers.memory import MemoryBroker, MemoryLog
from snorky.metrics import metrics
from snorky.services.base import RPCError
from snorky.services.datasync import openings
from snorky.testing import async_call, call
from snorky.wire import encode
from tests.patience import patient
from tests.services.datasync.wire import (
    ALL,
    Site,
    delete,
    having,
    insert,
    is_in,
    is_out,
    reset,
    task,
    update,
)

OPEN, DONE = having("done", False), having("done", True)


@pytest.fixture
def site() -> Site:
    return Site()


def refusal(reason: str) -> dict[str, Any]:
    return {"recovered": False, "reason": reason, "after_ms": 0}


def test_an_answer_says_all_that_a_page_needs(site: Site) -> None:
    token = site.token()
    site.publish(insert(task(1)))
    answer = site.page().open_one(token)
    (item,) = answer["items"]

    assert answer == {
        "recovered": True,
        "subscription": answer["subscription"],
        "items": [item],
        "position": site.head,
        "token": answer["token"],
        "live": True,
        "changes": [is_in(task(1), item)],
    }


def test_several_are_answered_in_their_order_at_one_position(site: Site) -> None:
    tokens = [site.token(OPEN), "no token at all, but long enough", site.token(DONE)]
    site.publish(insert(task(1, done=True)))
    first, second, third = site.page().open(*tokens)

    assert second == refusal("invalid")
    assert first["position"] == third["position"] == site.head
    assert (first["changes"], third["changes"]) == (
        [],
        [is_in(task(1, done=True), *third["items"])],
    )
    assert first["subscription"] != third["subscription"]


def test_equal_queries_are_one_item_for_every_page(site: Site) -> None:
    first, second = site.page().open(site.token(OPEN), site.token(DONE))
    third = site.page().open_one(site.token(["==", "done", False]))

    assert first["items"] == third["items"] != second["items"]


def test_changes_tell_the_rows_as_they_are_now(site: Site) -> None:
    token = site.token(OPEN)
    site.publish(insert(task(1, done=False)), insert(task(2, done=False)))
    site.publish(update(task(1, done=False, n=2), task(1, done=False)))
    site.publish(update(task(2, done=True), task(2, done=False)))
    site.publish(insert(task(3, done=True)))
    answer = site.page().open_one(token)
    (item,) = answer["items"]

    assert sorted(answer["changes"], key=lambda change: change["key"]) == [
        is_in(task(1, done=False, n=2), item),
        is_out(2, item),
    ]


def test_a_row_that_came_and_went_is_told_out(site: Site) -> None:
    """The page's query may have been made between the two."""
    token = site.token(OPEN)
    site.publish(insert(task(1, done=False)))
    site.publish(delete(task(1, done=False)))
    answer = site.page().open_one(token)

    assert answer["changes"] == [is_out(1, *answer["items"])]


def test_a_row_in_one_of_its_items_and_out_of_another_is_one_change(site: Site) -> None:
    token = site.tokens(("Tasks", OPEN), ("Tasks", DONE))
    site.publish(update(task(1, done=True), task(1, done=False)))
    answer = site.page().open_one(token)
    of_open, of_done = answer["items"]

    assert answer["changes"] == [is_in(task(1, done=True), of_done, out=[of_open])]


def test_what_is_known_of_an_item_need_not_be_looked_for(site: Site) -> None:
    """Items are matched from the first page on; the second catches up from the item's notes."""
    early = site.token(OPEN)
    site.publish(insert(task(1, done=False)))
    late = site.token(OPEN)
    site.page().open_one(late)
    site.publish(insert(task(2, done=False)))

    answer = site.page().open_one(early)
    assert [change["key"] for change in answer["changes"]] == [1, 2]
    assert [change["key"] for change in site.page().open_one(late)["changes"]] == [2]


def test_the_answer_comes_before_every_frame_of_its_items(site: Site) -> None:
    page = site.page()
    message = {
        "command": "openSubscriptions",
        "params": {"subscriptions": [{"token": site.token()}]},
        "callId": 0,
    }
    site.service.process_message_from(page, message)
    site.publish(insert(task(1)))

    types = [envelope["message"]["type"] for envelope in page.received]
    assert types == ["response", "changes"]


def test_a_lost_answer_is_simply_asked_for_again(site: Site) -> None:
    token = site.token()
    page = site.page()
    first = page.open_one(token)
    assert page.frames == []
    second = page.open_one(token)

    assert second["recovered"]
    assert page.frame == {
        "type": "resync",
        "subscriptions": [first["subscription"]],
        "reason": "replaced",
        "after_ms": 0,
    }
    site.publish(insert(task(1)))
    assert page.changes == [is_in(task(1), *second["items"])]


def test_a_transaction_is_one_frame_after_the_only_list_was_asked_for_again(site: Site) -> None:
    token = site.token(OPEN)
    page = site.page()
    page.open_one(token)
    page.open_one(token)
    page.open_one(site.token())
    assert [frame["type"] for frame in page.frames] == ["resync"]
    site.publish(insert(task(1, done=False)))

    assert [frame["type"] for frame in page.frames] == ["changes"]


def test_a_duplicated_tab_takes_the_subscription_over(site: Site) -> None:
    tab, copy = site.page(), site.page()
    answer = tab.open_one(site.token())
    taken = copy.open_one(answer["token"], since=answer["position"], live=True)
    assert (taken["recovered"], taken["live"]) == (True, True)
    assert (tab.frame["reason"], copy.frames) == ("replaced", [])

    site.publish(insert(task(1)))
    assert tab.frames == []
    assert len(copy.changes) == 1


def test_the_last_of_the_same_token_in_a_call_is_opened(site: Site) -> None:
    token = site.token()
    page = site.page()
    first, second = page.open(token, token)

    assert first == refusal("replaced")
    assert second["recovered"]
    assert page.frames == []


# Coming back


def test_a_page_comes_back_where_it_was(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token(OPEN))
    site.publish(insert(task(1, done=False)))
    since = page.frame["position"]
    page.leave()
    site.publish(insert(task(2, done=False)))

    back = site.page().open_one(answer["token"], since=since)
    assert back["changes"] == [is_in(task(2, done=False), *back["items"])]
    assert back["position"] == site.head


def test_all_who_come_back_are_told_what_each_of_them_has_missed(site: Site) -> None:
    """What many are told is made once, and goes on with what happens while they come."""
    chance = random.Random(1)  # no secret
    site.page().open_one(site.token(OPEN))
    rows: dict[int, bool] = {}
    heard, written = [site.head], [-1]
    for _ in range(150):
        key, done = chance.randrange(6), chance.random() < 0.5
        new, old = task(key, done=done), task(key, done=rows.get(key))
        site.publish(update(new, old) if key in rows else insert(new))
        if not (done and rows.get(key, True)):
            written.append(key)
            heard.append(site.head)
        rows[key] = done
        place = len(heard) - 1 - chance.randrange(min(8, len(heard)))
        back = site.page().open_one(site.token(OPEN), since=heard[place])
        told = {change["key"]: bool(change["in"]) for change in back["changes"]}
        assert told == {key: not rows[key] for key in written[place + 1 :]}


def test_a_young_token_is_answered_as_it_is(site: Site) -> None:
    first = site.token(OPEN)
    page = site.page()
    resumed = page.open_one(first)
    page.leave()
    back = site.page().open_one(resumed["token"], since=site.head)

    assert resumed["token"] != first
    assert back["token"] == resumed["token"]


def test_a_token_is_renewed_that_is_old_or_signed_with_a_former_key() -> None:
    site = Site(token_key=["old"], resume_ttl=3600)
    token = site.page().open_one(site.token(OPEN))["token"]
    site.service.sign_with(["new", "old"])
    signed_anew = site.page().open_one(token, since=site.head)["token"]
    assert signed_anew != token
    assert site.page().open_one(signed_anew, since=site.head)["token"] == signed_anew

    patient_site = Site(token_key=["new"], resume_ttl=3 * 3600, broker=site.service.broker)
    assert patient_site.page().open_one(signed_anew, since=site.head)["token"] != signed_anew


def test_nothing_happened_meanwhile(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    page.leave()
    back = site.page().open_one(answer["token"], since=answer["position"], live=True)

    assert back["changes"] == []
    assert back["items"] == answer["items"]


def test_a_page_that_left_hears_nothing_more(site: Site) -> None:
    page, other = site.page(), site.page()
    page.open_one(site.token())
    other.open_one(site.token())
    page.connected = True  # a service is told, whatever the client believes
    site.service.client_disconnected(page)
    site.publish(insert(task(1)))

    assert page.frames == []
    assert len(other.changes) == 1


# Closing


def test_nothing_follows_of_what_was_closed(site: Site) -> None:
    page = site.page()
    of_open, of_done = page.open(site.token(OPEN), site.token(DONE))
    page.close_lists(of_open["subscription"], 12345, "x", None)
    site.publish(insert(task(1, done=False)), insert(task(2, done=True)))

    assert page.changes == [is_in(task(2, done=True), *of_done["items"])]
    page.close_lists(of_done["subscription"])
    site.publish(insert(task(3, done=True)))
    assert page.frames == []


def test_one_page_does_not_close_another_s(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    site.page().close_lists(answer["subscription"])
    site.publish(insert(task(1)))

    assert len(page.changes) == 1


def test_what_was_closed_can_be_opened_again(site: Site) -> None:
    page = site.page()
    answer = page.open_one(site.token())
    page.close_lists(answer["subscription"])
    site.publish(insert(task(1)))
    again = page.open_one(answer["token"], since=answer["position"])

    assert [change["key"] for change in again["changes"]] == [1]
    assert page.frames == []


# Refusals


@pytest.mark.parametrize(
    "text", ["", "x" * 43, "x" * 2000, "größer" * 10, 5, None, ["x"], {"token": "x"}]
)
def test_what_is_no_token_is_invalid(site: Site, text: Any) -> None:
    good = site.token()
    answers = site.page().open({"token": text}, good)

    assert answers[0] == refusal("invalid")
    assert answers[1]["recovered"]


def test_what_is_no_object_is_invalid(site: Site) -> None:
    assert site.page().open(None, 5) == [refusal("invalid")] * 2


def test_a_token_that_was_tampered_with_is_invalid(site: Site) -> None:
    token = site.token()
    for place in range(0, len(token), 7):
        letter = "A" if token[place] != "A" else "B"
        tampered = token[:place] + letter + token[place + 1 :]
        assert site.page().open_one(tampered)["reason"] in ("invalid", "epoch")


@pytest.mark.parametrize("since", ["", "x", 5, "a.b.c"])
def test_what_is_no_position_is_invalid(site: Site, since: Any) -> None:
    assert site.page().open_one(site.token(), since=since) == refusal("invalid")


def test_a_token_of_another_epoch_says_so_whatever_else_is_wrong() -> None:
    token = Site().token(subject="ann")
    site = Site()  # it signs with another key, too
    assert site.page("bob").open_one(token) == refusal("epoch")


def test_a_position_of_another_epoch_says_so(site: Site) -> None:
    site.publish(insert(task(1)))
    ours = Position.parse(site.head)
    for wrong in (Site().head, str(ours._replace(nonce="another"))):
        assert site.page().open_one(site.token(), since=wrong) == refusal("epoch")


def test_a_first_token_must_be_opened_in_time() -> None:
    site = Site(interval=-2)
    assert site.page().open_one(site.token()) == refusal("expired")


def test_a_resume_token_is_good_for_as_long_as_was_said() -> None:
    site = Site(resume_ttl=-2)
    page = site.page()
    answer = page.open_one(site.token())
    assert answer["recovered"]
    page.leave()

    assert site.page().open_one(answer["token"]) == refusal("expired")


@pytest.mark.parametrize(
    ("subject", "identity", "opens"),
    [
        ("ann", "ann", True),
        ("ann", "bob", False),
        ({"id": 1.0, "a": [2]}, {"a": [2], "id": 1}, True),
        (1, True, False),
        (1, "1", False),
        ("ann", None, True),
        (None, "ann", True),
        ("ann", object(), False),
    ],
)
def test_subject_and_identity_must_agree_where_there_are_both(
    site: Site, subject: Any, identity: Any, opens: bool
) -> None:
    token = site.token(subject=subject)
    answer = site.page(identity).open_one(token)
    assert answer == refusal("subject") if not opens else answer["recovered"]

    if opens:
        return
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(identity), "acquireSubscription", token=token)


def test_what_the_log_let_go_of_is_trimmed() -> None:
    site = Site(log_bytes=600)
    token = site.token(OPEN)
    page = site.page()
    answer = page.open_one(site.token(OPEN))
    page.leave()
    for number in range(20):
        site.publish(insert(task(number, done=False)))

    assert site.page().open_one(token) == refusal("trimmed")
    assert site.page().open_one(answer["token"], since=answer["position"]) == refusal("trimmed")


def test_a_reset_in_between_must_be_fetched(site: Site) -> None:
    token, other = site.token(), site.token(dealer="People")
    site.publish(reset())
    after = site.token()
    first, second, third = site.page().open(token, other, after)

    assert first == refusal("reset")
    assert second["recovered"]
    assert third["recovered"]


def test_a_row_without_its_key_in_between_must_be_fetched(site: Site) -> None:
    token = site.token()
    site.publish(insert({"title": "no id"}))

    assert site.page().open_one(token) == refusal("reset")


def test_too_much_to_tell_must_be_fetched(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(openings, "MAX_ANSWER_BYTES", 1000)
    much, little = site.token(), site.token(having("id", 1))
    for number in range(30):
        site.publish(insert(task(number)))
    first, second = site.page().open(much, little)

    assert first == refusal("too-much")
    assert len(second["changes"]) == 1


def test_too_much_in_all_must_be_fetched(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(openings, "MAX_ANSWERS_BYTES", 1000)
    tokens = [site.token(["<", "id", 8 + number]) for number in range(2)]
    for number in range(8):
        site.publish(insert(task(number)))
    first, second = site.page().open(*tokens)

    assert first["recovered"]
    assert second == refusal("too-much")


def test_the_subscriptions_of_a_page_are_bounded(site: Site) -> None:
    site.service.limits = dataclasses.replace(site.service.limits, max_subscriptions=2)
    page = site.page()
    answers = page.open(*[site.token() for _ in range(3)])

    assert [answer.get("reason") for answer in answers] == [None, None, "too-many"]
    page.close_lists(answers[0]["subscription"])
    assert page.open_one(site.token())["recovered"]
    assert site.page().open_one(site.token())["recovered"]


async def test_a_position_that_this_process_does_not_reach_is_behind(
    site: Site, monkeypatch: Any
) -> None:
    monkeypatch.setattr(openings, "SECONDS_TO_REACH", 0.05)
    ahead = str(Position.parse(site.head)._replace(seq=7, nonce="x"))
    page = site.page()
    wanted = [{"token": site.token(), "since": ahead}]
    answer = await async_call(site.service, page, "openSubscriptions", subscriptions=wanted)

    assert answer == [refusal("behind")]


async def test_a_position_that_this_process_reaches_in_time_is_waited_for() -> None:
    """Another process handed it out; here it comes a moment later."""
    broker = MemoryBroker()
    site = Site(broker=broker)
    token = site.token()
    log = site.service.changes.log
    reached = Position(log.head.epoch, 1, "n")
    page = site.page()
    wanted = [{"token": token, "since": str(reached)}]
    message = {"command": "openSubscriptions", "params": {"subscriptions": wanted}, "callId": 0}
    site.service.process_message_from(page, message)
    assert page.received == []

    assert isinstance(log, MemoryLog)
    log.push(Entry(reached, encode({"deltas": [insert(task(1))]}), 0.0))  # as an engine does
    async with asyncio.timeout(patient(10)):
        while not page.received:
            await asyncio.sleep(0)
    assert page.received[0]["message"]["data"][0]["recovered"]


def test_a_dealer_that_has_gone_opens_nothing(site: Site) -> None:
    token = site.token()
    site.service.unregister_dealer(site.service.dealers["Tasks"])

    assert site.page().open_one(token) == refusal("invalid")


def test_openings_are_counted_by_outcome(site: Site) -> None:
    before = dict(metrics.resumes)
    site.page().open(site.token(), site.token(), "x" * 40)

    def more(outcome: str) -> int:
        return metrics.resumes.get(outcome, 0) - before.get(outcome, 0)

    assert (more("recovered"), more("invalid")) == (2, 1)


def test_a_client_that_left_before_it_was_its_turn_opens_nothing(site: Site) -> None:
    token, page = site.token(), site.page()
    page.connected = False
    message = {
        "command": "openSubscriptions",
        "params": {"subscriptions": [{"token": token}]},
        "callId": 0,
    }
    site.service.process_message_from(page, message)

    assert page.received == []
    assert site.service.pages.by_client == {}


def test_nothing_stays_behind() -> None:
    site = Site(item_ttl=0)
    pages = [site.page() for _ in range(3)]
    for page in pages:
        page.open(site.token(OPEN), site.token(DONE), site.token(ALL), "x" * 40)
    site.publish(insert(task(1, done=False)))
    for page in pages:
        page.leave()
    site.look()

    service = site.service
    for table in (
        service.pages.by_client,
        service.pages.by_origin,
        service.pages._crowds,
        service.pages._idle,
        service.changes.items,
        service.changes.matching._items_by_dealer,
        service.changes.matching._representatives,
        service.openings._calls,
        service.openings._asking,
        service.dealers["Tasks"]._queries,  # type: ignore[attr-defined]
    ):
        assert not table
