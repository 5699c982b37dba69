"""An audience joins what it is sent in one turn of the loop, and misses nobody."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from snorky import audience as audience_module
from snorky import turn as turn_module
from snorky.audience import Audience
from snorky.connected_client import ConnectedClient
from snorky.envelope import Envelope
from snorky.testing import FakeClient
from tests.lines import MemoryLine, connect_in_memory, take_frames

pytestmark = pytest.mark.usefixtures("each_fanout")


class Member:
    """A client with its line, and what arrives there."""

    def __init__(self) -> None:
        self.client: ConnectedClient
        self.line: MemoryLine
        self.client, self.line = connect_in_memory()

    @property
    def messages(self) -> list[Any]:
        frames = take_frames(bytearray(b"".join(self.line.writes)))
        return [json.loads(payload)["message"] for _opcode, payload in frames]


def message(value: Any) -> Envelope:
    return Envelope("service", value)


async def turn() -> None:
    await asyncio.sleep(0)


@pytest.fixture
def audience() -> Audience:
    return Audience()


async def test_messages_of_one_turn_are_joined_into_one_write(audience: Audience) -> None:
    alice = Member()
    audience.add(alice.client)
    for number in range(3):
        audience.send(message(number))
    assert alice.line.writes == []
    await turn()
    assert len(alice.line.writes) == 1
    assert alice.messages == [0, 1, 2]


async def test_who_joins_later_does_not_hear_what_was_said_before(audience: Audience) -> None:
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.send(message("early"))
    audience.add(bob.client)
    audience.send(message("late"))
    await turn()
    assert alice.messages == ["early", "late"]
    assert bob.messages == ["late"]


async def test_who_leaves_gets_what_was_said_before_and_nothing_more(audience: Audience) -> None:
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.add(bob.client)
    audience.send(message("early"))
    audience.remove(alice.client)
    audience.send(message("late"))
    await turn()
    assert alice.messages == ["early"]
    assert bob.messages == ["early", "late"]


async def test_who_leaves_and_comes_back_in_one_turn_misses_only_what_was_between(
    audience: Audience,
) -> None:
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.add(bob.client)
    audience.send(message(1))
    audience.remove(alice.client)
    audience.send(message(2))
    audience.add(alice.client)
    audience.send(message(3))
    await turn()
    assert alice.messages == [1, 3]


async def test_who_is_added_twice_hears_everything_once(audience: Audience) -> None:
    alice = Member()
    audience.add(alice.client)
    audience.add(alice.client)
    audience.send(message(1))
    await turn()
    assert alice.messages == [1]
    assert len(audience) == 1


async def test_a_message_to_one_client_comes_behind_what_its_audience_was_sent(
    audience: Audience,
) -> None:
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.add(bob.client)
    audience.send(message("to all"))
    alice.client.send(message("to alice"))
    audience.send(message("to all again"))
    await turn()
    assert alice.messages == ["to all", "to alice", "to all again"]
    assert bob.messages == ["to all", "to all again"]
    assert len(bob.line.writes) == 1, "the others' messages stay joined"


async def test_other_clients_get_every_message_at_once(audience: Audience) -> None:
    fake = FakeClient()
    audience.add(fake)
    audience.send(message(1))
    assert fake.messages == [1]
    audience.remove(fake)
    audience.send(message(2))
    assert fake.messages == [1]


async def test_an_audience_knows_its_clients_of_every_kind(audience: Audience) -> None:
    alice, bob, fake = Member(), Member(), FakeClient()
    audience.add(alice.client)
    audience.add(fake)
    assert len(audience) == 2
    assert set(audience) == {alice.client, fake}
    assert alice.client in audience
    assert fake in audience
    assert bob.client not in audience
    assert FakeClient() not in audience
    audience.remove(alice.client)
    audience.remove(bob.client)  # who is not in it need not be
    assert len(audience) == 1


async def test_a_client_that_has_gone_is_no_member_and_does_not_become_one(
    audience: Audience,
) -> None:
    alice = Member()
    audience.add(alice.client)
    alice.line.lose()
    await turn()
    assert len(audience) == 0
    audience.add(alice.client)
    assert len(audience) == 0


async def test_a_client_that_breaks_down_while_being_written_to_costs_the_others_nothing(
    audience: Audience,
) -> None:
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.add(bob.client)
    alice.line.lose()
    audience.send(message(1))
    await turn()
    audience.send(message(2))
    await turn()
    assert alice.messages == []
    assert bob.messages == [1, 2]


async def test_more_receivers_than_one_turn_serves_are_served_in_the_next(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_module, "RECEIVERS_PER_TURN", 3)
    members = [Member() for _ in range(7)]
    for member in members:
        audience.add(member.client)
    audience.send(message(1))
    served = []
    for _ in range(3):
        await turn()
        audience.send(message("later"))  # does not overtake
        served.append(sum(bool(member.line.writes) for member in members))
    assert served == [3, 6, 7]
    while audience.is_dirty:
        await turn()
    assert all(member.messages == [1, "later", "later", "later"] for member in members)


@pytest.mark.parametrize("event", ["a message of its own", "leaving"])
async def test_who_is_not_served_yet_gets_its_share_when_something_else_comes_up(
    audience: Audience, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    monkeypatch.setattr(turn_module, "RECEIVERS_PER_TURN", 1)
    members = [Member() for _ in range(5)]
    for member in members[:3]:
        audience.add(member.client)
    audience.send(message("early"))
    for member in members[3:]:
        audience.add(member.client)
    audience.send(message("late"))
    await turn()
    waiting = [member for member in members if not member.line.writes]
    assert waiting == members[1:]
    for member in waiting:
        if event == "leaving":
            audience.remove(member.client)
        member.client.send(message("own"))
    while audience.is_dirty:
        await turn()
    expected = [["early", "late"]] + 2 * [["early", "late", "own"]] + 2 * [["late", "own"]]
    assert [member.messages for member in members] == expected


async def test_audiences_share_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_module, "RECEIVERS_PER_TURN", 3)
    large, small = Audience(), Audience()
    crowd = [Member() for _ in range(9)]
    alice = Member()
    for member in crowd:
        large.add(member.client)
    small.add(alice.client)
    large.send(message("large"))
    small.send(message("small"))
    await turn()
    assert alice.messages == []
    await turn()
    assert alice.messages == ["small"], "it need not wait until the whole crowd is served"
    assert large.is_dirty


async def test_who_says_too_much_in_one_turn_waits_for_its_own_fan_out(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "MAX_PENDING_BYTES", 100)
    alice, bob = Member(), Member()
    audience.add(alice.client)
    audience.add(bob.client)
    audience.send(message("x" * 30))
    assert alice.line.writes == []
    audience.send(message("x" * 30))
    assert len(alice.line.writes) == len(bob.line.writes) == 1
    audience.send(message("short"))
    assert len(alice.line.writes) == 1, "what comes after that is joined anew"
    await turn()
    assert len(alice.line.writes) == 2
    assert alice.messages == ["x" * 30, "x" * 30, "short"]


async def test_what_was_written_early_costs_the_turn_nothing(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "MAX_PENDING_BYTES", 100)
    monkeypatch.setattr(turn_module, "RECEIVERS_PER_TURN", 1)
    alice, bob, other = Member(), Member(), Audience()
    audience.add(alice.client)
    audience.add(bob.client)
    other.add(bob.client)
    audience.send(message("x" * 100))
    other.send(message("other"))
    await turn()
    assert bob.messages == ["x" * 100, "other"]
    assert [len(member.line.writes) for member in (alice, bob)] == [1, 2]


async def test_what_waits_is_bounded_while_a_large_audience_is_served(
    audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "MAX_PENDING_BYTES", 500)
    monkeypatch.setattr(turn_module, "RECEIVERS_PER_TURN", 2)
    members = [Member() for _ in range(20)]
    for member in members:
        audience.add(member.client)
    for number in range(300):
        audience.send(message([number, "x" * 20]))
        assert sum(map(len, audience._pending)) <= 500
        if number % 10 == 0:
            await turn()
    while audience.is_dirty:
        await turn()
    expected = [[number, "x" * 20] for number in range(300)]
    assert all(member.messages == expected for member in members)


async def test_nobody_is_kept_by_an_audience_that_was_left(audience: Audience) -> None:
    alice = Member()
    audience.add(alice.client)
    audience.send(message(1))
    connection = alice.client.connection
    alice.line.lose()
    await turn()
    await turn()
    assert connection is not None
    assert connection not in audience._connections
    assert connection not in audience._seen
    assert not connection.audiences
