"""The same tasks, live: uvicorn live:app"""

from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from plain import Change, NewTask, database, read

from snorky import ServiceRegistry
from snorky.asgi import SnorkyASGI
from snorky.backend.aio import DataSync, InProcessTransport, Lists, SnorkyBackend
from snorky.services.datasync import DataSyncBackend, DataSyncService, FilterDealer


class Tasks(FilterDealer):
    model = "Task"


datasync = DataSyncService("datasync", [Tasks])
frontend = ServiceRegistry([datasync])
backend = ServiceRegistry([DataSyncBackend("datasync_backend", datasync)])
lists = Lists(DataSync(SnorkyBackend(InProcessTransport(backend))))

app = FastAPI()
app.mount("/live", SnorkyASGI(frontend))  # pages connect to /live/ws
app.mount("/snorky", StaticFiles(packages=[("snorky", "static")]))  # its client


@app.get("/")
async def page():
    return FileResponse(Path(__file__).with_suffix(".html"))


@app.get("/api/tasks/")
async def tasks(done: bool, request: Request, response: Response):
    async with lists.read(request.headers) as reading:
        await reading.subscribe([{"dealer": "Tasks", "query": ["==", "done", done]}])
        rows = read("done = ? ORDER BY title, id", done)
    response.headers.update(reading.headers)
    return rows


@app.post("/api/tasks/", status_code=201)
async def add(task: NewTask, request: Request, response: Response):
    async with lists.write(request.headers) as writing:
        with database:
            insert = "INSERT INTO tasks (title, done) VALUES (?, FALSE)"
            key = database.execute(insert, [task.title]).lastrowid
            [row] = read("id = ?", key)
        writing.insert("Task", row)
    response.headers.update(writing.headers)
    return row


@app.patch("/api/tasks/{key}")
async def change(key: int, change: Change, request: Request, response: Response):
    async with lists.write(request.headers) as writing:
        with database:
            old = read("id = ?", key)
            if not old:
                raise HTTPException(404)
            database.execute("UPDATE tasks SET done = ? WHERE id = ?", [change.done, key])
            [row] = read("id = ?", key)
        writing.update("Task", row, *old)
    response.headers.update(writing.headers)
    return row
