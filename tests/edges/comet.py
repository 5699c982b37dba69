"""Server-Sent Events and long polling as the contract of the edges asks about them.

Whoever serves them subclasses both ways: the addresses and what is said there are the same.
"""

from __future__ import annotations

import json

import httpx2

from tests.edges.edge import Ask, Served, SessionEdge, ask

ALICE = {"X-User": "alice"}


class Comet(SessionEdge):
    opening = Ask("POST", "/comet")
    receiving: str
    """Where messages come by this way."""

    async def session(self, http: httpx2.AsyncClient) -> list[Ask]:
        opened = await ask(http, self.opening._replace(headers=ALICE))
        query = "?session=" + opened.json()["session"]
        hello = json.dumps({"service": "notebook", "message": "hello"})
        messages = json.dumps({"first": 1, "messages": [hello]})
        return [
            Ask("POST", "/comet/messages" + query, messages, ALICE),
            Ask("GET", "/comet/events" + query, headers=ALICE),
            Ask("GET", "/comet/poll" + query, headers=ALICE),
            Ask("POST", "/comet/close" + query, headers=ALICE),
        ]

    async def sit_still(self, served: Served, http: httpx2.AsyncClient) -> None:
        session = (await ask(http, self.opening)).json()["session"]
        await served.sit_still(Ask("GET", f"{self.receiving}?session={session}"))


class ServerSentEvents(Comet):
    visit_options = {"transports": ["sse"]}
    receiving = "/comet/events"


class LongPolling(Comet):
    visit_options = {"transports": ["polling"]}
    receiving = "/comet/poll"
