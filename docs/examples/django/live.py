"""Snorky's side: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer


class AllTasks(BroadcastDealer):
    """Who subscribes here hears of every change of every task."""

    model = "Task"


datasync = DataSyncService("datasync", [AllTasks])

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
