"""Snorky's side of the demo: ``snorky serve demos/tickets/live.py``.

Pages connect to ``frontend`` by WebSocket. The web application tells ``backend`` by HTTP, with the
key that is in the environment as SNORKY_API_KEY, who may subscribe to what; the relay tells it
which rows changed.
"""

from dataclasses import asdict
from datetime import datetime
from time import perf_counter
from typing import Any, ClassVar

from snorky import ServiceRegistry
from snorky.services.base import Request, RPCError, RPCService, rpc_command
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BadQuery, FilterDealer


class Tickets(FilterDealer):
    """The query is a filter, such as ``["==", "status", "open"]``."""

    model = "Ticket"
    types: ClassVar[dict[str, type]] = {"changed": datetime}  # in JSON they are text


class Matching(RPCService):
    """Tells how Snorky finds who is told of a change: for the panel of the page."""

    def __init__(self, name: str, dealer: FilterDealer) -> None:
        super().__init__(name)
        self.index = dealer.index

    @rpc_command
    def explain(self, req: Request, row: dict[str, Any]) -> dict[str, Any]:
        """How many filters there are, are checked and match; what is looked up; the time."""
        begun = perf_counter()
        self.index.match(row)
        microseconds = (perf_counter() - begun) * 1e6
        found = asdict(self.index.explain(row))
        facts = {field: str(value) for field, value in found.pop("facts").items()}
        return {**found, "facts": facts, "microseconds": round(microseconds)}

    @rpc_command
    def places(self, req: Request, query: Any) -> list[str] | None:
        """By what a change would find this filter; null: by nothing, it is checked for each."""
        try:
            return self.index.places(query)
        except BadQuery as error:
            raise RPCError(str(error)) from error


tickets = Tickets()
# The relay tells what the triggers wrote: a page is live when it has passed once more.
datasync = DataSyncService("datasync", [tickets], relay=True)

frontend = ServiceRegistry([datasync, Matching("matching", tickets)])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
