"""Engine.IO and Socket.IO packets over a real connection."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.lengths import examples
from tests.fuzz.packets import check_packets, check_posts
from tests.fuzz.values import json_values

kinds = st.sampled_from(["40", "41", "42", "43", "44", "45", "46", "4", "47", "4x", "40{}", "45-"])
ids = st.sampled_from(["", "0", "7", "9" * 30, "9" * 150, "-1", "²", "٣"])
namespaces = st.sampled_from(["", "/,", "/other,", "/?a=1,", "/", "//,", "/\0,"])
counts = st.sampled_from(["", "1-", "2-", "0-", "9999999999-", "-1-", "²-"])
placeholders = st.builds(
    lambda number: {"_placeholder": True, "num": number},
    st.sampled_from([0, 0, 1, -1, 5, "0", None, True, 0.5, []]),
)
events = st.lists(
    st.one_of(
        st.sampled_from(["echo", "pubsub", "connect", "disconnect", "message", ""]),
        placeholders,
        st.lists(placeholders, min_size=3, max_size=60),
        json_values,
        st.fixed_dictionaries(
            {
                "command": st.sampled_from(["subscribe", "publish", "join", "none"]),
                "params": st.fixed_dictionaries(
                    {"channel": json_values | placeholders, "message": json_values | placeholders}
                ),
            }
        ),
    ),
    max_size=4,
)


@st.composite
def packets(draw: st.DrawFn) -> list[str | bytes]:
    sent: list[str | bytes] = [draw(st.sampled_from(["40", "40", "40", "40/other,", "1"]))]
    for _ in range(draw(st.integers(1, 5))):
        text = draw(kinds) + draw(counts) + draw(namespaces) + draw(ids)
        text += (
            json.dumps(draw(events), ensure_ascii=draw(st.booleans()))
            .encode("utf-8", "replace")
            .decode()
        )
        whole = f"45{draw(counts)}" + json.dumps(["echo", *draw(events)])
        sent.append(draw(st.sampled_from([text, text, whole])))
        sent += draw(st.lists(st.binary(max_size=300), max_size=2))
        sent += draw(st.lists(st.sampled_from(["2", "3", "5", "6", "0", "b", "bAAAA", ""])))[:2]
    return sent


@examples(60)
@given(packets())
def test_whatever_packets_come_the_others_are_served(sent: list[str | bytes]) -> None:
    check_packets(sent)


@examples(40)
@given(st.lists(st.text(max_size=20).map("4".__add__) | st.binary(max_size=20), max_size=5))
def test_noise_disturbs_nobody(sent: list[str | bytes]) -> None:
    sent = [s if isinstance(s, bytes) else s.encode("utf-8", "replace").decode() for s in sent]
    check_packets(["40", *sent])


def test_an_attachment_is_no_way_to_make_much_of_little() -> None:
    places = ",".join(['{"_placeholder":1,"num":0}'] * 50)
    check_packets(["40", f'451-["echo",[{places}]]', bytes(400)])


def test_an_outbox_is_not_filled_with_answers_to_nothing() -> None:
    check_packets(["40", *["5"] * 100])
    check_posts(["40", "\x1e".join(["5"] * 1000)])
    check_posts(["40", "\x1e".join(["3", "40"] * 300)])


@examples(40)
@given(packets())
def test_whatever_is_posted_little_waits_and_the_others_are_served(sent: list[str | bytes]) -> None:
    check_posts(sent)
