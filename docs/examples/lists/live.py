"""Snorky's side: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import FilterDealer


class Tasks(FilterDealer):
    model = "Task"


datasync = DataSyncService("datasync", [Tasks])

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
