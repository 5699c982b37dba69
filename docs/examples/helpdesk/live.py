"""Snorky's side: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService

datasync = DataSyncService("datasync")
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
