"""Comet sessions: nothing is lost, repeated or out of order, wherever a connection breaks."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snorky.close_codes import SLOW_CLIENT, CloseCode
from snorky.protocols.comet import (
    MAX_BATCH_BYTES,
    BadRequest,
    Missed,
    Session,
    batch_in,
    close_event,
    event,
    poll_answer,
    position_in,
)


class Response:
    """A receiver that remembers what it was told."""

    def __init__(self) -> None:
        self.unsent_bytes = 0
        self.woken = 0
        self.replaced = False
        self.aborted = False

    def wake(self) -> None:
        self.woken += 1

    def replace(self) -> None:
        self.replaced = True

    def abort(self) -> None:
        self.aborted = True


def attached(session: Session, after: int = 0) -> Response:
    response = Response()
    session.attach(response, after)
    return response


# Both ways at random: a client that remembers what it has, over responses that break.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 40)),
        st.tuples(st.just("take"), st.integers(0, 10)),  # as many arrive before it breaks
        st.tuples(st.just("attach"), st.just(0)),
        st.tuples(st.just("acknowledge"), st.integers(0, 10)),  # from a request that was late
        st.tuples(st.just("post"), st.integers(0, 5)),  # as many are repeated
    ),
    max_size=60,
)


@given(STEPS)
def test_nothing_is_lost_repeated_or_out_of_order(steps: list[tuple[str, int]]) -> None:
    session = Session(max_unsent_bytes=100_000, max_kept_bytes=100_000)
    sent: list[bytes] = []
    had: list[bytes] = []
    delivered: list[int] = []
    posted = 0
    attached(session)
    for step, size in steps:
        if step == "send":
            sent.append(b"%d" % len(sent) * size)
            session.send(sent[-1])
        elif step == "take":
            batch = session.take()
            arrived = batch[: size if size < 10 else None]
            assert session.taken - len(batch) == len(had), "the receiver goes on where we are"
            had += arrived
            if arrived != batch:
                attached(session, len(had))
        elif step == "attach":
            attached(session, len(had))
        elif step == "acknowledge":
            session.acknowledge(max(0, len(had) - size))
        else:
            posted += 1
            for number in range(max(1, posted - size), posted + 1):
                if session.accept(number):
                    delivered.append(number)
    attached(session, len(had))
    while batch := session.take():
        had += batch
    assert had == sent
    assert delivered == list(range(1, posted + 1))


@given(st.lists(st.integers(1, 30_000), max_size=40), st.integers(0, 40))
def test_what_is_kept_is_bounded_and_who_missed_more_is_told(sizes: list[int], after: int) -> None:
    session = Session(max_unsent_bytes=10_000_000, max_kept_bytes=50_000)
    attached(session)
    for size in sizes:
        session.send(b"x" * size)
    while session.take():
        assert session._kept_bytes <= 50_000 + MAX_BATCH_BYTES
    sent = [b"x" * size for size in sizes]
    kept = len(session._kept)
    try:
        attached(session, after)
    except Missed:
        assert after > len(sent) or after < len(sent) - kept
        # The one that was there goes on.
        session.send(b"more")
        assert session.take() == [b"more"]
    else:
        received = []
        while batch := session.take():
            received += batch
        assert received == sent[after:]


def test_what_was_taken_last_is_kept_whatever_its_size() -> None:
    session = Session(max_unsent_bytes=10, max_kept_bytes=10)
    attached(session)
    session.send(b"x" * 100_000)
    assert len(session.take()) == 1
    assert session.take() == []
    attached(session, 0)
    assert len(session.take()) == 1


def test_a_new_receiver_takes_the_place_of_the_old_one() -> None:
    session = Session(1000, 1000)
    old = attached(session)
    session.send(b"1")
    new = attached(session)
    assert (old.replaced, new.replaced) == (True, False)
    session.detach(old)  # it ends only now
    session.send(b"2")
    assert new.woken == 1
    assert session.take() == [b"1", b"2"]


def test_a_future_position_is_refused() -> None:
    session = Session(1000, 1000)
    session.send(b"1")
    with pytest.raises(Missed, match="start anew"):
        attached(session, 1)  # it was not even taken


def test_who_does_not_read_is_cut_and_still_told_why() -> None:
    session = Session(max_unsent_bytes=10, max_kept_bytes=10)
    receiver = attached(session)
    session.send(b"x" * 11)
    session.send(b"y")
    assert session.close_code == SLOW_CLIENT
    assert receiver.aborted
    assert session.unsent_bytes == 0
    attached(session, 0)
    attached(session, 7)
    assert session.take() == []


def test_what_a_receiver_has_not_written_counts_too() -> None:
    session = Session(max_unsent_bytes=10, max_kept_bytes=10)
    attached(session).unsent_bytes = 11
    session.send(b"y")
    assert session.close_code == SLOW_CLIENT


def test_a_goodbye_comes_behind_what_waits_and_may_be_asked_for_again() -> None:
    session = Session(1000, 1000)
    attached(session)
    session.send(b"1")
    session.close(3000, "moving")
    session.close(3500, "too late")
    session.send(b"too late")
    assert session.take() == [b"1"]
    attached(session, 0)
    assert session.take() == [b"1"]
    assert session.close_code == CloseCode(3000, "moving")


def test_a_gap_in_what_the_client_sends_is_refused() -> None:
    session = Session(1000, 1000)
    assert session.accept(1)
    with pytest.raises(BadRequest, match="Expected message 2, got 3"):
        session.accept(3)
    assert session.accept(2)
    assert not session.accept(1)


def test_a_heartbeat_is_due_once_and_to_a_receiver_only() -> None:
    session = Session(1000, 1000)
    session.heartbeat()
    receiver = attached(session)
    assert not session.take_heartbeat()
    session.heartbeat()
    assert (receiver.woken, session.take_heartbeat(), session.take_heartbeat()) == (1, True, False)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "Expected JSON"),
        (b"[1]", "Expected an object"),
        (b'{"messages":[]}', "first: expected"),
        (b'{"first":0,"messages":[]}', "first: expected"),
        (b'{"first":true,"messages":[]}', "first: expected"),
        (b'{"first":1e3,"messages":[]}', "first: expected"),
        (b'{"first":1%b,"messages":[]}' % (b"0" * 30), "first: expected"),
        (b'{"first":1,"after":"x","messages":[]}', "after: expected"),
        (b'{"first":1}', "messages: expected a list"),
        (b'{"first":1,"messages":[1]}', "messages: expected a list"),
        (json.dumps({"first": 1, "messages": [""] * 1001}).encode(), "expected at most 1000"),
        (b"\xff", "Expected JSON"),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(BadRequest, match=fault):
        batch_in(body)


@pytest.mark.parametrize("piece", [b"\n", b"[", b'"', b"{", b"\\", b'"",', b'{"first":', b" "])
def test_a_body_of_anything_is_refused_in_linear_time(piece: bytes) -> None:
    started = time.process_time()
    with pytest.raises(BadRequest):
        batch_in(piece * (1024 * 1024 // len(piece)))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "\uff11", "1" * 16, "1\n", "None"])
def test_a_position_is_a_number(text: str) -> None:
    with pytest.raises(BadRequest):
        position_in(text)


def test_what_goes_over_the_wire() -> None:
    assert position_in("007") == 7
    assert batch_in(b'{"first":2,"messages":["a"],"after":3}') == (2, 3, ["a"])
    assert event(3, b'{"a":1}') == b'id: 3\ndata: {"a":1}\n\n'
    why = CloseCode(3000, "a\nb")
    assert close_event(why) == b'event: close\ndata: [3000, "a\\nb"]\n\n'
    answer: Any = json.loads(poll_answer(4, [b"1", b"[2]"], why))
    assert answer == {"after": 4, "messages": [1, [2]], "close": [3000, "a\nb"]}
    assert json.loads(poll_answer(0, [])) == {"after": 0, "messages": []}
