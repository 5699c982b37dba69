"""Snorky's side of the demo: ``snorky serve demos/tickets/live.py``.

Pages connect to ``frontend`` by WebSocket. The web application tells ``backend`` by HTTP, with the
key that is in the environment as SNORKY_API_KEY, who may subscribe to what; the relay tells it
which rows changed.
"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import FilterDealer


class Tickets(FilterDealer):
    """The query is a filter, such as ``["==", "status", "open"]``."""

    model = "Ticket"


# The relay tells what the triggers wrote: a page is live when it has passed once more.
datasync = DataSyncService("datasync", [Tickets], relay=True)

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
