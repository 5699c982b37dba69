"""The tasks of teams, by FastAPI and SQLAlchemy: uvicorn task_site:app"""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, Response
from models import Task, TaskOut
from pydantic import BaseModel
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from snorky.backend.aio import DataSync, SnorkyBackend, SnorkyHTTPTransport
from snorky.backend.sqlalchemy import Lists, LiveQuery, Outbox
from snorky.filters import BadQuery, field

URL = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
KEY = os.environ["SNORKY_API_KEY"]
TEAMS = {"ann": 1, "bob": 2}  # who is in which

engine = create_async_engine(os.environ["DATABASE_URL"])  # postgresql+psycopg://...
outbox = Outbox(engine, URL, KEY)


@asynccontextmanager
async def lifespan(app):
    async with SnorkyHTTPTransport(URL, KEY, timeout=2) as transport:
        app.state.lists = Lists(DataSync(SnorkyBackend(transport)), outbox)
        yield
    outbox.close()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class Title(BaseModel):
    title: str


def team_of(request):
    user = request.headers.get("X-User")  # your log-in, in its place
    if user not in TEAMS:
        raise HTTPException(403)
    return TEAMS[user]


@app.get("/api/tasks/")
async def tasks(request: Request, response: Response, only: str = "") -> list[TaskOut]:
    async with app.state.lists.read(request.headers) as reading:
        mine = field("team") == team_of(request)
        try:
            query = LiveQuery(Task, mine, only, fields=TaskOut.model_fields, dealer="Tasks")
        except BadQuery as error:
            raise HTTPException(400, str(error)) from error
        await reading.subscribe(query.items)
        async with AsyncSession(engine) as session:
            rows = (await session.scalars(query.statement.order_by(Task.id))).all()
    response.headers.update(reading.headers)
    return [TaskOut.model_validate(row) for row in rows]


@app.post("/api/tasks/", status_code=201)
async def add_task(task: Title, request: Request, response: Response) -> TaskOut:
    team = team_of(request)
    async with (
        app.state.lists.write(request.headers) as writing,
        AsyncSession(engine, expire_on_commit=False) as session,
        session.begin(),
    ):
        row = Task(team=team, title=task.title)
        session.add(row)
    response.headers.update(writing.headers)
    return TaskOut.model_validate(row)


@app.post("/api/tasks/finish/", status_code=204)
async def finish_all(request: Request, response: Response) -> None:
    team = team_of(request)
    async with (
        app.state.lists.write(request.headers) as writing,
        AsyncSession(engine) as session,
        session.begin(),
    ):
        await session.execute(update(Task).where(Task.team == team).values(done=True))
    response.headers.update(writing.headers)
