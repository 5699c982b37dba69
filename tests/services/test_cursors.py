"""Cursors: who sees which cursors move, whose they are, and what is forgotten."""

import asyncio
from typing import Any

import pytest

from snorky.services.base import RPCError
from snorky.services.cursors import CursorsService
from snorky.testing import FakeClient, async_call, call
from tests.services.cursor_calls import (
    create,
    cursor,
    join,
    refused,
    refused_cursor,
    removed,
    update,
)


@pytest.fixture
def cursors() -> CursorsService:
    return CursorsService("cursors")


@pytest.fixture
def alice() -> FakeClient:
    return FakeClient("alice")


@pytest.fixture
def bob() -> FakeClient:
    return FakeClient("bob")


# What the others see


def test_a_new_cursor_is_shown_to_the_documents_other_clients(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    elsewhere, tablet = FakeClient("eve"), FakeClient("alice")
    join(cursors, alice, bob, tablet)
    join(cursors, elsewhere, document="other")
    handle = create(cursors, alice, "mine", position={"line": 3}, status="typing")

    shown = cursor(handle, "alice", position={"line": 3}, status="typing")
    for client in (bob, tablet):
        message = {"type": "cursorAdded", "cursor": shown}
        assert client.received == [{"service": "cursors", "message": message}]
    assert alice.received == elsewhere.received == []


def test_who_joins_is_given_the_cursors_that_are_there(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    assert join(cursors, alice) == []
    first, second = create(cursors, alice, "a"), create(cursors, alice, "b", position=5)
    update(cursors, alice, "a", status="gone")
    join(cursors, alice, document="other")
    create(cursors, alice, "c", document="other")

    assert join(cursors, bob) == [
        cursor(first, "alice", status="gone"),
        cursor(second, "alice", position=5),
    ]


@pytest.mark.parametrize(
    ("new_data", "changed"),
    [
        ({"position": 7}, {"position": 7}),
        ({"status": "typing"}, {"status": "typing"}),
        ({"position": None, "status": [1]}, {"position": None, "status": [1]}),
        ({"position": 7, "owner": "eve", "document": "x", "more": 1}, {"position": 7}),
        ({"position": 7, "publicHandle": 99}, {"position": 7}),
    ],
)
def test_an_update_shows_the_others_the_whole_cursor(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient, new_data: Any, changed: Any
) -> None:
    join(cursors, alice, bob)
    handle = create(cursors, alice, "mine", status="reading")
    assert update(cursors, alice, "mine", **new_data) is None

    expected = cursor(handle, "alice", **{"status": "reading", **changed})
    assert bob.messages[1:] == [{"type": "cursorUpdated", "cursor": expected}]
    assert alice.messages == []
    assert join(cursors, FakeClient("eve")) == [expected]


@pytest.mark.parametrize("new_data", [{}, {"owner": "eve"}])
def test_an_update_of_nothing_is_not_shown(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient, new_data: Any
) -> None:
    join(cursors, alice)
    create(cursors, alice, "mine")
    join(cursors, bob)
    assert update(cursors, alice, "mine", **new_data) is None

    assert bob.messages == []


def test_the_others_see_a_cursor_go(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    join(cursors, alice)
    handle, other = create(cursors, alice, "mine"), create(cursors, alice, "other")
    join(cursors, bob)
    assert call(cursors, alice, "removeCursor", privateHandle="mine") is None

    assert bob.messages == [removed(handle)]
    assert alice.messages == []
    assert join(cursors, FakeClient("eve")) == [cursor(other, "alice")]
    error = refused(cursors, alice, "removeCursor", privateHandle="mine")
    assert error == "No such cursor"
    create(cursors, alice, "mine")  # the private handle is free again


def test_who_leaves_takes_its_cursors_along_and_sees_nothing_more(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    for document in ("plan", "other"):
        join(cursors, alice, bob, document=document)
    first, second = create(cursors, alice, 1), create(cursors, alice, 2)
    kept = create(cursors, alice, 3, document="other")
    bob.received.clear()
    assert call(cursors, alice, "leave", document="plan") is None

    assert bob.messages == [removed(first), removed(second)]
    create(cursors, bob, 1)
    assert alice.messages == []
    assert refused(cursors, alice, "updateCursor", privateHandle=1, newData={}) == "No such cursor"
    update(cursors, alice, 3, position=1)
    assert bob.messages[2:] == [
        {"type": "cursorUpdated", "cursor": cursor(kept, "alice", document="other", position=1)}
    ]
    assert [each["owner"] for each in join(cursors, alice)] == ["bob"]


def test_a_disconnected_client_leaves_all_its_documents(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    for document in ("plan", "other"):
        join(cursors, alice, bob, document=document)
    one = create(cursors, alice, 1)
    other = create(cursors, alice, 2, document="other")
    bob.received.clear()
    cursors.client_disconnected(alice)

    assert bob.messages == [removed(one), removed(other, "other")]
    assert alice.messages == []
    cursors.client_disconnected(FakeClient())  # one that joined nothing
    assert join(cursors, FakeClient("eve")) == []


# Whose is it


def test_joining_and_leaving_twice_is_refused(cursors: CursorsService, alice: FakeClient) -> None:
    join(cursors, alice)
    assert refused(cursors, alice, "join", document="plan") == "Already joined"
    call(cursors, alice, "leave", document="plan")
    for document in ("plan", "nobody's"):
        assert refused(cursors, alice, "leave", document=document) == "Not joined"


def test_only_who_joined_a_document_has_cursors_in_it(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    join(cursors, bob)
    assert refused_cursor(cursors, alice, 1) == "Not joined"
    join(cursors, alice, document="other")
    assert refused_cursor(cursors, alice, 1) == "Not joined"
    assert bob.messages == []


def test_a_private_handle_is_used_once_in_all_documents(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    join(cursors, alice, bob)
    join(cursors, alice, document="other")
    create(cursors, alice, "mine")
    for document in ("plan", "other"):
        assert refused_cursor(cursors, alice, "mine", document=document) == "Reused handle"
    assert len(bob.messages) == 1


def test_private_handles_are_each_clients_own(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient
) -> None:
    tablet = FakeClient("alice")
    join(cursors, alice, bob, tablet)
    first, second = create(cursors, alice, 1), create(cursors, bob, 1, position=2)
    assert first != second
    for command, params in (("updateCursor", {"newData": {"position": 9}}), ("removeCursor", {})):
        error = refused(cursors, tablet, command, privateHandle=1, **params)
        assert error == "No such cursor"
    call(cursors, bob, "removeCursor", privateHandle=1)
    assert join(cursors, FakeClient("eve")) == [cursor(first, "alice")]


@pytest.mark.parametrize(
    ("handle", "same", "others"),
    [
        ("a", "a", ["A", ["a"]]),
        (1, 1.0, [True, "1"]),
        (None, None, [False, 0, "", [], {}]),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, [{"a": 1}]),
    ],
)
def test_handles_and_documents_are_any_json_values(
    cursors: CursorsService, alice: FakeClient, handle: Any, same: Any, others: Any
) -> None:
    for document in (handle, *others):
        join(cursors, alice, document=document)
    assert refused(cursors, alice, "join", document=same) == "Already joined"
    handles = {create(cursors, alice, other, document=same) for other in (handle, *others)}
    assert len(handles) == 1 + len(others)
    assert refused_cursor(cursors, alice, same, document=same) == "Reused handle"
    call(cursors, alice, "removeCursor", privateHandle=same)
    assert len(join(cursors, FakeClient("bob"), document=same)) == len(others)


def test_a_public_handle_is_never_used_again(cursors: CursorsService, alice: FakeClient) -> None:
    handles = []
    for _ in range(3):
        join(cursors, alice)
        handles += [create(cursors, alice, number) for number in range(4)]
        call(cursors, alice, "removeCursor", privateHandle=2)
        handles.append(create(cursors, alice, 2))
        call(cursors, alice, "leave", document="plan")

    assert len(set(handles)) == 15
    assert all(type(handle) is int for handle in handles)


# Who may


COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("join", {"document": "plan"}),
    ("leave", {"document": "plan"}),
    ("createCursor", {"privateHandle": 2, "document": "plan", "position": 0, "status": 0}),
    ("updateCursor", {"privateHandle": 1, "newData": {"position": 1}}),
    ("removeCursor", {"privateHandle": 1}),
]


@pytest.mark.parametrize(("command", "params"), COMMANDS)
def test_cursors_are_for_those_who_said_who_they_are(
    cursors: CursorsService, alice: FakeClient, bob: FakeClient, command: str, params: Any
) -> None:
    join(cursors, bob, alice)
    create(cursors, alice, 1)
    alice.identity = None
    bob.received.clear()

    assert refused(cursors, alice, command, **params) == "Not authenticated"
    assert bob.messages == []


@pytest.mark.parametrize(("command", "params"), COMMANDS)
def test_the_application_may_check_identities_itself(
    alice: FakeClient, command: str, params: Any
) -> None:
    class Visitors(CursorsService):
        def check_identity(self, client: Any) -> None:
            if client.identity == "eve":
                raise RPCError("Not you")

    visitors = Visitors("cursors")
    assert refused(visitors, FakeClient("eve"), command, **params) == "Not you"
    nobody = FakeClient()
    join(visitors, alice, nobody)
    create(visitors, nobody, 1)
    assert alice.messages[0]["cursor"]["owner"] is None


def test_the_application_may_say_who_creates_cursors(bob: FakeClient) -> None:
    class Watching(CursorsService):
        def check_new_cursor_allowed(self, client: Any) -> None:
            if client.identity == "bob":
                raise RPCError("You may only watch")

    watching = Watching("cursors")
    alice = FakeClient("alice")
    join(watching, alice, bob)
    assert refused_cursor(watching, bob, 1) == "You may only watch"
    for handle in range(20):  # its own rule stands in the place of ours
        create(watching, alice, handle)
    assert alice.messages == []


def test_the_application_says_who_joins(alice: FakeClient, bob: FakeClient) -> None:
    class Members(CursorsService):
        def can_join(self, client: Any, document: Any) -> bool:
            return bool(client.identity == document["of"])

    members = Members("cursors")
    document = {"of": "alice"}
    assert join(members, alice, document=document) == []
    assert refused(members, bob, "join", document=document) == "Not authorized"
    assert refused(members, FakeClient(), "join", document={"of": None}) == "Not authenticated"
    assert refused_cursor(members, bob, 1, document=document) == "Not joined"


class MembersLater(CursorsService):
    """Looks into a database."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.decided = asyncio.Event()

    async def can_join(self, client: Any, document: Any) -> bool:
        await self.decided.wait()
        return bool(client.identity == "alice")


async def test_it_may_take_its_time(alice: FakeClient, bob: FakeClient) -> None:
    members = MembersLater("cursors")
    members.decided.set()
    assert await async_call(members, alice, "join", document="plan") == {"cursors": []}
    with pytest.raises(RPCError, match=r"^Not authorized$"):
        await async_call(members, bob, "join", document="plan")
    create(members, alice, 1)
    assert bob.messages == []


async def test_who_left_while_permission_was_awaited_is_not_in_the_document(
    alice: FakeClient,
) -> None:
    members = MembersLater("cursors")
    joining = asyncio.ensure_future(async_call(members, alice, "join", document="plan"))
    await asyncio.sleep(0)
    alice.close()
    members.client_disconnected(alice)
    members.decided.set()

    assert await joining is None
    assert not members._documents
    assert not members._sessions


async def test_two_awaited_joins_to_one_document_make_one(alice: FakeClient) -> None:
    members = MembersLater("cursors")
    both = [
        asyncio.ensure_future(async_call(members, alice, "join", document="plan")) for _ in range(2)
    ]
    await asyncio.sleep(0)
    members.decided.set()

    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert first == {"cursors": []}
    assert isinstance(second, RPCError)
    assert str(second) == "Already joined"


def test_an_owner_is_any_json_value_hashable_or_not(
    cursors: CursorsService, alice: FakeClient
) -> None:
    owner = {"id": 1, "name": "Bob"}
    bob = FakeClient(owner)
    join(cursors, alice, bob)
    handle = create(cursors, bob, 1)

    assert alice.messages == [{"type": "cursorAdded", "cursor": cursor(handle, owner)}]


def test_an_owner_that_cannot_be_sent_is_the_applications_fault_and_shows_nothing(
    cursors: CursorsService, alice: FakeClient, expect_log: Any
) -> None:
    odd = FakeClient(object())
    join(cursors, alice, odd)
    params = {"privateHandle": 1, "document": "plan", "position": 0, "status": 0}
    cursors.process_message_from(odd, {"command": "createCursor", "params": params, "callId": 7})
    expect_log("Unhandled exception in RPC service")

    assert odd.received[0]["message"]["message"] == "Internal error"
    assert alice.messages == []
    assert join(cursors, FakeClient("bob")) == []
