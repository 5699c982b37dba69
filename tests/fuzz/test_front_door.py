"""Heads of requests: the front door takes nothing that Tornado reads differently."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from tests.fuzz.heads import check_head
from tests.fuzz.lengths import examples

KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
NEEDED = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY]
characters = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
values = st.text(characters, max_size=12) | st.text(st.sampled_from(' x,;="'), max_size=5)
names = st.text(st.sampled_from("abcXYZ019-"), min_size=1, max_size=6)
targets = st.one_of(
    st.sampled_from(["/ws", "/", "/ws?", "/ws?a", "//ws", "/ws#a", "/ws?a#b", "/%77s", "/ws;a"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12).map("/ws?".__add__),
    st.builds(
        "/ws?{}={}&{}".format,
        st.sampled_from(["a", "%", "%zz", "%C3%B6", "%00", "+", ""]),
        st.sampled_from(["a", "%", "%zz", "%C3%B6", "%ff", "%0d%0a", "+", ";", "=", ""]),
        st.sampled_from(["a=2", "a", "", "&", "b=%26"]),
    ),
)
hosts = st.one_of(
    st.sampled_from(
        ["localhost", "a:80", "[::1]", "[::1]:5001", "a:", ":80", "", "a,b", "a@b", "a/b", "A.B."]
    ),
    values,
)
odd_fields = st.one_of(
    st.builds("{}: {}".format, names, values),
    st.builds(
        "{}: {}".format,
        st.sampled_from(
            ["Host", "Origin", "Cookie", "Connection", "Upgrade", "Sec-WebSocket-Protocol"]
        ),
        values,
    ),
    st.builds(
        "Cookie: {}".format,
        st.lists(
            st.sampled_from(
                ["a=1", 'a="1\\012"', "=", "a", "$Path=/", "path=/", "Expires=x", "a=b=c", '"', "é"]
            ),
            max_size=4,
        ).map("; ".join),
    ),
    st.builds(
        "{}:{}".format,
        st.sampled_from(["X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Proto", "X-Scheme"]),
        st.sampled_from(
            ["1.2.3.4", " ::1", "https", "1.2.3.4, 127.0.0.1", ",", "", "0x7f.1", "::ffff:1.2.3.4"]
        ),
    ),
    st.builds(
        "{}: {}".format,
        st.sampled_from(["Content-Length", "Transfer-Encoding", "Expect", "content-length"]),
        st.sampled_from(["0", "5", "chunked", "identity", "", "100-continue"]),
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = f"GET {draw(targets)} HTTP/1.1"
    host = f"Host: {draw(st.just('localhost') | st.just('localhost') | hosts)}"
    fields = draw(st.permutations([host, *NEEDED, *draw(st.lists(odd_fields, max_size=3))]))
    if draw(st.booleans()):
        swap = str.upper if draw(st.booleans()) else str.lower
        fields = [swap(name) + ":" + rest for name, _, rest in (f.partition(":") for f in fields)]
    data = "\r\n".join([line, *fields, "", ""]).encode()
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.integers(0, len(data)))
        damage = draw(st.sampled_from([b"\t", b" ", b"\r\n", b"\n", b"\r", b"\0", b"\x85", b":"]))
        data = data[:place] + damage + data[place:]
    return data + draw(st.sampled_from([b"", b"\x81\x80abcd", b"GET / HTTP/1.1\r\n\r\n"]))


@examples(400)
@given(requests())
def test_what_the_front_door_takes_tornado_reads_alike(data: bytes) -> None:
    event("taken" if check_head(data) else "left to Tornado")
