"""The auction without a server: pip install pytest, then pytest test_auction.py"""

import asyncio
import json

import pytest
from auction import Auction

from snorky import ServiceRegistry
from snorky.services.base import RPCError
from snorky.testing import FakeClient, async_call, call


@pytest.fixture
def auction():
    return Auction("auction")


def bid(auction, client, amount):
    asyncio.run(async_call(auction, client, "bid", amount=amount))


def test_everybody_in_the_room_hears_of_a_bid(auction):
    alice, bob, outside = FakeClient("alice"), FakeClient("bob"), FakeClient("carol")
    assert call(auction, alice, "enter") == 0
    call(auction, bob, "enter")
    bid(auction, alice, 10)
    assert bob.messages == [{"type": "bid", "amount": 10, "by": "alice"}]
    assert outside.messages == []


def test_a_bid_must_be_higher_than_the_best_one(auction):
    bid(auction, FakeClient("alice"), 10)
    with pytest.raises(RPCError, match="More than 10"):
        bid(auction, FakeClient("bob"), 10)


def test_an_amount_is_a_whole_number(auction):
    with pytest.raises(RPCError, match="Invalid params"):
        bid(auction, FakeClient("alice"), "a lot")


def test_who_has_left_hears_nothing_more(auction):
    registry = ServiceRegistry([auction])
    alice = FakeClient("alice")
    registry.client_connected(alice)
    enter = {"command": "enter", "params": {}, "callId": 1}
    registry.process_message_raw(alice, json.dumps({"service": "auction", "message": enter}))
    answer = {"type": "response", "callId": 1, "data": 0}
    assert alice.received == [{"service": "auction", "message": answer}]

    registry.client_disconnected(alice)
    bid(auction, FakeClient("bob"), 10)
    assert alice.messages == []
