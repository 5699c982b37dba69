"""FastAPI with Snorky inside: one program, one port. uvicorn in_process:app"""

from fastapi import FastAPI, Request, Response
from live import backend, frontend

from snorky.asgi import SnorkyASGI
from snorky.backend.aio import DataSync, InProcessTransport, Lists, SnorkyBackend

TASKS = {}

lists = Lists(DataSync(SnorkyBackend(InProcessTransport(backend))))
app = FastAPI()
app.mount("/live", SnorkyASGI(frontend))  # pages connect to /live/ws


@app.get("/api/tasks/")
async def tasks(request: Request, response: Response):
    async with lists.read(request.headers) as reading:
        await reading.subscribe([{"dealer": "Tasks", "query": ["and"]}])
        rows = list(TASKS.values())
    response.headers.update(reading.headers)
    return rows


@app.put("/api/tasks/{key}")
async def put_task(key: int, title: str, request: Request, response: Response):
    async with lists.write(request.headers) as writing:
        old, new = TASKS.get(key), {"id": key, "title": title}
        TASKS[key] = new
        if old is None:
            writing.insert("Task", new)
        else:
            writing.update("Task", new, old)
    response.headers.update(writing.headers)
    return new
