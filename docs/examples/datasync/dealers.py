"""Dealers of one's own: snorky serve dealers.py"""

from dataclasses import dataclass

import msgspec

from snorky import ServiceRegistry
from snorky.services.datasync import DataSyncBackend, DataSyncService, UpdateDelta
from snorky.services.datasync.dealers import BadQuery, BroadcastDealer, Dealer


@dataclass
class View:
    """What part of the map a page shows."""

    west: float
    south: float
    east: float
    north: float

    def shows(self, bus):
        return self.west <= bus["x"] <= self.east and self.south <= bus["y"] <= self.north


class BusesInView(Dealer):
    """The query is a View: {"west": 5.9, "south": 45.8, "east": 10.5, "north": 47.8}"""

    model = "Bus"

    def __init__(self):
        self.views = {}

    def add_subscription_item(self, item):
        try:
            self.views[item] = msgspec.convert(item.query, View)
        except msgspec.ValidationError as error:
            raise BadQuery(f"Expected a view: {error}") from error

    def remove_subscription_item(self, item):
        del self.views[item]

    def get_subscription_items_for_model(self, model):
        return [item for item, view in self.views.items() if view.shows(model)]


class Menu(BroadcastDealer):
    """Guests hear of every dish, but not of what it costs us."""

    model = "Dish"

    def deliver_delta(self, delta):
        if isinstance(delta, UpdateDelta):
            rows = self.for_guests(delta.new_data), self.for_guests(delta.old_data)
        else:
            rows = (self.for_guests(delta.data),)
        super().deliver_delta(type(delta)(delta.model, *rows))

    def for_guests(self, dish):
        return {name: value for name, value in dish.items() if name != "cost"}


datasync = DataSyncService("datasync", [BusesInView, Menu])

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
