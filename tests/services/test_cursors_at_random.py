"""Random lives of documents: what every client has seen is what the server has."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snorky.limits import Limits
from snorky.services.base import RPCError
from snorky.services.cursors import CursorsService
from snorky.testing import FakeClient, call

DOCUMENTS = ("plan", "sketch")
clients = st.integers(0, 3)
documents = st.sampled_from(DOCUMENTS)
handles = st.integers(0, 3)
positions = st.integers(0, 5)


class Page:
    """What a page makes of what it is sent: cursors of others by document and public handle."""

    def __init__(self, number: int) -> None:
        self.client = FakeClient(f"somebody {number}")
        self.views: dict[str, dict[int, Any]] = {}
        self.own: dict[int, dict[str, Any]] = {}

    def apply(self) -> None:
        for message in self.client.messages:
            cursor = message["cursor"]
            view = self.views[cursor["document"]]
            handle = cursor["publicHandle"]
            if message["type"] == "cursorAdded":
                assert handle not in view
                view[handle] = cursor
            elif message["type"] == "cursorUpdated":
                assert handle in view
                view[handle] = cursor
            else:
                assert message["type"] == "cursorRemoved"
                del view[handle]
        self.client.received.clear()


class Editing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cursors = CursorsService("cursors")
        self.cursors.limits = Limits(max_cursors=3)
        self.pages = [Page(number) for number in range(4)]

    def call(self, page: Page, command: str, **params: Any) -> Any:
        return call(self.cursors, page.client, command, **params)

    def refused(self, page: Page, command: str, **params: Any) -> str:
        try:
            reply = self.call(page, command, **params)
        except RPCError as error:
            return str(error)
        raise AssertionError(f"expected {command} to be refused, got {reply!r}")

    @rule(number=clients, document=documents)
    def join(self, number: int, document: str) -> None:
        page = self.pages[number]
        if document in page.views:
            assert self.refused(page, "join", document=document) == "Already joined"
            return
        found = self.call(page, "join", document=document)["cursors"]
        page.views[document] = {cursor["publicHandle"]: cursor for cursor in found}
        assert len(page.views[document]) == len(found)

    @rule(number=clients, document=documents)
    def leave(self, number: int, document: str) -> None:
        page = self.pages[number]
        if document not in page.views:
            assert self.refused(page, "leave", document=document) == "Not joined"
            return
        self.call(page, "leave", document=document)
        del page.views[document]
        page.own = {h: cursor for h, cursor in page.own.items() if cursor["document"] != document}

    @rule(number=clients)
    def disconnect(self, number: int) -> None:
        self.cursors.client_disconnected(self.pages[number].client)
        assert self.pages[number].client.received == []
        self.pages[number] = Page(number)

    @rule(number=clients, document=documents, handle=handles, position=positions)
    def create(self, number: int, document: str, handle: int, position: int) -> None:
        page = self.pages[number]
        data = {"document": document, "position": position, "status": None}
        params = {"privateHandle": handle, **data}
        if document not in page.views:
            assert self.refused(page, "createCursor", **params) == "Not joined"
        elif handle in page.own:
            assert self.refused(page, "createCursor", **params) == "Reused handle"
        elif len(page.own) == 3:
            assert self.refused(page, "createCursor", **params) == "Too many cursors"
        else:
            public_handle = self.call(page, "createCursor", **params)
            owner = page.client.identity
            page.own[handle] = {"publicHandle": public_handle, "owner": owner, **data}

    @rule(
        number=clients,
        handle=handles,
        new_data=st.fixed_dictionaries({}, optional={"position": positions, "status": positions}),
    )
    def update(self, number: int, handle: int, new_data: dict[str, int]) -> None:
        page = self.pages[number]
        params = {"privateHandle": handle, "newData": new_data}
        if handle not in page.own:
            assert self.refused(page, "updateCursor", **params) == "No such cursor"
            return
        self.call(page, "updateCursor", **params)
        page.own[handle].update(new_data)

    @rule(number=clients, handle=handles)
    def remove(self, number: int, handle: int) -> None:
        page = self.pages[number]
        if handle not in page.own:
            assert self.refused(page, "removeCursor", privateHandle=handle) == "No such cursor"
            return
        self.call(page, "removeCursor", privateHandle=handle)
        del page.own[handle]

    @invariant()
    def every_page_sees_the_cursors_of_all_others(self) -> None:
        for page in self.pages:
            page.apply()
            for document, view in page.views.items():
                others = {
                    cursor["publicHandle"]: cursor
                    for other in self.pages
                    if other is not page
                    for cursor in other.own.values()
                    if cursor["document"] == document
                }
                assert view == others

    @invariant()
    def nothing_more_is_kept(self) -> None:
        joined = [page.views for page in self.pages if page.views]
        assert len(self.cursors._sessions) == len(joined)
        documents = {document.value for document in self.cursors._documents}
        assert documents == {each for views in joined for each in views}


Editing.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestEditing = Editing.TestCase
