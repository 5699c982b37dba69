"""Snorky's side: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import FilterDealer


class Tasks(FilterDealer):
    model = "Task"


# One source, which the application drains itself: no page waits for a relay.
datasync = DataSyncService("datasync", [Tasks], relay={"main": []})

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
