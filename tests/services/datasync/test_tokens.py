"""Tokens: what they say, who can make them, and what happens to large ones."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from typing import Any

import pytest

from snorky.brokers.memory import MemoryBroker
from snorky.services.base import RPCError
from snorky.services.datasync.tokens import signing_keys
from snorky.testing import call
from tests.services.datasync.wire import Site, having, insert, task

LARGE = ["or", *[having("title", f"a title of some length {number}") for number in range(60)]]


def test_tokens_fit_into_headers() -> None:
    site = Site()
    for query in (["and"], LARGE, ["==", "title", "ß" * 3000]):
        token = site.token(query)
        assert 32 <= len(token) <= 1500
        assert token.replace("-", "").replace("_", "").isalnum()
        assert token.isascii()
        answer = site.page().open_one(token)
        assert 32 <= len(answer["token"]) <= 1500


def test_its_holder_can_read_a_token() -> None:
    token = Site().token(having("title", "x"))
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert ["Tasks", having("title", "x")] in json.loads(raw[18:])[-1]


def test_tokens_are_signed_by_hmac() -> None:
    (key,) = signing_keys(["secret"])
    token = Site(token_key="secret").token()
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert raw[:18] == hmac.digest(key, raw[18:], "sha256")[:18]


def test_nothing_is_kept_of_a_token_that_says_all_itself() -> None:
    broker = MemoryBroker()
    site = Site(broker=broker)
    for _ in range(100):
        site.token()
    assert broker._values == {}
    assert site.service.classic._held == {}


@pytest.mark.parametrize("first", ["openSubscriptions", "acquireSubscription"])
def test_large_tokens_work_like_others(first: str) -> None:
    site = Site()
    token = site.token(LARGE)
    row = task(1, title="a title of some length 7")
    site.publish(insert(row), insert(task(2)))
    page = site.page()
    if first == "acquireSubscription":
        call(site.service, page, first, token=token)
        assert [frame["delta"]["data"] for frame in page.frames] == [row]
        return
    answer = page.open_one(token)
    assert [change["key"] for change in answer["changes"]] == [1]
    page.leave()
    back = site.page().open_one(answer["token"], since=answer["position"])
    assert back["items"] == answer["items"]


def test_large_tokens_are_bounded_and_the_oldest_goes() -> None:
    import dataclasses

    broker = MemoryBroker()
    site = Site(broker=broker)
    site.service.limits = dataclasses.replace(site.service.limits, max_unacquired_tokens=3)
    tokens = [site.token([*LARGE, having("n", number)]) for number in range(5)]
    assert len(broker._values) == 3
    opened = [site.page().open_one(token)["recovered"] for token in tokens]
    assert opened == [False, False, True, True, True]
    assert len(broker._values) == 3


def test_the_subject_of_a_large_token_counts() -> None:
    site = Site()
    token = site.token(LARGE, subject="ann")
    assert site.page("bob").open_one(token)["reason"] == "subject"
    site.call("revokeSubscriptions", subject="ann")
    assert site.page("ann").open_one(token)["reason"] == "revoked"


# Keys


def pair(**of_second: Any) -> tuple[Site, Site]:
    """Two processes that share a broker."""
    broker = MemoryBroker()
    return Site(broker=broker, token_key="old"), Site(broker=broker, **of_second)


def test_processes_with_one_key_open_each_others_tokens() -> None:
    first, second = pair(token_key="old")
    assert second.page().open_one(first.token())["recovered"]


@pytest.mark.parametrize("key", ["new", b"new", ["new"], None])
def test_processes_with_other_keys_do_not(key: Any) -> None:
    first, second = pair(token_key=key)
    assert second.page().open_one(first.token())["reason"] == "invalid"


def test_keys_are_rotated_without_a_pause() -> None:
    first, second = pair(token_key=["new", "old"])
    assert second.page().open_one(first.token())["recovered"]
    assert first.page().open_one(second.token())["reason"] == "invalid"
    first.service.sign_with(["old", "new"])
    assert first.page().open_one(second.token())["recovered"]


def test_there_must_be_a_key() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Site(token_key=[])


# Classic


def test_a_token_is_acquired_once_in_all_processes() -> None:
    first, second = pair(token_key="old")
    token = first.token()
    first.publish(insert(task(1)))
    page = second.page()
    call(second.service, page, "acquireSubscription", token=token)
    assert [frame["delta"]["data"]["id"] for frame in page.frames] == [1]
    for site in (first, second):
        with pytest.raises(RPCError, match="No such subscription"):
            call(site.service, site.page(), "acquireSubscription", token=token)


def test_a_token_is_acquired_or_opened() -> None:
    site = Site()
    token = site.token()
    answer = site.page().open_one(token)
    for taken in (token, answer["token"]):
        with pytest.raises(RPCError, match="No such subscription"):
            call(site.service, site.page(), "acquireSubscription", token=taken)


def test_an_expired_token_is_not_acquired() -> None:
    site = Site(interval=-2)
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(), "acquireSubscription", token=site.token())


def test_more_than_a_page_may_be_told_at_once_ends_the_token(expect_log: Any) -> None:
    import dataclasses

    site = Site()
    site.service.limits = dataclasses.replace(site.service.limits, max_kept_deltas=3)
    token = site.token()
    for number in range(4):
        site.publish(insert(task(number)))
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(), "acquireSubscription", token=token)
    expect_log("Too many deltas for a subscription that nobody has acquired")


def test_one_tenant_does_not_fill_the_room_of_others() -> None:
    import dataclasses

    from tests.services.datasync.conftest import Clock

    site = Site()
    site.backend.timeout_factory = Clock()  # type: ignore[assignment]
    site.backend._keeps_tokens = True
    site.service.limits = dataclasses.replace(site.service.limits, max_unacquired_tokens=4)
    crowd = [site.token(subject="ann") for _ in range(4)]
    with pytest.raises(RPCError, match="Too many unacquired tokens"):
        site.token(subject="ann")
    quiet = site.token(subject="bob")
    call(site.service, site.page(), "acquireSubscription", token=quiet)
    with pytest.raises(RPCError, match="No such subscription"):
        call(site.service, site.page(), "acquireSubscription", token=crowd[0])
    call(site.service, site.page(), "acquireSubscription", token=crowd[1])


def test_logs_never_show_tokens_or_what_they_hold(caplog: Any, expect_log: Any) -> None:
    caplog.set_level(logging.DEBUG)
    site = Site()
    token = site.token()
    page = site.page()
    for params in (
        {"subscriptions": [{"token": token}], "surplus": 1},
        {"subscriptions": {"token": token}},
        {"subscriptions": token},
    ):
        message = {"command": "openSubscriptions", "params": params, "callId": 1}
        site.service.process_message_from(page, message)
    answer = page.open_one(token)
    site.service.process_message_from(page, {"surplus": [{"token": [answer["token"]]}]})

    expect_log("Invalid params")
    expect_log.all("Invalid")
    for secret in (token, answer["token"]):
        assert secret not in caplog.text
