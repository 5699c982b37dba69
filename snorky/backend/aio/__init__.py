"""The connector for asyncio: the same calls, awaited.

::

    async with SnorkyHTTPTransport("http://127.0.0.1:5002/backend", "swordfish") as transport:
        snorky = SnorkyBackend(transport)
        await snorky.call("pubsub_backend", "publish", channel="news", message="Hello")

`DataSync` has the commands of DataSync, `Lists` does what a live list needs around a request.
`InProcessTransport` is for a Snorky that runs in the same program.
"""

from snorky.backend.aio.datasync import DataSync
from snorky.backend.aio.in_process import InProcessTransport
from snorky.backend.aio.lists import Lists
from snorky.backend.aio.transport import SnorkyBackend, SnorkyHTTPTransport, Transport
from snorky.backend.exchange import NoAnswerError, SnorkyError, StatusError

__all__ = [
    "DataSync",
    "InProcessTransport",
    "Lists",
    "NoAnswerError",
    "SnorkyBackend",
    "SnorkyError",
    "SnorkyHTTPTransport",
    "StatusError",
    "Transport",
]
