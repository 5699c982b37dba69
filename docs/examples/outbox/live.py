"""Lists of tickets, whose changes a relay tells: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer


class Tickets(FilterDealer):
    model = "tickets"  # the table's name


datasync = DataSyncService("datasync", [Tickets], relay=True)
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
