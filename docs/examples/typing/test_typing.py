import pytest
from live import Typing

from snorky.services.base import RPCError
from snorky.testing import FakeClient, call


@pytest.fixture
def typing():
    return Typing("typing")


def test_the_others_in_the_room_are_told_who_writes(typing):
    ann, bob, eve = FakeClient("ann"), FakeClient("bob"), FakeClient("eve")
    for client, room in ((ann, "tea"), (bob, "tea"), (eve, "coffee")):
        call(typing, client, "enter", room=room)
    call(typing, ann, "typing")
    assert bob.messages == [{"type": "typing", "who": "ann"}]
    assert ann.messages == eve.messages == []


def test_who_has_left_is_told_nothing_and_nothing_is_kept(typing):
    ann, bob = FakeClient("ann"), FakeClient("bob")
    for client in (ann, bob):
        call(typing, client, "enter", room="tea")
    typing.client_disconnected(bob)
    call(typing, ann, "typing")
    assert bob.messages == []
    typing.client_disconnected(ann)
    assert typing.rooms == typing.room_of == {}


def test_who_is_in_no_room_can_tell_nobody(typing):
    with pytest.raises(RPCError, match="Not in a room"):
        call(typing, FakeClient("ann"), "typing")
