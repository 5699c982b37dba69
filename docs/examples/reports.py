"""Commands that take their time, and parameters that are checked."""

import asyncio
from datetime import date

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command


class ReportService(RPCService):
    @rpc_command
    async def report(self, req, first: date, last: date, columns: list[str] | None = None):
        if last < first:
            raise RPCError("The last day is before the first")
        for percent in (25, 50, 75):
            await asyncio.sleep(0.1)  # the work
            self.send_message_to(req.client, {"type": "progress", "percent": percent})
        return {"days": (last - first).days + 1, "columns": columns or ["total"]}


frontend = ServiceRegistry([ReportService("reports")])
