"""Random lives of a chat, compared with the rules spelled out once more."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snorky.services.base import RPCError
from snorky.services.chat import ChatService
from snorky.testing import FakeClient, call

IDENTITIES = ["alice", "bob", {"id": 3}]
connections = st.integers(0, 5)
"""Two of each identity: which is told by the number."""
channels = st.sampled_from(["tea", ["tea"]])


class Chatting(RuleBasedStateMachine):
    """The model is a set of (connection, channel); everything else follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.chat = ChatService("chat")
        self.clients = [FakeClient(IDENTITIES[number % 3]) for number in range(6)]
        self.joined: list[tuple[int, Any]] = []
        self.expected: dict[int, list[Any]] = defaultdict(list)

    def inside(self, channel: Any) -> list[int]:
        return [number for number, joined in self.joined if joined == channel]

    def present(self, channel: Any) -> list[Any]:
        numbers = {number % 3 for number in self.inside(channel)}
        return [IDENTITIES[number] for number in sorted(numbers)]

    def expect(self, receivers: list[int], kind: str, channel: Any, **more: Any) -> None:
        for number in receivers:
            self.expected[number].append({"type": kind, "channel": channel, **more})

    def call(self, number: int, command: str, channel: Any, allowed: bool, **params: Any) -> Any:
        try:
            reply = call(self.chat, self.clients[number], command, channel=channel, **params)
        except RPCError as error:
            assert not allowed
            return str(error)
        assert allowed
        return reply

    @rule(number=connections, channel=channels)
    def join(self, number: int, channel: Any) -> None:
        identity, allowed = IDENTITIES[number % 3], (number, channel) not in self.joined
        reply = self.call(number, "join", channel, allowed)
        if not allowed:
            assert reply == "Already joined"
            return
        if identity not in self.present(channel):
            self.expect(
                self.inside(channel), "presence", channel, status="joined", **{"from": identity}
            )
        self.joined.append((number, channel))
        members = sorted(reply["members"], key=IDENTITIES.index)
        assert members == self.present(channel)

    def gone(self, number: int, channel: Any) -> None:
        self.joined.remove((number, channel))
        identity = IDENTITIES[number % 3]
        if identity not in self.present(channel):
            self.expect(
                self.inside(channel), "presence", channel, status="left", **{"from": identity}
            )

    @rule(number=connections, channel=channels)
    def leave(self, number: int, channel: Any) -> None:
        allowed = (number, channel) in self.joined
        reply = self.call(number, "leave", channel, allowed)
        assert reply == (None if allowed else "Not joined")
        if allowed:
            self.gone(number, channel)

    @rule(number=connections)
    def disconnect(self, number: int) -> None:
        """And come back as a new connection."""
        self.chat.client_disconnected(self.clients[number])
        for mine, channel in tuple(self.joined):
            if mine == number:
                self.gone(number, channel)
        self.check_received()
        self.clients[number] = FakeClient(IDENTITIES[number % 3])
        self.expected[number] = []

    @rule(number=connections, channel=channels, body=st.integers())
    def send(self, number: int, channel: Any, body: int) -> None:
        allowed = (number, channel) in self.joined
        reply = self.call(number, "send", channel, allowed, body=body)
        assert reply == (None if allowed else "Not joined")
        if allowed:
            sender = {"from": IDENTITIES[number % 3]}
            self.expect(self.inside(channel), "message", channel, body=body, **sender)

    @rule(number=connections, channel=channels)
    def read(self, number: int, channel: Any) -> None:
        assert self.call(number, "read", channel, True) is None
        others = [each for each in self.inside(channel) if each % 3 == number % 3]
        self.expect([each for each in others if each != number], "read", channel)

    @invariant()
    def check_received(self) -> None:
        for number, client in enumerate(self.clients):
            received = [dict(message) for message in client.messages]
            assert all(message.pop("timestamp") for message in received)
            assert received == self.expected[number]

    @invariant()
    def nothing_more_is_kept(self) -> None:
        assert len(self.chat._channels) == len({str(channel) for _, channel in self.joined})
        assert len(self.chat._memberships) == len({number for number, _ in self.joined})


Chatting.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestChatting = Chatting.TestCase
