"""Whatever comes in, the front door answers as Tornado alone would."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from snorky.request_handlers.front_door import PEEK_BYTES
from tests.front_door.doors import LET_IN, answers, both_doors, head, message

HEAD = head()
FRAME = message([1])
LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
COOKIES = "Cookie: a=1; b=" + "x" * 1000

WELCOME: dict[str, tuple[bytes, ...]] = {
    "plain": (HEAD,),
    "with a query, cookies and a subprotocol": (
        head(
            "Cookie: user=alice; other=1; bad key=2",
            "X-Name: alice",
            "Sec-WebSocket-Protocol: chat, snorky",
            line="GET /ws?token=gr%C3%B6%C3%9Fer&token=2&empty= HTTP/1.1",
        ),
    ),
    "field names and tokens in any case": (
        head(
            "uPGRADE: WebSocket",
            "CONNECTION: keep-alive, uPGRADE",
            without=("Upgrade", "Connection"),
        ),
    ),
    "close beside upgrade": (head("Connection: close, upgrade", without=("Connection",)),),
    "spaces around a value, and none": (head("X-A:  1 \t ", "X-B:2", "X-C:"),),
    "a value that is empty but for spaces": (head("X-A:   "),),
    "an odd field name": (head("x_y!#: 1"),),
    "a value in Latin-1": (head("X-Name: gr\xf6\xdfer"),),
    "the same field twice": (head("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"),),
    "Upgrade twice in a way that still holds": (head("Connection: keep-alive"),),
    "HTTP/1.0": (head(line="GET /ws HTTP/1.0"),),
    "HTTP/1.0 without a host": (head(line="GET /ws HTTP/1.0", without=("Host",)),),
    "HTTP/1.9": (head(line="GET /ws HTTP/1.9"),),
    "a page of this host": (head("Origin: http://localhost:8000"),),
    "a body announced as empty": (head("Content-Length: 0"),),
    "a body that is there": (head("Content-Length: 3") + b"abc",),
    "a body in chunks": (head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",),
    "a body that is asked about first": (head("Content-Length: 3", "Expect: 100-continue"), b"abc"),
    "an empty line before it": (b"\r\n" + HEAD,),
    "lines that end in LF": (HEAD.replace(b"\r\n", b"\n"),),
    "one line that ends in LF": (HEAD.replace(b"\r\n", b"\n", 1),),
    "an end of LF CR LF": (HEAD[:-4] + b"\n\r\n",),
    "frames behind it": (HEAD + message([1]) + message("größer"),),
    "half a frame behind it": (HEAD + FRAME[:5], FRAME[5:]),
    "in two pieces": (HEAD[:20], HEAD[20:]),
    "in two pieces, cut before the last byte": (HEAD[:-1], HEAD[-1:]),
    "byte by byte": tuple(HEAD[i : i + 1] for i in range(len(HEAD))),
    "a head longer than the peek": (head(*(f"X-{i}: {COOKIES}" for i in range(20))),),
    "a head as long as the peek": (head(f"X-A: {'x' * (PEEK_BYTES - len(HEAD) - 7)}"),),
    "a head one byte longer than the peek": (head(f"X-A: {'x' * (PEEK_BYTES - len(HEAD) - 6)}"),),
    "many fields": (head(*(f"X-{i}: {i}" for i in range(1500))),),
    "a request before it": (LIVE, HEAD),
    "a request before it in one piece": (LIVE + HEAD,),
    "a static file before it": (
        b"GET /static/doors.py HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-9\r\n\r\n",
        HEAD,
    ),
    "a host with a port, an IPv6 host": (head("Host: [::1]:5001", without=("Host",)),),
    "an empty host": (head("Host:", without=("Host",)),),
    "a query of question marks": (head(line="GET /ws?a=?b=?&&&= HTTP/1.1"),),
}

UNWELCOME: dict[str, tuple[bytes, ...]] = {
    "a page of another host": (head("Origin: http://evil.example"),),
    "two origins": (head("Origin: http://localhost", "Origin: http://evil.example"),),
    "refused by authenticate": (head("X-Name: mallory"),),
    "another path": (head(line="GET /other HTTP/1.1"),),
    "two empty lines before it": (b"\r\n\r\n" + HEAD,),
    "a path with a dot segment": (head(line="GET /x/../ws HTTP/1.1"),),
    "a path with a slash behind": (head(line="GET /ws/ HTTP/1.1"),),
    "a path with two slashes": (head(line="GET //ws HTTP/1.1"),),
    "a path in percent signs": (head(line="GET /%77s HTTP/1.1"),),
    "a path with a null byte": (head(line="GET /ws\0 HTTP/1.1"),),
    "a path in Latin-1": (head(line="GET /ws\xe9 HTTP/1.1"),),
    "an absolute target": (head(line="GET http://localhost/ws HTTP/1.1"),),
    "no target": (head(line="GET HTTP/1.1"),),
    "an asterisk": (head(line="OPTIONS * HTTP/1.1"),),
    "CONNECT": (head(line="CONNECT /ws HTTP/1.1"),),
    "POST": (head("Content-Length: 2", line="POST /ws HTTP/1.1") + b"{}",),
    "OPTIONS": (head(line="OPTIONS /ws HTTP/1.1"),),
    "HEAD": (head(line="HEAD /ws HTTP/1.1"),),
    "get in small letters": (head(line="get /ws HTTP/1.1"),),
    "HTTP/2.0": (head(line="GET /ws HTTP/2.0"),),
    "HTTP/11": (head(line="GET /ws HTTP/11"),),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",),
    "three spaces": (head(line="GET  /ws  HTTP/1.1"),),
    "a tab": (head(line="GET\t/ws HTTP/1.1"),),
    "no host": (head(without=("Host",)),),
    "two hosts": (head("Host: other"),),
    "two hosts in one": (head("Host: localhost, other", without=("Host",)),),
    "a host with a path": (head("Host: localhost/x", without=("Host",)),),
    "two keys": (head("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),),
    "a short key": (head("Sec-WebSocket-Key: AAAA", without=("Sec-WebSocket-Key",)),),
    "a key that is none": (head("Sec-WebSocket-Key: !", without=("Sec-WebSocket-Key",)),),
    "two upgrades": (head("Upgrade: websocket"),),
    "an upgrade to HTTP/2": (head("Upgrade: h2c", without=("Upgrade",)),),
    "no upgrade": (head(without=("Upgrade",)),),
    "no connection": (head(without=("Connection",)),),
    "close": (head("Connection: close", without=("Connection",)),),
    "an old version": (head("Sec-WebSocket-Version: 8", without=("Sec-WebSocket-Version",)),),
    "two lengths": (head("Content-Length: 3", "Content-Length: 5") + b"abcde",),
    "length and chunks": (
        head("Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + HEAD,
    ),
    "chunked twice": (head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",),
    "an unknown encoding": (head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",),
    "a negative length": (head("Content-Length: -1"),),
    "a length in words": (head("Content-Length: 1_0") + b"0123456789",),
    "a body that is too long": (head("Content-Length: 5000") + b"x" * 5000,),
    "a body that does not come": (head("Content-Length: 5") + b"abc",),
    "a folded field": (head("X-A: 1\r\n 2"),),
    "a folded first field": (HEAD.replace(b"\r\n", b"\r\n ", 1),),
    "a field without a colon": (head("X-A"),),
    "a field without a name": (head(": 1"),),
    "a space before the colon": (head("Upgrade : websocket"),),
    "a CR in a value": (head("X-A: 1\r2"),),
    "a CR before the end of a line": (head("X-A: 1\r"),),
    "a null byte in a value": (head("X-A: 1\0"),),
    "a delete in a value": (head("X-A: \x7f"),),
    "a field name in Latin-1": (head("X-\xe9: 1"),),
    "too many arguments": (head(line=f"GET /ws?{'a&' * 1100} HTTP/1.1"),),
    "a head that is too long": (head(*(f"X-{i}: {COOKIES}" for i in range(70))),),
    "half a head": (HEAD[:40],),
    "half a head, then silence": (HEAD[:-2],),
    "one byte": (b"G",),
    "the hello of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),),
    "noise": (bytes(range(256)) * 10,),
    "a request of another page": (LIVE,),
    "two requests in one piece": (LIVE + LIVE,),
    "a file that is not there": (b"GET /static/none HTTP/1.1\r\nHost: localhost\r\n\r\n",),
}


@pytest.mark.parametrize("pieces", WELCOME.values(), ids=WELCOME.keys())
async def test_who_is_let_in_by_tornado_is_let_in(pieces: tuple[bytes, ...]) -> None:
    async with both_doors() as ports:
        tornado, front = await answers(ports, *pieces, until=LET_IN)

    assert front == tornado
    assert b"still there?" in tornado


@pytest.mark.parametrize("pieces", UNWELCOME.values(), ids=UNWELCOME.keys())
@pytest.mark.usefixtures("refused_pages")
async def test_who_is_not_let_in_by_tornado_is_told_the_same(pieces: tuple[bytes, ...]) -> None:
    async with both_doors() as ports:
        tornado, front = await answers(ports, *pieces)

    assert front == tornado
    assert b"101 Switching" not in tornado


async def test_who_was_refused_may_try_again_on_the_same_connection() -> None:
    async with both_doors() as ports:
        tornado, front = await answers(ports, head("X-Name: nobody"), HEAD, until=LET_IN)

    assert front == tornado
    assert tornado.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"still there?" in tornado


async def test_a_fault_of_ours_is_told_in_the_same_way(expect_log: Any) -> None:
    async with both_doors() as ports:
        tornado, front = await answers(ports, head("X-Name: bug"))

    assert front == tornado
    assert tornado.startswith(b"HTTP/1.1 500 ")
    assert expect_log.all("Unhandled exception while authenticating") == 2


@pytest.mark.parametrize(
    "fields",
    [
        ["X-Forwarded-For: 203.0.113.7"],
        ["X-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.1", "X-Forwarded-Proto: https"],
        ["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7"],
        ["X-Real-Ip: 203.0.113.7", "X-Scheme: https, http"],
        ["X-Forwarded-For: nonsense", "X-Forwarded-Proto: gopher"],
        ["X-Forwarded-For: 2001:db8::7"],
    ],
)
async def test_what_a_proxy_says_is_understood_in_the_same_way(fields: list[str]) -> None:
    async with both_doors(behind_proxy=True) as ports:
        tornado, front = await answers(ports, head(*fields), until=LET_IN)

    assert front == tornado
    assert b"still there?" in tornado


LINES = st.sampled_from(
    [
        b"GET /ws HTTP/1.1",
        b"GET /ws?a=1&b HTTP/1.1",
        b"GET /live HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET /ws HTTP/1.0",
        b"POST /ws HTTP/1.1",
        b"GET http://localhost/ws HTTP/1.1",
    ]
)
FIELDS = st.sampled_from(
    [
        b"Host: localhost",
        b"Host: other:1",
        b"Upgrade: websocket",
        b"upgrade: WebSocket",
        b"Connection: Upgrade",
        b"Connection: keep-alive, Upgrade",
        b"Connection: close",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"Sec-WebSocket-Protocol: snorky",
        b"Origin: http://localhost",
        b"Origin: http://evil.example",
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Cookie: a=1; b",
        b"X-Name: nobody",
        b"X-Name: \xe9",
        b"X-A : 1",
        b" folded",
        b"X-B:",
    ]
)
USUAL = st.just(HEAD.split(b"\r\n")[1:-2])
NEWLINES = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n"])
BEHIND = st.sampled_from([b"", b"", HEAD, LIVE, message([1]), b"0\r\n\r\n", b"hello", b"\r\n"])


@st.composite
def requests(draw: Any) -> tuple[bytes, ...]:
    """Heads that are right, with something wrong here and there, in one piece or several."""
    fields = draw(st.permutations(draw(USUAL) + draw(st.lists(FIELDS, max_size=3))))
    newline = draw(st.one_of(st.just(b"\r\n"), NEWLINES))
    data = newline.join([draw(LINES), *fields, b"", b""]) + draw(BEHIND)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(data)))
        damage = draw(st.sampled_from([b"", b"\0", b"\n", b"\r", b" ", b":", b"\xff", b"x"]))
        data = data[:place] + damage + data[place + draw(st.integers(0, 2)) :]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    places = [0, *cuts, len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    return tuple(piece for piece in pieces if piece)


# Shrinking a list of thirty takes longer than reading it.
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it looks at the log alone
)
@given(st.lists(requests(), min_size=30, max_size=30))
@pytest.mark.usefixtures("refused_pages")
def test_whatever_is_sent_both_doors_answer_alike(many: list[tuple[bytes, ...]]) -> None:
    async def compare() -> list[tuple[bytes, bytes]]:
        async with both_doors() as ports:
            return await asyncio.gather(*(answers(ports, *pieces) for pieces in many))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        compared = runner.run(compare())
    for pieces, (tornado, front) in zip(many, compared, strict=True):
        assert front == tornado, pieces
