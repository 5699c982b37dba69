"""Print what is published on the channel ``news``: python news.py ws://127.0.0.1:5001/ws"""

import asyncio
import os
import sys

from client import stay_connected


async def use(connection):
    await connection.call("pubsub", "subscribe", channel="news")
    print("Subscribed")
    async for _, message in connection:
        print(message["message"])


token = os.environ.get("TOKEN")
try:
    asyncio.run(stay_connected(sys.argv[1], use, token=token and (lambda: token)))
except KeyboardInterrupt:
    print("Bye")
