"""Live lists for `snorky serve`: rows of many lists, written all the time by the program itself.

LISTS lists are written to in turn, WRITES times a second, one transaction each. OPTIONS are those
of the service, as JSON.
"""

import asyncio
import json
import os
import time

from snorky import ServiceRegistry
from snorky.deltas import parse_delta
from snorky.limits import Limits
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer

LISTS, WRITES = int(os.environ["LISTS"]), int(os.environ["WRITES"])
ROWS_OF_A_LIST = 20


class Rows(FilterDealer):
    model = "Row"


options = json.loads(os.environ.get("OPTIONS", "{}"))
datasync = DataSyncService("datasync", [Rows], token_key="benchmark", **options)
limits = Limits(max_connections=100_000)
frontend = ServiceRegistry([datasync], limits=limits)
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
_tasks: list[asyncio.Task[None]] = []


async def start() -> None:
    _tasks.append(asyncio.create_task(_write()))


async def stop() -> None:
    _tasks.pop().cancel()


async def _write() -> None:
    began, number = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * WRITES)
        while number < due:
            of_list, row = number % LISTS, number // LISTS % ROWS_OF_A_LIST
            data = {"id": of_list * ROWS_OF_A_LIST + row, "list": of_list, "n": number}
            delta = parse_delta({"type": "insert", "model": "Row", "data": data})
            result = datasync.publish_deltas([delta])
            if hasattr(result, "__await__"):
                await result
            number += 1
        await asyncio.sleep(0.01)
