"""What is kept for a token that is not acquired yet, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from snorky.metrics import metrics
from snorky.testing import call
from snorky.wire import encode

BLUE = ["==", "color", "blue"]
ONE_ENVELOPE = encode(
    {
        "service": "datasync",
        "message": {
            "type": "delta",
            "delta": {"type": "insert", "model": "Player", "data": {"n": 0}},
        },
    }
)


@pytest.mark.parametrize(
    "bound",
    [{"max_kept_deltas": 3}, {"max_kept_bytes": 3 * len(ONE_ENVELOPE)}],
    ids=["count", "bytes"],
)
def test_more_than_may_be_kept_ends_the_subscription_whole(
    bound: Any,
    app: Any,
    datasync: Any,
    page: Any,
    witness: Any,
    delta: Any,
    clock: Any,
    expect_log: Any,
    refused: Any,
    limit: Any,
) -> None:
    limit(datasync, **bound)
    overflowed = metrics.tokens_overflowed
    doomed = app.authorize(("witness", ["and"]))
    kept = app.authorize(("witness", BLUE))
    for number in range(3):
        app.publish(delta.insert({"n": number}))
    assert witness.log[2:] == []
    app.publish(*[delta.insert({"n": number}) for number in range(3, 9)])
    app.publish(delta.insert({"color": "blue"}))
    assert witness.log[2:] == [("remove", ["and"])]
    assert metrics.tokens_overflowed == overflowed + 1
    record = expect_log("Too many deltas for a subscription that nobody has acquired")
    assert "witness" in record.getMessage()
    expect_log('names the field "color", which a row of model "Player" has not')
    assert len(clock.timers) == 1  # the other one's

    # All or nothing: a part would be a gap that nobody sees.
    assert refused(datasync, page, "acquireSubscription", token=doomed) == "No such subscription"
    assert page.deltas == []
    call(datasync, page, "acquireSubscription", token=kept)
    assert len(page.deltas) == 1


def test_exactly_what_may_be_kept_is_delivered(
    app: Any, datasync: Any, page: Any, delta: Any, limit: Any
) -> None:
    limit(datasync, max_kept_deltas=3)
    token = app.authorize(("AllPlayers", None))
    app.publish(*[delta.insert({"n": number}) for number in range(3)])
    call(datasync, page, "acquireSubscription", token=token)
    app.publish(*[delta.insert({"n": number}) for number in range(3)])
    assert len(page.deltas) == 6
