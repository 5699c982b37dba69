"""The web application of a tea room: its open orders, and the dish of the day."""

import asyncio
import json
import logging
import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from snorky.backend.aio import SnorkyBackend, SnorkyHTTPTransport

SCHEMA = """
    CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT, at TEXT, done BOOLEAN);
    CREATE TABLE IF NOT EXISTS dishes (id INTEGER PRIMARY KEY, name TEXT);
    INSERT OR IGNORE INTO dishes VALUES (1, 'Scones');
"""
# What the page may see: here in the words of Snorky, in get() in those of SQL.
ITEMS = [{"dealer": "Orders", "query": ["==", "done", False]}, {"dealer": "Dishes", "query": 1}]


class Live:
    """What Snorky is asked and told. While it is away, the web application works on."""

    def __init__(self, snorky):
        self.snorky = snorky
        self.turn = asyncio.Lock()

    async def token(self):
        try:
            return await self.snorky.call("datasync_backend", "authorizeSubscription", items=ITEMS)
        except RuntimeError:
            logging.exception("No token")
            return None

    async def publish(self, delta):
        async with self.turn:  # in the order of the commits
            try:
                await self.snorky.call("datasync_backend", "publishDeltas", deltas=[delta])
            except RuntimeError:
                logging.exception("A delta was lost")


class Handler(RequestHandler):
    def initialize(self, database, live):
        self.database = database
        self.live = live

    def prepare(self):
        # No form of another site can send this type.
        if self.request.method != "GET":
            if self.request.headers.get("Content-Type") != "application/json":
                raise HTTPError(415)
            self.sent = json.loads(self.request.body)

    def row(self, query, *values):
        row = self.database.execute(query, values).fetchone()
        if row is None:
            raise HTTPError(404)
        return as_json(row)


class Everything(Handler):
    async def get(self):
        # 1. May they see it? Here everybody may.
        if self.request.headers.get("X-Snorky", "").lower() == "subscribe":
            # 2. First the token...
            token = await self.live.token()
            if token is not None:
                self.set_header("X-Subscription-Token", token)
        # 3. ...then the query: what changes in between, Snorky keeps for the token.
        orders = self.database.execute("SELECT * FROM orders WHERE NOT done ORDER BY id")
        self.set_header("Cache-Control", "no-store")
        self.write(
            {
                "orders": [as_json(row) for row in orders],
                "dish": self.row("SELECT * FROM dishes WHERE id = 1"),
            }
        )


class NewOrder(Handler):
    async def post(self):
        with self.database:  # a transaction: the end of the block commits
            order = self.row(
                "INSERT INTO orders (item, at, done)"
                " VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ'), false) RETURNING *",
                self.sent["item"],
            )
        # 4. After the commit.
        await self.live.publish({"type": "insert", "model": "Order", "data": order})


class OrderDone(Handler):
    async def post(self, number):
        with self.database:
            old = self.row("SELECT * FROM orders WHERE id = ?", number)
            new = self.row("UPDATE orders SET done = true WHERE id = ? RETURNING *", number)
        delta = {"type": "update", "model": "Order", "newData": new, "oldData": old}
        await self.live.publish(delta)


class Dish(Handler):
    async def put(self):
        with self.database:
            old = self.row("SELECT * FROM dishes WHERE id = 1")
            new = self.row("UPDATE dishes SET name = ? WHERE id = 1 RETURNING *", self.sent["name"])
        delta = {"type": "update", "model": "Dish", "newData": new, "oldData": old}
        await self.live.publish(delta)


class Page(RequestHandler):
    def get(self):
        self.write(Path(__file__).with_name("page.html").read_text())


def as_json(row):
    fields = dict(row)
    if "done" in fields:
        fields["done"] = bool(fields["done"])  # SQLite keeps 0 and 1
    return fields


async def main():
    database = sqlite3.connect("tearoom.sqlite3")
    database.row_factory = sqlite3.Row
    database.executescript(SCHEMA)
    url = "http://127.0.0.1:5002/backend"
    async with SnorkyHTTPTransport(url, os.environ["SNORKY_API_KEY"], timeout=2) as transport:
        options = {"database": database, "live": Live(SnorkyBackend(transport))}
        website = Application(
            [
                ("/", Page),
                ("/api", Everything, options),
                ("/api/orders", NewOrder, options),
                (r"/api/orders/([0-9]{1,15})/done", OrderDone, options),
                ("/api/dish", Dish, options),
                ("/static/(.*)", StaticFileHandler, {"path": str(files("snorky") / "static")}),
            ]
        )
        website.listen(8000, address="127.0.0.1")
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("Bye")
