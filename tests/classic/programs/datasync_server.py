"""Tells pages which tasks of the web application have changed."""

import sys

from tornado.ioloop import IOLoop
from tornado.web import Application

from snorky import ServiceRegistry
from snorky.request_handlers.http import BackendHTTPHandler
from snorky.request_handlers.websocket import SnorkyWebSocketHandler
from snorky.services.datasync import DataSyncBackend, DataSyncService
from snorky.services.datasync.dealers import BroadcastDealer, FilterDealer, SimpleDealer


class AllTasks(BroadcastDealer):
    name = "AllTasks"
    model = "Task"

    def remove_subscription_item(self, item):
        BroadcastDealer.remove_subscription_item(self, item)
        print("removed", item.query)


class TasksOfUser(SimpleDealer):
    name = "TasksOfUser"
    model = "Task"

    def get_key_for_model(self, model):
        return model["user"]


class FilteredTasks(FilterDealer):
    name = "FilteredTasks"
    model = "Task"


datasync = DataSyncService("datasync", [AllTasks, TasksOfUser()])
datasync.register_dealer(FilteredTasks)
datasync_backend = DataSyncBackend("datasync_backend", datasync)
impatient_backend = DataSyncBackend(
    "impatient_backend", datasync, timeout_interval=0.05, timeout_factory=IOLoop.instance()
)

frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([datasync_backend, impatient_backend])

app_frontend = Application([SnorkyWebSocketHandler.get_route(frontend, "/ws")])
app_backend = Application(
    [
        (
            r"/backend",
            BackendHTTPHandler,
            {"service_registry": backend, "api_key": "swordfish"},
        ),
    ]
)

if __name__ == "__main__":
    app_frontend.listen(int(sys.argv[1]))
    app_backend.listen(int(sys.argv[2]), address="127.0.0.1")

    try:
        IOLoop.instance().start()
    except KeyboardInterrupt:
        IOLoop.instance().stop()
