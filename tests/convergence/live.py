"""The server under test: FILE of ``snorky serve``. Bounds come from the environment."""

import json
import os

from snorky import ServiceRegistry
from snorky.limits import Limits
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer

options = json.loads(os.environ["CONVERGENCE_OPTIONS"])


class Tasks(FilterDealer):
    model = "Task"


class Notes(FilterDealer):
    model = "Note"


datasync = DataSyncService("datasync", [Tasks, Notes], **options)
limits = Limits(max_unsent_bytes=30_000, socket_send_buffer_bytes=4096)
frontend = ServiceRegistry([datasync], limits=limits)
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])

breakage = os.environ.get("CONVERGENCE_BREAKAGE")
if breakage:
    from tests.convergence.breakages import break_server

    break_server(breakage, datasync)
