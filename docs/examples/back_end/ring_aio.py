"""python ring_aio.py NAME NAME"""

import asyncio
import os
import sys

from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport

url = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")


async def main():
    async with SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"], timeout=2) as transport:
        snorky = SnorkyBackend(transport)
        for visitor in sys.argv[1:]:
            heard = await snorky.call("doorbell_backend", "ring", visitor=visitor)
            print(f"{visitor}: {heard} heard it")


asyncio.run(main())
