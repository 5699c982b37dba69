"""https://api.example.com: uvicorn api:app"""

import os
import time
from contextlib import asynccontextmanager
from itertools import count

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware

from snorky.backend.aio import DataSync, Lists, SnorkyBackend, SnorkyHTTPTransport

URL = os.environ.get("SNORKY_BACKEND_URL", "http://127.0.0.1:5002/backend")
SECRET = os.environ["TOKEN_SECRET"]
NOTES, KEYS = [], count(1)


@asynccontextmanager
async def lifespan(app):
    async with SnorkyHTTPTransport(URL, os.environ["SNORKY_API_KEY"], timeout=2) as transport:
        app.state.lists = Lists(DataSync(SnorkyBackend(transport)))
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=[os.environ.get("PAGE", "https://app.example.com")],
    allow_methods=["GET", "POST"],
    allow_headers=["Authorization", "Content-Type", "X-Snorky"],
    expose_headers=["X-Subscription-Token", "X-Subscription", "X-Snorky-Keys"],
)


@app.post("/log-in")
def log_in(name: str):
    """Your log-in, in its place. The same token is good for the API and for Snorky."""
    claims = {"sub": name, "aud": "notes", "exp": int(time.time()) + 600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def user(request: Request):
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        return jwt.decode(token, SECRET, algorithms=["HS256"], audience="notes")["sub"]
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error


@app.get("/notes")
async def notes(request: Request, response: Response, name: str = Depends(user)):
    async with app.state.lists.read(request.headers) as reading:
        await reading.subscribe([{"dealer": "Notes", "query": ["==", "owner", name]}], subject=name)
        rows = [note for note in NOTES if note["owner"] == name]
    response.headers.update(reading.headers)
    return rows


@app.post("/notes", status_code=201)
async def add(text: str, request: Request, response: Response, name: str = Depends(user)):
    async with app.state.lists.write(request.headers) as writing:
        note = {"id": next(KEYS), "owner": name, "text": text}
        NOTES.append(note)
        writing.insert("Note", note)
    response.headers.update(writing.headers)
    return note
