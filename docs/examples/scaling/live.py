"""Served by several processes: snorky serve live.py --workers 4"""

import os

from snorky import ServiceRegistry
from snorky.services.datasync import BroadcastDealer, DataSyncBackend, DataSyncService
from snorky.services.pubsub import PubSubBackend, PubSubService


class AllTasks(BroadcastDealer):
    model = "Task"


pubsub = PubSubService("pubsub")
datasync = DataSyncService("datasync", [AllTasks])
frontend = ServiceRegistry([pubsub, datasync])
backend = ServiceRegistry(
    [PubSubBackend("pubsub_backend", pubsub), DataSyncBackend("datasync_backend", datasync)]
)

# For every service above that was made without one.
broker = os.environ.get("BROKER_URL", "redis://127.0.0.1:6379")
