"""The tasks of teams, in FastAPI: uvicorn fastapi_site:app"""

import os
import sqlite3
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

from snorky.backend.aio import DataSync, Lists, SnorkyBackend, SnorkyHTTPTransport

URL = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
TEAMS = {"ann": 1, "bob": 2}  # who is in which

database = sqlite3.connect("tasks.sqlite3", check_same_thread=False)
database.row_factory = sqlite3.Row
database.execute("CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, team INT, title TEXT)")


@asynccontextmanager
async def lifespan(app):
    async with SnorkyHTTPTransport(URL, os.environ["SNORKY_API_KEY"], timeout=2) as transport:
        app.state.lists = Lists(DataSync(SnorkyBackend(transport)))
        yield


app = FastAPI(lifespan=lifespan)


class Title(BaseModel):
    title: str


def team_of(request):
    user = request.headers.get("X-User")  # your log-in, in its place
    if user not in TEAMS:
        raise HTTPException(403)
    return TEAMS[user]


@app.get("/api/tasks/")
async def tasks(request: Request, response: Response):
    async with app.state.lists.read(request.headers) as reading:
        team = team_of(request)
        await reading.subscribe([{"dealer": "Tasks", "query": ["==", "team", team]}])
        rows = database.execute("SELECT * FROM tasks WHERE team = ? ORDER BY id", [team]).fetchall()
    response.headers.update(reading.headers)
    return [dict(row) for row in rows]


@app.post("/api/tasks/", status_code=201)
async def add_task(task: Title, request: Request, response: Response):
    team = team_of(request)
    async with app.state.lists.write(request.headers) as writing:
        with database:  # a transaction: the end of this block commits
            insert = "INSERT INTO tasks (team, title) VALUES (?, ?) RETURNING *"
            row = dict(database.execute(insert, [team, task.title]).fetchone())
            writing.insert("Task", row)
    response.headers.update(writing.headers)
    return row


@app.put("/api/tasks/{key}")
async def change_task(key: int, task: Title, request: Request, response: Response):
    team = team_of(request)
    async with app.state.lists.write(request.headers) as writing:
        with database:
            select = "SELECT * FROM tasks WHERE id = ? AND team = ?"
            old = database.execute(select, [key, team]).fetchone()
            if old is None:
                raise HTTPException(404)
            update = "UPDATE tasks SET title = ? WHERE id = ? RETURNING *"
            row = dict(database.execute(update, [task.title, key]).fetchone())
            writing.update("Task", row, dict(old))
    response.headers.update(writing.headers)
    return row
