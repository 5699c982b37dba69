"""Tasks, in FastAPI and SQLite: uvicorn plain:app"""

import sqlite3
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse
from pydantic import BaseModel

database = sqlite3.connect("tasks.sqlite3", check_same_thread=False)
database.execute("CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, title TEXT, done INT)")


class NewTask(BaseModel):
    title: str


class Change(BaseModel):
    done: bool


def read(condition, *values):
    found = database.execute(f"SELECT id, title, done FROM tasks WHERE {condition}", values)
    return [{"id": key, "title": title, "done": bool(done)} for key, title, done in found]


app = FastAPI()


@app.get("/")
async def page():
    return FileResponse(Path(__file__).with_suffix(".html"))


@app.get("/api/tasks/")
async def tasks(done: bool):
    return read("done = ? ORDER BY title, id", done)


@app.post("/api/tasks/", status_code=201)
async def add(task: NewTask):
    with database:  # a transaction: the end of this block commits
        insert = "INSERT INTO tasks (title, done) VALUES (?, FALSE)"
        key = database.execute(insert, [task.title]).lastrowid
        [row] = read("id = ?", key)
    return row


@app.patch("/api/tasks/{key}")
async def change(key: int, change: Change):
    with database:
        if not read("id = ?", key):
            raise HTTPException(404)
        database.execute("UPDATE tasks SET done = ? WHERE id = ?", [change.done, key])
        [row] = read("id = ?", key)
    return row
