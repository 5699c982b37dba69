"""Rows that a back end publishes: the generator notices when a client does not get all of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

from benchmarks import harness
from tests.patience import patient

CLIENTS = 3
ROWS = 6
Texts = list[str]


def row(seq: int, pad: str = "xxxx") -> dict[str, Any]:
    return {"seq": seq, "at": time.monotonic_ns(), "pad": pad}


def delta(*rows: dict[str, Any]) -> str:
    return json.dumps({"service": "datasync", "message": {"type": "delta", "delta": list(rows)}})


FAULTLESS = [delta(row(0)), delta(row(1), row(2), row(3)), delta(row(4)), delta(row(5))]
IMPORTED_AT = time.monotonic()


async def listen(tmp_path: Path, texts: Texts, last: Callable[[Texts], Texts] = list) -> Any:
    """What the generator prints when all clients are sent ``texts``, one what ``last`` makes."""
    clients: list[ServerConnection] = []

    async def serve(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # the generator leaves without a word
            async for text in client:
                call_id = json.loads(text)["message"]["callId"]
                answer = {"type": "response", "callId": call_id, "data": None}
                await client.send(json.dumps({"service": "datasync", "message": answer}))
                clients.append(client)

    file = tmp_path / "texts"
    call = {"command": "acquireSubscription", "params": {"token": "t"}, "callId": 1002}
    file.write_text((json.dumps({"service": "datasync", "message": call}) + "\n") * CLIENTS)
    async with serve_websockets(serve, "127.0.0.1", 0, compression=None) as sockets:
        port = next(iter(sockets.sockets)).getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            harness.build("load"),
            *("listen", "--port", str(port), "--clients", str(CLIENTS), "--subscriptions", "0"),
            *("--messages", str(ROWS), "--frame-bytes", "4", "--timeout", "1"),
            *("--texts", str(file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        async with asyncio.timeout(patient(20)):
            assert json.loads(await process.stdout.readline()) == {"subscribers": CLIENTS}
            process.stdin.write(b"measure\n")
            assert json.loads(await process.stdout.readline()) == {"measuring": True}
            with suppress(ConnectionClosed):
                for number, client in enumerate(clients, 1):
                    for text in last(texts) if number == CLIENTS else texts:
                        await client.send(text)
            result = json.loads(await process.stdout.read())
            await process.wait()
    return result


async def test_it_counts_what_everybody_gets(tmp_path: Path) -> None:
    result = await listen(tmp_path, FAULTLESS)
    assert result["deliveries"] == ROWS * CLIENTS
    assert 0 < result["p50_us"] / 1e6 < time.monotonic() - IMPORTED_AT + 1


@pytest.mark.parametrize(
    "texts",
    [
        FAULTLESS[:1] + FAULTLESS[2:],
        FAULTLESS[:2] + FAULTLESS[1:],
        [*FAULTLESS[:2], FAULTLESS[3], FAULTLESS[2]],
        [*FAULTLESS[:3], delta(row(5, "xxx"))],
        [*FAULTLESS[:3], delta()],
    ],
    ids=["lost", "repeated", "in another order", "changed", "empty"],
)
@pytest.mark.parametrize("who", ["everybody", "one of them"])
async def test_it_notices_rows_that_are(tmp_path: Path, texts: Texts, who: str) -> None:
    if who == "everybody":
        result = await listen(tmp_path, texts)
    else:
        result = await listen(tmp_path, FAULTLESS, lambda _: texts)
    assert "expected" in result["error"], result


async def test_it_notices_that_the_end_is_missing(tmp_path: Path) -> None:
    result = await listen(tmp_path, FAULTLESS, lambda texts: texts[:-1])
    assert "17 of 18 rows had come" in result["error"]
