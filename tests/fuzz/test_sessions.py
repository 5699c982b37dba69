"""Sessions of SockJS and of Comet as machines: nothing lost, repeated or out of order, bounds hold.

Each is driven by whatever sequence of calls its edge can make, beside a model that is a list of
what was sent and the place up to which the client has it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snorky.close_codes import SLOW_CLIENT, CloseCode
from snorky.protocols import comet, sockjs
from tests.fuzz.lengths import examples

MOST_UNSENT = 2000
MOST_KEPT = 500
texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["\u2028</script>", "\ud83d", '"', "x" * 700])
)
closings = st.sampled_from([(3000, "Go away!"), (4001, 'say "\ud83d"'), (1000, "")])


class Receiver:
    """A response; how much of what it took has left is what the machine says."""

    def __init__(self) -> None:
        self.unsent_bytes = 0
        self.done = False
        self.aborted = False
        self.woken = False
        self.replaced = False

    @property
    def finished(self) -> bool:
        return self.done and not self.unsent_bytes

    def wake(self) -> None:
        assert not self.aborted, "woken after it was cut"
        self.woken = True

    def replace(self) -> None:
        assert not self.replaced
        self.replaced = True

    def abort(self) -> None:
        self.aborted = True


class SockJSMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.session = sockjs.Session(MOST_UNSENT)
        self.receiver: Receiver | None = None
        self.sent: list[str] = []
        self.had = 0
        self.opened = False
        self.why: CloseCode | None = None
        self.cut = False
        self.goodbyes = 0

    @rule(text=texts)
    def send(self, text: str) -> None:
        full = self.session.unsent_bytes > MOST_UNSENT
        self.session.send(text.encode("utf-8", "surrogatepass"))
        if self.why is None and full:
            self.was_cut(SLOW_CLIENT)
        elif self.why is None:
            self.sent.append(text)

    @rule(closing=closings)
    def close(self, closing: tuple[int, str]) -> None:
        self.session.close(*closing)
        self.why = self.why or CloseCode(*closing)

    @rule()
    def interrupt(self) -> None:
        self.session.cut(sockjs.INTERRUPTED)
        if self.why is None:
            self.was_cut(sockjs.INTERRUPTED)

    def was_cut(self, why: CloseCode) -> None:
        self.why, self.cut = why, True
        if self.receiver is not None:
            assert self.receiver.aborted
            self.receiver = None

    @rule()
    def heartbeat(self) -> None:
        self.session.heartbeat()

    @rule()
    def attach(self) -> None:
        receiver = Receiver()
        busy = self.receiver is not None and not self.receiver.finished
        accepted = self.session.attach(receiver)
        assert accepted == (not busy or self.why is not None)
        if accepted:
            self.receiver = receiver
            self.goodbyes = 0

    @precondition(lambda self: self.receiver is not None)
    @rule()
    def detach(self) -> None:
        assert self.receiver is not None
        self.session.detach(self.receiver)
        self.receiver = None

    @rule()
    def detach_late(self) -> None:
        self.session.detach(Receiver())

    @precondition(lambda self: self.receiver is not None)
    @rule(size=st.sampled_from([0, 0, 10, 3000]), done=st.booleans())
    def network(self, size: int, done: bool) -> None:
        assert self.receiver is not None
        self.receiver.unsent_bytes = size
        self.receiver.done = done

    @precondition(lambda self: self.receiver is not None)
    @rule()
    def take(self) -> None:
        frame = self.session.take_frame()
        left = len(self.sent) - self.had if not self.cut else 0
        if frame == sockjs.OPEN:
            assert not self.opened
            self.opened = True
        elif frame is None:
            assert self.opened
            assert not left, "messages wait, and nothing was given"
            assert self.why is None or self.goodbyes, "nothing says that it is over"
        elif frame == sockjs.HEARTBEAT:
            assert not left
        elif frame.startswith(b"c"):
            assert not left
            assert self.why is not None
            assert json.loads(frame[1:]) == list(self.why)
            self.goodbyes += 1
            assert self.goodbyes == 1, "two goodbyes for one receiver"
        else:
            assert self.opened
            assert frame.startswith(b"a[")
            messages = json.loads(frame[1:])
            assert messages == self.sent[self.had : self.had + len(messages)]
            assert 0 < len(messages) <= left
            self.had += len(messages)

    @invariant()
    def what_waits_is_counted_and_bounded(self) -> None:
        waiting = [] if self.cut else self.sent[self.had :]
        sizes = [len(sockjs.quoted(text.encode("utf-8", "surrogatepass"))) for text in waiting]
        taken = 0 if self.receiver is None else self.receiver.unsent_bytes
        assert self.session.unsent_bytes == sum(sizes) + taken
        assert sum(sizes[:-1]) <= MOST_UNSENT
        assert self.session.receiver is self.receiver
        assert self.session.close_code == self.why


class CometMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.session = comet.Session(MOST_UNSENT, MOST_KEPT)
        self.receiver: Receiver | None = None
        self.sent: list[bytes] = []
        self.taken = 0
        self.had = 0
        """What the client has, and says so when it asks anew."""
        self.on_its_way: list[bytes] = []
        self.took_last = 0
        """Where what was taken last begins: that is kept whatever its size."""
        self.posted = 0
        self.why: CloseCode | None = None
        self.cut = False

    @rule(text=texts)
    def send(self, text: str) -> None:
        full = self.session.unsent_bytes > MOST_UNSENT
        data = json.dumps(text).encode()
        self.session.send(data)
        if self.why is None and full:
            self.was_cut(SLOW_CLIENT)
        elif self.why is None:
            self.sent.append(data)

    @rule(closing=closings)
    def close(self, closing: tuple[int, str]) -> None:
        self.session.close(*closing)
        self.why = self.why or CloseCode(*closing)

    @rule()
    def interrupt(self) -> None:
        self.session.cut(comet.INTERRUPTED)
        if self.why is None:
            self.was_cut(comet.INTERRUPTED)

    def was_cut(self, why: CloseCode) -> None:
        self.why, self.cut = why, True
        if self.receiver is not None:
            assert self.receiver.aborted
            self.receiver = None

    @rule()
    def heartbeat(self) -> None:
        self.session.heartbeat()
        due = self.session.take_heartbeat()
        assert due == (self.receiver is not None and self.why is None)
        assert not self.session.take_heartbeat()

    @precondition(lambda self: self.receiver is not None)
    @rule()
    def take(self) -> None:
        kept = list(self.session._kept)
        batch = self.session.take()
        assert batch or list(self.session._kept) == kept, "forgotten for nothing"
        assert batch == ([] if self.cut else self.sent[self.taken : self.taken + len(batch)])
        assert batch or self.cut or self.taken == len(self.sent)
        if batch:
            self.took_last = self.taken
        self.taken += len(batch)
        self.on_its_way += batch

    @rule(share=st.floats(0, 1))
    def arrive(self, share: float) -> None:
        """Some of what is on its way reaches the client."""
        count = round(share * len(self.on_its_way))
        arrived, self.on_its_way = self.on_its_way[:count], self.on_its_way[count:]
        assert arrived == self.sent[self.had : self.had + count]
        self.had += count

    @rule(late=st.integers(0, 3))
    def acknowledge(self, late: int) -> None:
        after = max(0, self.had - late)
        self.session.acknowledge(after)

    @rule(after=st.integers(0, 40))
    def acknowledge_what_was_never_sent(self, after: int) -> None:
        """A client may lie: what it says it has, it does not get again."""
        self.session.acknowledge(self.taken + 1 + after)
        self.had = self.taken
        self.on_its_way = []

    @rule()
    def come_back(self) -> None:
        """As clients do: with what they have."""
        receiver, previous = Receiver(), self.receiver
        try:
            self.session.attach(receiver, self.had)
        except comet.Missed:
            lost = sum(map(len, self.sent[self.had : self.taken]))
            assert lost > MOST_KEPT, "it was to be kept"
            assert self.had < self.took_last, "what was taken last is always kept"
            assert self.session.receiver is previous
            return
        self.attached(receiver, self.had)

    @rule(after=st.integers(0, 60))
    def come_with_any_position(self, after: int) -> None:
        receiver, previous = Receiver(), self.receiver
        kept = self.taken - len(self.session._kept)
        try:
            self.session.attach(receiver, after)
        except comet.Missed:
            assert not kept <= after <= self.taken
            assert self.session.receiver is previous
            assert not receiver.woken
            return
        if not self.cut and kept <= after <= self.taken:
            self.had = after
            self.attached(receiver, after)
        else:
            assert self.why is not None, "given what cannot be had"
            self.attached(receiver, self.taken)

    def attached(self, receiver: Receiver, after: int) -> None:
        assert self.receiver is None or self.receiver.replaced
        self.receiver = receiver
        self.on_its_way = []
        if not self.cut:
            self.had = after
            self.taken = after
            assert self.session.taken == after

    @precondition(lambda self: self.receiver is not None)
    @rule()
    def detach(self) -> None:
        assert self.receiver is not None
        self.session.detach(self.receiver)
        self.receiver = None

    @precondition(lambda self: self.receiver is not None)
    @rule(size=st.sampled_from([0, 10, 3000]))
    def network(self, size: int) -> None:
        assert self.receiver is not None
        self.receiver.unsent_bytes = size

    @rule(number=st.integers(-2, 3))
    def post(self, number: int) -> None:
        number = max(1, self.posted + number)
        if number > self.posted + 1:
            with pytest.raises(comet.BadRequest):
                self.session.accept(number)
        else:
            assert self.session.accept(number) == (number == self.posted + 1)
            self.posted = max(self.posted, number)
        assert self.session.received == self.posted

    @invariant()
    def what_waits_and_what_is_kept_is_counted_and_bounded(self) -> None:
        session = self.session
        waiting = [] if self.cut else self.sent[self.taken :]
        taken = 0 if self.receiver is None else self.receiver.unsent_bytes
        assert session.unsent_bytes == sum(map(len, waiting)) + taken
        assert session._kept_bytes == sum(map(len, session._kept))
        assert session._kept_bytes <= MOST_KEPT + comet.MAX_BATCH_BYTES
        if not self.cut:
            kept = self.sent[self.taken - len(session._kept) : self.taken]
            assert list(session._kept) == kept
            assert session.taken == self.taken
        assert session.close_code == self.why
        assert session.receiver is self.receiver


TestSockJS: Any = SockJSMachine.TestCase
TestSockJS.settings = examples(80)
TestComet: Any = CometMachine.TestCase
TestComet.settings = examples(80)
