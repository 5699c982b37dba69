"""Snorky's side: snorky serve live.py"""

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import FilterDealer, SimpleDealer


class Orders(FilterDealer):
    """The query is a filter: ["==", "done", false]"""

    model = "Order"


class Dishes(SimpleDealer):
    """The query is the id of a dish."""

    model = "Dish"

    def get_key_for_model(self, model):
        return model["id"]


datasync = DataSyncService("datasync", [Orders, Dishes])

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
