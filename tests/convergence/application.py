"""The web application: a database, permissions, and one of the ways by which changes are told."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from typing import Any

import httpx2

from tests.convergence.history import History, Rows, view_of
from tests.convergence.lists import Fetched, Forbidden, ListView
from tests.patience import patient


class Refused(Exception):
    """The back end answered with an error; its text."""


class Backend:
    """The back end of the server, which may be away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx2.AsyncClient(timeout=patient(5), trust_env=False)

    async def call(self, command: str, **params: Any) -> Any:
        message = {"command": command, "params": params, "callId": 1}
        body = json.dumps({"service": "datasync_backend", "message": message})
        response = await self._http.post(
            self._url, content=body, headers={"X-Backend-Key": "swordfish"}
        )
        answer = response.json()["message"]
        if answer["type"] == "error":
            raise Refused(answer["message"])
        return answer["data"]

    async def newest(self) -> str:
        """A position that is no older than the answer to the last command."""
        return str(await self.call("head"))

    async def close(self) -> None:
        await self._http.aclose()


AWAY = (httpx2.HTTPError, OSError, KeyError, ValueError)


class Application:
    """Rows in SQLite. ``history`` is what the judge knows of every transaction."""

    def __init__(self, backend: Backend, path: str, chance: random.Random) -> None:
        self.backend = backend
        self.history = History()
        self.chance = chance
        self.allowed: dict[str, bool] = {}
        self.permissions = asyncio.Lock()
        self.publishing = asyncio.Lock()
        """Held from before COMMIT until the publication is accepted."""
        self.outbox: list[tuple[str, list[Any]]] | None = None
        """All transactions, for a relay: key and deltas. None: they are published by hand."""
        self.accepted = 0
        """The newest transaction that will not be told again, to no other log either."""
        self.keys, self.numbers = 12, 3
        """Of each model at most so many rows; ``n`` goes from 0 up to that."""
        self.breakage = ""
        self.unpublished = False
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(
            "CREATE TABLE rows (model TEXT, id INTEGER, data TEXT, PRIMARY KEY (model, id))"
        )

    # Reading

    def read(self) -> Rows:
        found = self._database.execute("SELECT model, id, data FROM rows").fetchall()
        return {(model, key): json.loads(data) for model, key, data in found}

    async def fetch(self, each: ListView) -> Fetched:
        """What a view does: place, permission, token, snapshot, response."""
        try:
            after = await self.backend.call("head")
            if not self.allowed.get(each.subject, True):
                raise Forbidden
            if self.breakage == "rule 2":
                transaction, rows = self._snapshot(each)
                await self._pause(0.2)
            token: str | None = await self.backend.call(
                "authorizeSubscription",
                items=[{"dealer": f"{each.model}s", "query": each.query}]
                if not each.refetches
                else [{"dealer": "refetch", "query": {"models": [each.model]}}],
                subject=each.subject,
                after=None if self.breakage == "rule 2" else after,
            )
        except AWAY:
            token = None
        except Refused:
            token = None
        await self._pause(0.02)
        if self.breakage != "rule 2" or token is None:
            transaction, rows = self._snapshot(each)
        if self.outbox is None and self.breakage != "rule 5 by hand":
            async with self.publishing:  # what it saw has been published
                if self.unpublished:
                    token = None
        await self._pause(0.02)
        return Fetched(rows, token, transaction)

    def _snapshot(self, each: ListView) -> tuple[int, dict[int, Any]]:
        return self.history.last, view_of(self.read(), each.model, each.query)

    # Writing

    async def write(self, statements: int | None = None) -> None:
        """One transaction of so many statements; else of some, and sometimes another one that
        takes it back."""
        if self.outbox is not None:
            before = self.read()
            rows, deltas = self._changes(statements)
            self.outbox.append(self._commit(rows, deltas))
            often = 0.4 if self.breakage != "rows between swallowed" else 0.9
            if statements is None and self.chance.random() < often:
                await self._pause(0.1)
                self.outbox.append(self._commit(*self._back(before, rows)))
            return
        async with self.publishing:
            rows, deltas = self._changes(statements)
            if self.breakage == "rule 1":
                await self._publish(self.history.last + 1, self._next_key(), deltas)
                await asyncio.sleep(0.15)
                self._commit(rows, deltas)
                return
            key, deltas = self._commit(rows, deltas)
            await self._pause(0.03 if self.breakage != "rule 5 by hand" else 0.2)
            if not self.unpublished:
                await self._publish(self.history.last, key, deltas)
            else:
                await self._reset()

    def _changes(self, statements: int | None) -> tuple[Rows, list[Any]]:
        """Some statements: the rows as they will be, and what is told of them."""
        chance, deltas = self.chance, list[Any]()
        rows = self.read()
        for _ in range(statements or chance.randint(1, 5)):
            model, key = chance.choice(["Task", "Note"]), chance.randint(1, self.keys)
            new = {
                "id": key,
                "color": chance.choice(["red", "blue"]),
                "n": chance.randint(0, self.numbers),
                "team": chance.choice(["a", "b"]),
            }
            is_deleted = (model, key) in rows and chance.random() < 0.25
            self._put(rows, deltas, model, key, None if is_deleted else new)
        return rows, deltas

    def _back(self, before: Rows, after: Rows) -> tuple[Rows, list[Any]]:
        """Rows that one transaction changed, and none since, are again what they were."""
        deltas = list[Any]()
        rows = self.read()
        for model, key in sorted(before.keys() | after.keys()):
            old, new = before.get((model, key)), after.get((model, key))
            if old != new == rows.get((model, key)):
                self._put(rows, deltas, model, key, old)
        return rows, deltas

    def _put(self, rows: Rows, deltas: list[Any], model: str, key: int, new: Any) -> None:
        old = rows.pop((model, key), None)
        if new is not None:
            rows[model, key] = new
        if new is None:
            deltas.append({"type": "delete", "model": model, "data": old})
        elif old is None:
            deltas.append({"type": "insert", "model": model, "data": new})
        else:
            told = new if self.breakage == "rule 3" else old
            deltas.append({"type": "update", "model": model, "newData": new, "oldData": told})

    def _next_key(self) -> str:
        return f"t{self.history.last + 1}"

    def _commit(self, rows: Rows, deltas: list[Any]) -> tuple[str, list[Any]]:
        self._database.execute("BEGIN IMMEDIATE")
        for delta in deltas:
            model, row = delta["model"], delta.get("newData", delta.get("data"))
            if delta["type"] == "delete":
                self._database.execute(
                    "DELETE FROM rows WHERE model=? AND id=?", (model, row["id"])
                )
            else:
                self._database.execute(
                    "INSERT OR REPLACE INTO rows VALUES (?, ?, ?)",
                    (model, row["id"], json.dumps(row)),
                )
        self._database.execute("COMMIT")
        key = self._next_key()
        self.history.commit(rows, key)
        return key, deltas

    async def _publish(self, transaction: int, key: str, deltas: list[Any]) -> None:
        """Repeat it with the same key until it is accepted; after some time give up."""
        ends = asyncio.get_running_loop().time() + 5
        while True:
            try:
                position = await self.backend.call("publishDeltas", deltas=deltas, key=key)
                if self.chance.random() < 0.1:  # a duplicate
                    assert position == await self.backend.call(
                        "publishDeltas", deltas=deltas, key=key
                    )
            except AWAY:
                if asyncio.get_running_loop().time() > ends:
                    self.unpublished = True
                    return
                await asyncio.sleep(0.05)
            except AssertionError:
                # The server was another one meanwhile: it has the second.
                position = await self.backend.call("publishDeltas", deltas=deltas, key=key)
                self._accepted(position, transaction)
                return
            else:
                self._accepted(position, transaction)
                return

    async def _reset(self) -> None:
        deltas = [{"type": "reset", "model": model} for model in ("Task", "Note")]
        try:
            position = await self.backend.call(
                "publishDeltas", deltas=deltas, key=f"reset {self.chance.getrandbits(64):x}"
            )
        except AWAY:
            return
        self.unpublished = False
        self.accepted = self.history.last
        self.history.accepted(position, self.accepted + 1, self.accepted)

    def _accepted(self, position: str, transaction: int) -> None:
        self.history.accepted(position, transaction, transaction)
        self.accepted = max(self.accepted, transaction)

    async def settle(self) -> None:
        """All that was committed has been told, or will be."""
        if self.outbox is None:
            async with self.publishing:
                while self.unpublished:
                    await self._reset()
                    await asyncio.sleep(0.05)

    # Permissions

    async def revoke(self, subject: str) -> str:
        """Nothing appended after the answer reaches who is revoked; returns where that was."""
        self.allowed[subject] = False
        await self._until_done(lambda: self.backend.call("revokeSubscriptions", subject=subject))
        return str(await self._until_done(self.backend.newest))

    async def refresh(self) -> None:
        model = self.chance.choice(["Task", "Note"])
        await self._until_done(lambda: self.backend.call("refreshSubscriptions", models=[model]))

    async def _until_done(self, call: Callable[[], Any]) -> Any:
        while True:
            try:
                return await call()
            except AWAY:
                await asyncio.sleep(0.05)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(self.chance.random() * seconds)

    async def close(self) -> None:
        self._database.close()
        await self.backend.close()
