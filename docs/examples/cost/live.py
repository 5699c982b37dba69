"""Where the changes go: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService


class Everything(BroadcastDealer):
    model = "Live"


datasync = DataSyncService("datasync", [Everything])
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
