"""SockJS without a network: frames, and what waits in a session."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snorky.close_codes import SLOW_CLIENT, CloseCode
from snorky.protocols.sockjs import (
    MAX_FRAME_BYTES,
    BadPayload,
    RawSession,
    Session,
    close_frame,
    event_chunk,
    is_callback,
    jsonp_chunk,
    messages_in,
    quoted,
    script_chunk,
    xhr_chunk,
)

MANGLED = [*range(0x20), *range(0x200C, 0x2010), *range(0x2028, 0x2030)]
MANGLED += [*range(0x2060, 0x2070), *range(0xD800, 0xE000), *range(0xFFF0, 0x10000)]


class Response:
    """Takes what it is woken for; a response ends after ``most`` frames."""

    def __init__(self, session: Session, most: int = 1000) -> None:
        self.session = session
        self.most = most
        self.frames: list[bytes] = []
        self.unsent_bytes = 0
        self.aborted = False
        self.attached = session.attach(self)
        if self.attached:
            self.wake()

    @property
    def finished(self) -> bool:
        return len(self.frames) >= self.most and not self.unsent_bytes

    def wake(self) -> None:
        while len(self.frames) < self.most and (frame := self.session.take_frame()) is not None:
            self.frames.append(frame)

    def abort(self) -> None:
        self.aborted = True

    def end(self) -> list[bytes]:
        self.session.detach(self)
        return self.frames


@pytest.fixture
def session() -> Session:
    return Session(max_unsent_bytes=1000)


def polled(session: Session) -> list[bytes]:
    """What a request gets that takes one frame."""
    return Response(session, most=1).end()


# Frames


@given(st.text())
def test_every_text_survives_quoting(text: str) -> None:
    message = quoted(text.encode("utf-8", "surrogatepass"))
    assert json.loads(message) == text


def test_what_browsers_mangle_is_escaped() -> None:
    text = "".join(map(chr, MANGLED))
    message = quoted(text.encode("utf-8", "surrogatepass"))
    assert message.isascii()
    assert b"\\u2028" in message
    assert quoted("é→😀".encode()) == '"é→😀"'.encode()


def test_a_close_frame_is_json() -> None:
    assert close_frame(3000, "Go away!") == b'c[3000,"Go away!"]'
    assert json.loads(close_frame(4001, 'say "\u2028"\ud83d')[1:]) == [4001, 'say "\u2028"\ud83d']


def test_each_transport_wraps_a_frame() -> None:
    frame = b'a["50% <b>"]'
    assert xhr_chunk(frame) == b'a["50% <b>"]\n'
    assert event_chunk(frame) == b'data: a["50%25 <b>"]\r\n\r\n'
    assert script_chunk(frame) == b'<script>\np("a[\\"50% \\u003cb>\\"]");\n</script>\r\n'
    assert jsonp_chunk("f", frame) == b'f("a[\\"50% \\u003cb>\\"]");\r\n'


@given(st.text())
def test_no_message_ends_the_script_that_carries_it(text: str) -> None:
    frame = b"a[" + quoted(text.encode("utf-8", "surrogatepass")) + b"]"
    script = jsonp_chunk("f", frame).decode()
    assert "<" not in script
    assert "\n" not in script.removesuffix(");\r\n")
    assert json.loads(script.removeprefix("f(").removesuffix(");\r\n")) == frame.decode()


@pytest.mark.parametrize("payload", ['["a","b"]', b'["a","b"]'])
def test_messages_come_in_an_array(payload: str | bytes) -> None:
    assert messages_in(payload) == ["a", "b"]
    assert messages_in('"a"') == ["a"]
    assert messages_in("[]") == []


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ("", "Payload expected."),
        ("{}", "Payload expected."),
        ("[1]", "Payload expected."),
        ('["a', "Broken JSON encoding."),
        (b"\xff", "Broken JSON encoding."),
        ("[" * 100_000, "Broken JSON encoding."),
    ],
)
def test_what_holds_no_messages_is_named(payload: str | bytes, fault: str) -> None:
    with pytest.raises(BadPayload, match=fault):
        messages_in(payload)


def test_a_callback_can_be_nothing_but_a_name() -> None:
    assert all(map(is_callback, ["callback", "_jp.a1b2", "a-b"]))
    assert not any(map(is_callback, ["", "a(", "a;b", "a b", "a\n", "<a>", "é", "a" * 129]))


# Sessions


def test_a_session_opens_with_its_first_receiver(session: Session) -> None:
    assert polled(session) == [b"o"]
    assert polled(session) == []


def test_messages_wait_for_a_receiver_and_keep_their_order(session: Session) -> None:
    session.send(b"1")
    session.send(b"2")
    assert polled(session) == [b"o"]
    assert polled(session) == [b'a["1","2"]']
    stream = Response(session)
    session.send(b"3")
    session.send(b"4")
    assert stream.end() == [b'a["3"]', b'a["4"]']
    assert session.unsent_bytes == 0


def test_a_frame_is_bounded(session: Session) -> None:
    session = Session(max_unsent_bytes=10 * MAX_FRAME_BYTES)
    polled(session)
    for _ in range(5):
        session.send(b"x" * (MAX_FRAME_BYTES // 2 - 10))
    frames = Response(session).frames
    assert [len(json.loads(frame[1:])) for frame in frames] == [2, 2, 1]


def test_a_second_receiver_is_refused_while_the_first_takes(session: Session) -> None:
    first = Response(session)
    assert not Response(session).attached
    first.end()
    assert Response(session).attached


def test_a_response_that_has_left_gives_way(session: Session) -> None:
    answered = Response(session, most=1)
    assert answered.finished
    following = Response(session)
    assert following.attached
    answered.end()  # late: it is not the receiver any more
    session.send(b"1")
    assert following.frames == [b'a["1"]']


def test_a_response_that_is_still_being_written_does_not_give_way(session: Session) -> None:
    Response(session, most=1).unsent_bytes = 1
    assert not Response(session).attached


def test_a_heartbeat_is_sent_where_nothing_else_is(session: Session) -> None:
    session.heartbeat()  # nobody is there
    stream = Response(session)
    session.heartbeat()
    assert stream.end() == [b"o", b"h"]
    session.heartbeat()
    assert polled(session) == []


def test_goodbye_comes_last_and_to_everybody_who_asks(session: Session) -> None:
    stream = Response(session)
    session.send(b"1")
    session.close(4001, "enough")
    session.close(4002, "again")
    session.send(b"2")
    session.heartbeat()
    assert stream.frames == [b"o", b'a["1"]', b'c[4001,"enough"]']
    assert polled(session) == [b'c[4001,"enough"]']
    assert polled(session) == [b'c[4001,"enough"]']
    assert session.close_code == CloseCode(4001, "enough")


def test_a_client_that_takes_nothing_is_cut_off(session: Session) -> None:
    for _ in range(11):
        session.send(b"x" * 98)  # quoted: 100
    assert not session.closed
    assert session.unsent_bytes == 1100
    session.send(b"one more")
    assert session.close_code == SLOW_CLIENT
    assert session.unsent_bytes == 0
    polled(session)
    assert polled(session) == [close_frame(*SLOW_CLIENT)]


def test_what_a_receiver_has_not_got_rid_of_counts(session: Session) -> None:
    stream = Response(session)
    stream.unsent_bytes = 1001
    assert session.unsent_bytes == 1001
    session.send(b"1")
    assert stream.aborted
    assert session.close_code == SLOW_CLIENT
    assert session.receiver is None


def test_one_message_may_be_longer_than_what_may_wait(session: Session) -> None:
    session.send(b"x" * 5000)
    assert not session.closed


def test_programs_get_messages_as_they_are() -> None:
    session = RawSession(max_unsent_bytes=100)
    stream = Response(session)
    session.send("c<\u2028>".encode())
    session.heartbeat()
    session.close(3000, "over")
    assert stream.frames == ["c<\u2028>".encode()]
    assert session.unsent_bytes == 0


def test_what_was_closed_cannot_be_cut_any_more() -> None:
    session = Session(100)
    session.close(3000, "enough")
    session.cut(SLOW_CLIENT)
    assert session.close_code == CloseCode(3000, "enough")
